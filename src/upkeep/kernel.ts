/** Kernel parameters and routes. Those of the tunnel and of other nodes' pods are the agent's network/ to mend. */
import { REMOTE_MODE } from "../bpf/layout.ts";
import { readSysctl, writeSysctl } from "../linux/sysctl.ts";
import { ROUTE_PROTOCOL } from "../routing/diff.ts";
import type { Fault, NodeState } from "./fault.ts";

const FORWARD = "net/ipv4/ip_forward";

/** Without it nothing that takes the stack reaches a pod, or leaves one. */
export function sysctlFaults(_: NodeState): Fault[] {
  if (readSysctl(FORWARD) === "1") return [];
  return [{
    object: "net.ipv4.ip_forward",
    text: "net.ipv4.ip_forward is off: the node forwards no pod's packets",
    next: "sysctl -w net.ipv4.ip_forward=1, and check what turns it off",
    mend: () => writeSysctl(FORWARD, "1"),
  }];
}

/** The overlay's device and the route to each podCIDR that the map `remotes` sends there. */
export function routeFaults({ nl, dataPlane, objects }: NodeState): Fault[] {
  const remotes = dataPlane.maps.remotes.entries().filter(([, { mode }]) =>
    mode === REMOTE_MODE.OVERLAY
  );
  if (remotes.length === 0) return [];
  const name = objects.overlayDevice;
  const next = "the agent makes it again; if it does not, see its log";
  const link = nl.link(name);
  if (link === undefined || !link.up) {
    const what = link === undefined ? "is gone" : "is down";
    return [{ object: name, text: `the overlay's device ${name} ${what}`, next }];
  }
  const held = new Set(
    nl.routes().filter(({ protocol }) => protocol === ROUTE_PROTOCOL)
      .map(({ destination }) => destination),
  );
  const missing = remotes.map(([{ addr, prefixlen }]) => `${addr}/${prefixlen}`)
    .filter((prefix) => !held.has(prefix));
  if (missing.length === 0) return [];
  const shown = missing.slice(0, 3).join(", ");
  const rest = missing.length > 3 ? ` and ${missing.length - 3} more` : "";
  return [{ object: "routes", text: `no route of pcnk leads to ${shown}${rest}`, next }];
}
