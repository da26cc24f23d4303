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

/** By kind of filter: attributes that a copy needs, that of its actions, and one that only entries with actions have. */
const REDIRECTING: Record<string, { copied: readonly number[]; actions: number }> = {
  u32: { copied: [/* CLASSID */ 1, /* SEL */ 5], actions: 7 },
  matchall: { copied: [/* CLASSID */ 1], actions: 2 },
};
const TCA_ACT = { KIND: 1, OPTIONS: 2 } as const;
const TCA_MIRRED_PARMS = 2;
/** struct tc_mirred (linux/tc_act/tc_mirred.h): offsets in bytes. */
const MIRRED = { index: 0, action: 8, eaction: 20, ifindex: 24, size: 28 } as const;
const TCA_EGRESS_REDIR = 1;
const TC_ACT_STOLEN = 4;

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

/**
 * Moves the filters at a priority that redirect everything to another device (as the CNI plugin bandwidth makes them, at
 * priority 1) to the next one. Their copies are there before they go. False, and nothing is done, when there is another kind
 * of filter among them, or the next priority is taken.
 */
export function moveRedirects(
  socket: NetlinkSocket,
  { ifindex, direction, priority }: Omit<FilterId, "handle">,
): boolean {
  const parent = PARENT[direction];
  const entries = socket.dump("RTM_GETTFILTER", RTM_GETTFILTER, tcmsg(ifindex, 0, parent, 0))
    .map(({ body }) => ({ body, info: body.u32(16), kind: body.attrs(20).get(TCA_KIND)?.text() }));
  const at = (wanted: number) => entries.filter(({ info }) => info >>> 16 === wanted);
  const [first] = at(priority);
  const { copied, actions } = REDIRECTING[first?.kind ?? ""] ?? {};
  if (!first || !copied || actions === undefined || at(priority + 1).length > 0) return false;
  // The priority itself and the hash tables of u32 are listed, too.
  const filters = at(priority).map(({ body }) => body.attrs(20).get(TCA_OPTIONS)?.attrs())
    .filter((options) => options?.has(actions));
  const targets = filters.map((options) => redirectOf(options!.get(actions)!));
  if (filters.length === 0 || targets.includes(undefined)) return false;
  for (const [i, options] of filters.entries()) {
    const message = tcmsg(ifindex, 0, parent, first.info + (1 << 16))
      .attrString(TCA_KIND, first.kind!)
      .nest(TCA_OPTIONS, (copy) => {
        for (const type of copied) {
          const value = options!.get(type);
          if (value) copy.attr(type, value.bytes);
        }
        copy.nest(
          actions,
          (list) =>
            list.nest(
              1,
              (action) =>
                action.attrString(TCA_ACT.KIND, "mirred").nest(TCA_ACT.OPTIONS, (parms) =>
                  parms.attr(TCA_MIRRED_PARMS, targets[i]!)),
            ),
        );
      });
    socket.request("RTM_NEWTFILTER", RTM_NEWTFILTER, NLM_F.CREATE | NLM_F.EXCL, message);
  }
  const all = tcmsg(ifindex, 0, parent, first.info).attrString(TCA_KIND, first.kind!);
  socket.request("RTM_DELTFILTER", RTM_DELTFILTER, 0, all);
  return true;
}

/**
 * struct tc_mirred of a new action like the first of a list; undefined when that does not redirect. What comes behind a
 * redirect, as bandwidth has it, never runs.
 */
function redirectOf(list: Reader): Uint8Array | undefined {
  const [action] = list.list();
  const attrs = action?.attrs();
  const parms = attrs?.get(TCA_ACT.OPTIONS)?.attrs().get(TCA_MIRRED_PARMS);
  if (attrs?.get(TCA_ACT.KIND)?.text() !== "mirred" || !parms) return undefined;
  const redirects = parms.u32(MIRRED.eaction) === TCA_EGRESS_REDIR &&
    parms.u32(MIRRED.action) === TC_ACT_STOLEN;
  if (!redirects) return undefined;
  const copy = parms.bytes.slice(0, MIRRED.size);
  copy.fill(0, MIRRED.index, MIRRED.index + 4);
  return copy;
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
