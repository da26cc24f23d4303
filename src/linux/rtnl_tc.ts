/**
 * eBPF programs as tc filters, by rtnetlink: the clsact qdisc (no queue, only two hooks) and cls_bpf filters in
 * direct-action mode (tc-bpf(8)). Filters of other tools on the same device stay: every function names its filter by
 * direction, priority and handle.
 */
import { SyscallError } from "./libc.ts";
import { Message, NetlinkSocket, NLM_F, Reader } from "./netlink.ts";

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;

const CLSACT_HANDLE = 0xffff0000;
const CLSACT_PARENT = 0xfffffff1;
const PARENT = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;

const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_BPF = { FD: 6, NAME: 7, FLAGS: 8, ID: 11 } as const;
const TCA_BPF_FLAG_ACT_DIRECT = 1;

/** ETH_P_ALL in network byte order, as tcm_info wants it. */
const PROTOCOL_ALL = 0x0300;

/** Seen from the device: ingress is what it receives. */
export type Direction = "ingress" | "egress";

/** A filter's attach point, priority and handle. */
export interface FilterId {
  readonly ifindex: number;
  readonly direction: Direction;
  readonly priority: number;
  readonly handle: number;
}

/** A filter as the kernel lists it. */
export interface Filter extends FilterId {
  /** Classifier, e.g. `bpf`, `u32`. */
  readonly kind: string;
  /** Of `bpf`: the name given at its installation; else empty. */
  readonly name: string;
  /** Of `bpf`: the program's id; else 0. */
  readonly progId: number;
}

function tcmsg(ifindex: number, handle: number, parent: number, info: number): Message {
  return new Message().u32(0).u32(ifindex).u32(handle).u32(parent).u32(info);
}

/**
 * Adds the clsact qdisc to a device; false when it has one already.
 * @throws {SyscallError} ENODEV
 */
export function addClsact(socket: NetlinkSocket, ifindex: number): boolean {
  const message = tcmsg(ifindex, CLSACT_HANDLE, CLSACT_PARENT, 0).attrString(TCA_KIND, "clsact");
  try {
    socket.request("RTM_NEWQDISC", RTM_NEWQDISC, NLM_F.CREATE | NLM_F.EXCL, message);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === "EEXIST") return false;
    throw error;
  }
}

/** Removes the clsact qdisc from a device, and with it every filter of every tool; false when there was none. */
export function deleteClsact(socket: NetlinkSocket, ifindex: number): boolean {
  try {
    const message = tcmsg(ifindex, CLSACT_HANDLE, CLSACT_PARENT, 0);
    socket.request("RTM_DELQDISC", RTM_DELQDISC, 0, message);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

/** Indexes of the devices that have a clsact (or ingress) qdisc. */
export function listClsact(socket: NetlinkSocket): number[] {
  const found: number[] = [];
  for (const { body } of socket.dump("RTM_GETQDISC", RTM_GETQDISC, tcmsg(0, 0, 0, 0))) {
    const kind = body.attrs(20).get(TCA_KIND)?.text();
    if (kind === "clsact" || kind === "ingress") found.push(body.u32(4));
  }
  return found;
}

/**
 * Installs a program as a direct-action filter, or atomically replaces the one that is there. The device needs its clsact
 * qdisc.
 * @throws {SyscallError} ENODEV; EINVAL without a clsact qdisc or when another kind of filter holds the priority
 */
export function replaceFilter(
  socket: NetlinkSocket,
  filter: FilterId & { progFd: number; name: string },
): void {
  const info = (filter.priority << 16) | PROTOCOL_ALL;
  const message = tcmsg(filter.ifindex, filter.handle, PARENT[filter.direction], info)
    .attrString(TCA_KIND, "bpf")
    .nest(TCA_OPTIONS, (options) => {
      options.attrU32(TCA_BPF.FD, filter.progFd)
        .attrString(TCA_BPF.NAME, filter.name)
        .attrU32(TCA_BPF.FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
    });
  socket.request("RTM_NEWTFILTER", RTM_NEWTFILTER, NLM_F.CREATE | NLM_F.REPLACE, message);
}

/** The filters of one direction of a device, in the order they run; none when the device or its clsact is missing. */
export function listFilters(
  socket: NetlinkSocket,
  ifindex: number,
  direction: Direction,
): Filter[] {
  const message = tcmsg(ifindex, 0, PARENT[direction], 0);
  try {
    return socket.dump("RTM_GETTFILTER", RTM_GETTFILTER, message)
      .map(({ body }) => parseFilter(body, direction))
      .filter(({ handle }) => handle !== 0); // a priority itself is listed with handle 0
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

function parseFilter(body: Reader, direction: Direction): Filter {
  const attrs = body.attrs(20);
  const kind = attrs.get(TCA_KIND)?.text() ?? "";
  const options = kind === "bpf" ? attrs.get(TCA_OPTIONS)?.attrs() : undefined;
  return {
    ifindex: body.u32(4),
    direction,
    handle: body.u32(8),
    priority: body.u32(16) >>> 16,
    kind,
    name: options?.get(TCA_BPF.NAME)?.text() ?? "",
    progId: options?.get(TCA_BPF.ID)?.u32(0) ?? 0,
  };
}

/** Removes one filter; false when it, its qdisc or its device is gone. */
export function deleteFilter(socket: NetlinkSocket, filter: FilterId): boolean {
  const info = (filter.priority << 16) | PROTOCOL_ALL;
  const message = tcmsg(filter.ifindex, filter.handle, PARENT[filter.direction], info)
    .attrString(TCA_KIND, "bpf");
  try {
    socket.request("RTM_DELTFILTER", RTM_DELTFILTER, 0, message);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

/** ENODEV: no device. EINVAL: no qdisc. ENOENT: no filter. */
function isAbsent(error: unknown): boolean {
  return error instanceof SyscallError && ["ENODEV", "EINVAL", "ENOENT"].includes(error.code);
}
