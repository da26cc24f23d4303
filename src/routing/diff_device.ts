/** What is to be done to the overlay device. */
import type { HeldDevice, KernelRouting } from "./kernel.ts";
import type { Step } from "./steps.ts";
import type { OverlayDevice, Problem, RoutingPlan } from "./types.ts";

/** The device's part of the steps, and what becomes of all that is on it. */
export interface DeviceDiff {
  before: Step[];
  after: Step[];
  last: Step[];
  /** Index after these steps, when it is known already. */
  ifindex?: number;
  /** Devices that go, and everything on them. */
  going: Set<number>;
  /** The device is created again. */
  fresh: boolean;
  /** What neighbours it had are gone after these steps. */
  flushed: boolean;
  /** There is no overlay device and there will be none. */
  missing: boolean;
}

/** Compares the overlay device. */
export function diffDevice(
  { device: wanted }: RoutingPlan,
  { overlay: held, leftovers, broadcasts }: KernelRouting,
  node: string,
  problems: Problem[],
): DeviceDiff {
  const diff: DeviceDiff = {
    before: [],
    after: [],
    last: [],
    going: new Set(),
    fresh: false,
    flushed: false,
    missing: false,
  };
  const remove = ({ ifindex, name }: { ifindex: number; name: string }, why: string): Step => {
    diff.going.add(ifindex);
    return { do: "delete-device", ifindex, name, why };
  };
  const foreign = held !== undefined && held.kind !== "vxlan";
  if (wanted === undefined) {
    diff.missing = true;
    if (held && !foreign) diff.last.push(remove(held, "no overlay is wanted"));
    for (const old of leftovers) diff.last.push(remove(old, "no overlay is wanted"));
    return diff;
  }
  for (const old of leftovers) {
    diff.before.push(remove(old, `the overlay device is ${wanted.name}`));
  }
  if (foreign) {
    const message = `a device ${wanted.name} is there that is no VXLAN device` +
      `${held.kind === undefined ? "" : ` but a ${held.kind}`}; rename it, or set overlay.device`;
    problems.push({ code: "device-taken", node, message });
    diff.missing = true;
    return diff;
  }
  const differs = held && unfit(held, wanted);
  if (differs !== undefined) diff.before.push(remove(held!, differs));
  const kept = differs === undefined ? held : undefined;
  if (kept === undefined) {
    diff.fresh = true;
    diff.before.push({ do: "create-device", device: wanted });
    if (!wanted.checksumOffload) diff.after.push({ do: "set-checksum-offload", on: false });
    const why = "just made";
    diff.after.push({ do: "set-device", change: { up: true }, why });
  } else {
    diff.ifindex = kept.ifindex;
    adjust(diff, kept, wanted);
  }
  diffAddress(diff, kept, wanted, broadcasts);
  return diff;
}

/** Why a device cannot be made into the wanted one; undefined when it can. */
function unfit(held: HeldDevice, wanted: OverlayDevice): string | undefined {
  if (!held.external) return "it is not in external mode";
  if (held.port !== wanted.port) return `its UDP port is ${held.port}, not ${wanted.port}`;
  if (held.learning) return "it learns addresses";
  return undefined;
}

function adjust(diff: DeviceDiff, held: HeldDevice, wanted: OverlayDevice) {
  if (held.mac !== wanted.mac) {
    diff.flushed = true;
    const why = `it is ${held.mac}; the other nodes send to ${wanted.mac}`;
    diff.before.push({ do: "set-device", change: { mac: wanted.mac }, why });
  }
  if (held.mtu !== wanted.mtu) {
    const why = `it is ${held.mtu}`;
    diff.before.push({ do: "set-device", change: { mtu: wanted.mtu }, why });
  }
  if (held.checksumOffload !== undefined && held.checksumOffload !== wanted.checksumOffload) {
    diff.after.push({ do: "set-checksum-offload", on: wanted.checksumOffload });
  }
  if (held.master !== undefined) {
    const why = "a bridge or VRF took it";
    diff.after.push({ do: "set-device", change: { master: 0 }, why });
  }
  if (!held.up) diff.after.push({ do: "set-device", change: { up: true }, why: "it is down" });
}

/**
 * The new address first: with its last address a device loses all its routes. So the old one also stays when there is
 * no new one, as long as this node has no podCIDR.
 */
function diffAddress(
  { after }: DeviceDiff,
  held: HeldDevice | undefined,
  { address }: OverlayDevice,
  broadcasts: KernelRouting["broadcasts"],
) {
  if (address === undefined) return;
  const has = held?.addresses ?? [];
  const right = (one: { address: string; prefixLength: number }) =>
    one.address === address && one.prefixLength === 32;
  if (!has.some(right)) after.push({ do: "add-address", address });
  for (const broadcast of broadcasts) {
    if (broadcast.address === address) after.push({ do: "delete-broadcast", ...broadcast });
  }
  for (const one of has) if (!right(one)) after.push({ do: "delete-address", ...one });
}
