/** hostPorts of this node's pods that a NodePort hides. */
import type { DataPlane } from "../../bpf/dataplane.ts";
import { NAME_KIND, SCOPE } from "../../bpf/layout.ts";
import type { Log } from "../log.ts";

/** Reports each hostPort that a NodePort of a later Service hides, once. */
export class HiddenHostPorts {
  #reported = new Set<string>();

  constructor(readonly maps: DataPlane["maps"], readonly log: Log) {}

  /** The Services may have changed. */
  check() {
    const { host_ports: ports, services, names } = this.maps;
    const found = new Set<string>();
    for (const [{ port, proto }, { addr }] of ports.entries()) {
      const service = services.get({ addr: "0.0.0.0", port, proto, scope: SCOPE.EXTERNAL });
      if (service === undefined) continue;
      const name = names.get({ kind: NAME_KIND.SERVICE_PORT, id: service.id })?.text;
      const text = `the NodePort ${port} of ${name || "a Service"} hides the hostPort of the pod ` +
        `with address ${addr}; give one of them another port`;
      if (!this.#reported.has(text)) this.log.warn({ event: "HostPortHidden" }, text);
      found.add(text);
    }
    this.#reported = found;
  }
}
