/** Reads what the kernel holds, for the comparison of src/routing/diff.ts. */
import { SyscallError } from "../../linux/libc.ts";
import type { RtNetlink } from "../../linux/rtnetlink.ts";
import type { TunnelNetlink, VxlanLink } from "../../linux/rtnetlink_tunnel.ts";
import type { HeldDevice, KernelRouting } from "../../routing/kernel.ts";
import type { Remote, RoutingPlan } from "../../routing/types.ts";

const TABLE_LOCAL = 255;

/** What reading and applying work on. */
export interface RoutingKernel {
  nl: RtNetlink;
  tunnel: TunnelNetlink;
  /** @throws {SyscallError} ENOENT */
  readSysctl(name: string): string;
  writeSysctl(name: string, value: string): void;
  /** The data plane's map; left out: there is none. */
  remotes?: RemotesMap;
}

/** The map `remotes`, by prefix in text. */
export interface RemotesMap {
  read(): Map<string, Remote>;
  /** Another text when an entry has changed. */
  fingerprint(): string;
  /** Something that sets entries. It goes by the devices as they are now. */
  writer(): (remote: Remote) => void;
  /** One that is not there is no error. */
  delete(prefix: string): void;
}

/** Reads all that `plan` has to be compared with; `device` is the overlay device's name. */
export function readRouting(
  { nl, tunnel, readSysctl, remotes }: RoutingKernel,
  device: string,
  plan: RoutingPlan,
): KernelRouting {
  const vxlans = tunnel.vxlans();
  const overlay = readDevice({ nl, tunnel }, device, vxlans);
  const names = plan.sysctls.map(({ name }) => name);
  if (names.length > 0) {
    names.push("net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter");
  }
  return {
    overlay,
    leftovers: vxlans.filter((link) => isLeftover(link, device, plan))
      .map(({ index, name }) => ({ ifindex: index, name })),
    routes: nl.routes(),
    neighbours: overlay === undefined ? [] : nl.neighs(overlay.ifindex),
    broadcasts: nl.routes(TABLE_LOCAL).flatMap(({ type, destination, ifindex }) =>
      type === "broadcast" && ifindex !== undefined && destination.endsWith("/32")
        ? [{ address: destination.slice(0, -3), ifindex }]
        : []
    ),
    sysctls: readSysctls(readSysctl, names),
    remotes: remotes?.read(),
  };
}

function readDevice(
  { nl, tunnel }: Pick<RoutingKernel, "nl" | "tunnel">,
  name: string,
  vxlans: readonly VxlanLink[],
): HeldDevice | undefined {
  const vxlan = vxlans.find((link) => link.name === name);
  const link = vxlan ?? nl.link(name);
  if (link === undefined) return undefined;
  const { index: ifindex, kind, mac, mtu, up, master } = link;
  const addresses = nl.addrs(ifindex)
    .map(({ address, prefixLength }) => ({ address, prefixLength }));
  const held: HeldDevice = { ifindex, name, mac, mtu, up, master, addresses };
  if (kind !== undefined) held.kind = kind;
  if (vxlan === undefined) return held;
  const { external, port, learning } = vxlan;
  return { ...held, external, port, learning, checksumOffload: tunnel.checksumOffload(name) };
}

/**
 * A device that was the overlay's when its name was configured otherwise: in external mode, with the MAC address that only
 * this node's has. Its index is all that is needed of it.
 */
function isLeftover({ external, mac, name }: VxlanLink, device: string, plan: RoutingPlan) {
  return external && name !== device && mac === plan.device?.mac;
}

function readSysctls(read: (name: string) => string, names: readonly string[]) {
  const values = new Map<string, string>();
  for (const name of names) {
    try {
      values.set(name, read(name));
    } catch (error) {
      // No such device yet, or a kernel without IPv6.
      if (!(error instanceof SyscallError && error.code === "ENOENT")) throw error;
    }
  }
  return values;
}
