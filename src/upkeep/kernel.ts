/** Kernel parameters and routes. Those of the tunnel and of other nodes' pods are the agent's network/ to mend. */
import { REMOTE_MODE } from "../bpf/layout.ts";
import { readSysctl, writeSysctl } from "../linux/sysctl.ts";
import { ROUTE_PROTOCOL } from "../routing/diff.ts";
import type { Fault, NodeState } from "./fault.ts";

const FORWARD = "net/ipv4/ip_forward";

/** Without it the node's processes reach none of its own addresses, and kubelet's probes no agent. */
export function loopbackFaults({ nl }: NodeState): Fault[] {
  const link = nl.link("lo");
  if (link === undefined || link.up) return [];
  return [{
    object: "lo up",
    text: "the loopback device lo is down: the node's processes do not reach its own addresses",
    next: "ip link set lo up",
    mend: () => nl.setLink(link.index, { up: true }),
  }];
}

/** Forwarding, without which nothing that takes the stack reaches a pod or leaves one: of the node, and of each device. */
export function sysctlFaults({ links, dataPlane, objects }: NodeState): Fault[] {
  if (readSysctl(FORWARD) !== "1") return [forwardFault(FORWARD)]; // all devices' with it
  const uplinks = new Set(dataPlane.maps.uplinks.keys().map(({ ifindex }) => ifindex));
  const bridge = links().find(({ name }) => name === objects.bridge);
  const off = links().filter((link) =>
    link === bridge || link.name === objects.overlayDevice || uplinks.has(link.index)
  )
    .map(({ name }) => `net/ipv4/conf/${name}/forwarding`)
    .filter((name) => readSysctl(name) !== "1").map(forwardFault);
  return bridge === undefined ? off : [...off, ...arpFaults(bridge.name)];
}

/** The greater of both values counts; 8: no reply for any address (Documentation/networking/ip-sysctl.rst). */
function arpFaults(bridge: string): Fault[] {
  return ["all", bridge].map((name) => `net/ipv4/conf/${name}/arp_ignore`)
    .filter((name) => readSysctl(name) === "8")
    .map((name) => ({
      object: name,
      text: `the kernel parameter ${name} is 8: pods do not find their gateway by ARP`,
      next: `sysctl -w ${name}=1, and check what sets it`,
    }));
}

function forwardFault(name: string): Fault {
  return {
    object: name,
    text: `the kernel parameter ${name} is off: packets of pods are not forwarded`,
    next: `sysctl -w ${name}=1, and check what turns it off`,
    mend: () => writeSysctl(name, "1"),
  };
}

/** Devices to other nodes and the world: one that is up suffices; which ones they are, the agent finds out again. */
export function uplinkFaults({ nl, dataPlane }: NodeState): Fault[] {
  const uplinks = dataPlane.maps.uplinks.keys().map(({ ifindex }) => nl.link(ifindex));
  if (uplinks.length === 0 || uplinks.some((link) => link?.up)) return [];
  const name = uplinks.map((link) => link?.name ?? "gone").join(", ");
  const text = `no uplink is up (${name}): no other node and nothing outside is reached`;
  return [{ object: "uplinks", text, next: `ip link set ${name} up` }];
}

/** What `routeFaults` reads: in a large cluster thousands of routes. */
export function routesFingerprint({ nl, dataPlane, objects }: NodeState): string {
  const { index, kind, up } = nl.link(objects.overlayDevice) ?? {};
  return [index, kind, up, nl.routesFingerprint(), dataPlane.maps.remotes.fingerprint()].join();
}

/** The overlay's device and the route to each podCIDR that the map `remotes` sends there. */
export function routeFaults({ nl, dataPlane, objects }: NodeState): Fault[] {
  const name = objects.overlayDevice;
  const link = nl.link(name);
  if (link !== undefined && link.kind !== "vxlan") {
    const text = `${name} is no VXLAN device but a ${
      link.kind ?? "NIC"
    }: no other node's pods are reached`;
    return [{ object: name, text, next: "rename it, or set overlay.device to another name" }];
  }
  const remotes = dataPlane.maps.remotes.entries().filter(([, { mode }]) =>
    mode === REMOTE_MODE.OVERLAY
  );
  if (remotes.length === 0) return [];
  const next = "the agent makes it again; if it does not, see its log";
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
