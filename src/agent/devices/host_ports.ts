/**
 * hostPorts of the node's pods, which CNI calls enter: those on record that are missing are entered again, those of pods that
 * are gone are dropped, and one that a NodePort hides is reported.
 */
import type { DataPlane } from "../../bpf/dataplane.ts";
import { NAME_KIND, SCOPE } from "../../bpf/layout.ts";
import { deviceRates, knownRates, setRates } from "../../bpf/rates.ts";
import type { RtNetlink } from "../../linux/rtnetlink.ts";
import { hostPortEntry, openLock, readAttachments } from "../../node/attachments.ts";
import type { Log } from "../log.ts";

interface HostPortContext {
  dataPlane: DataPlane;
  nl: RtNetlink;
  stateDir: string;
  log: Log;
}

/** Makes limits that were put on pods' devices since their ADD known to the programs, and forgets those that went. */
export function followRates(
  { dataPlane: { maps: { rates } }, nl, stateDir, log }: HostPortContext,
) {
  for (const { hostIfindex, hostIfname, pod } of readAttachments(stateDir)) {
    const link = nl.link(hostIfindex);
    if (link?.name !== hostIfname) continue;
    const flags = deviceRates(nl, link);
    if (flags === knownRates(rates, hostIfindex)) continue;
    setRates(rates, hostIfindex, flags);
    log.info({ device: hostIfname, pod, flags }, "the limits on a pod's device have changed");
  }
}

/** Makes the map what the records say. Locks CNI calls out while there is something to change. */
export async function repairHostPorts(context: HostPortContext) {
  if (differences(context).length === 0) return;
  using lock = openLock(context.stateDir);
  await lock.lock(true);
  for (const change of differences(context)) change();
}

function differences({ dataPlane: { maps }, nl, stateDir, log }: HostPortContext): (() => void)[] {
  const { host_ports: ports, endpoints } = maps;
  const stale = ports.entries().filter(([, { addr }]) => endpoints.get({ addr }) === undefined);
  const missing = readAttachments(stateDir).flatMap((record) => {
    const { addresses: [first], portMappings = [], hostIfindex, mac } = record;
    if (!first || portMappings.length === 0) return [];
    const endpoint = endpoints.get({ addr: first.address });
    const alive = endpoint?.ifindex === hostIfindex && endpoint.mac === mac &&
      nl.link(hostIfindex)?.name === record.hostIfname;
    if (!alive) return [];
    return portMappings.map((mapping) => hostPortEntry(mapping, first.address))
      .filter(({ key }) => ports.get(key) === undefined);
  });
  return [
    ...stale.map(([key, { addr }]) => () => {
      ports.delete(key);
      log.info({ ...key, pod: addr }, "dropped a hostPort of a pod that is gone");
    }),
    ...missing.map(({ key, value }) => () => {
      ports.set(key, value);
      log.warn({ ...key, pod: value.addr }, "a hostPort was missing and is entered again");
    }),
  ];
}

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
