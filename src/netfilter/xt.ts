/**
 * Matches and targets of iptables, which legacy rules consist of and those of iptables-nft may contain (struct xt_* of
 * include/uapi/linux/netfilter/). Those that are not interpreted may hold or not.
 */
import { Reader } from "../linux/netlink.ts";
import {
  equals,
  every,
  isKnown,
  isPartlyKnown,
  masked,
  native,
  not,
  slice,
  some,
  type Truth,
  unknown,
} from "./bits.ts";
import type { Evaluation, Step } from "./chain.ts";
import { CT_STATE } from "./packet.ts";

type Match = (info: Reader, revision: number) => Step;

/** A match. @param info its data, `struct xt_…_info` */
export function xtMatch(name: string, revision: number, info: Reader | undefined): Step {
  const match = MATCHES[name];
  if (RATES.has(name)) return () => "rate";
  return match && info ? match(info, revision) : () => undefined;
}

/** They hold up to a rate or a number, or above. */
const RATES: ReadonlySet<string> = new Set([
  "limit",
  "hashlimit",
  "quota",
  "connlimit",
  "statistic",
]);

const MATCHES: Readonly<Record<string, Match>> = {
  comment: () => () => true,
  tcp: (info) => (e) => {
    const flags = masked(slice(e.packet.transport, 13, 1), info.bytes.subarray(9, 10), NONE);
    const inverted = info.u8(11);
    return every([
      ports(e, "src", info, 0, (inverted & 1) !== 0),
      ports(e, "dst", info, 4, (inverted & 2) !== 0),
      invert(equals(flags, info.bytes.subarray(10, 11)), (inverted & 4) !== 0),
      info.u8(8) === 0 ? true : undefined,
    ]);
  },
  udp: (info) => (e) =>
    every([
      ports(e, "src", info, 0, (info.u8(8) & 1) !== 0),
      ports(e, "dst", info, 4, (info.u8(8) & 2) !== 0),
    ]),
  multiport: (info, revision) => (e) =>
    revision === 1 ? invert(multiport(e, info), info.u8(47) !== 0) : undefined,
  icmp: (info) => (e) => {
    const type = equals(slice(e.packet.transport, 0, 1), info.bytes.subarray(0, 1));
    return invert(info.u8(0) === 255 || type, info.u8(3) !== 0);
  },
  state: (info) => (e) => hasState(e, info.u32(0)),
  conntrack: (info, revision) => (e) => conntrack(e, info, revision),
  mark: (info) => (e) => {
    const same = equals(masked(e.mark, native(info.u32(4)), native(0)), native(info.u32(0)));
    return invert(same, info.u8(8) !== 0);
  },
  ip: (info) => (e) => ebtIp(e, info),
  addrtype: (info, revision) => (e) => addrtype(e, info, revision),
};

const NONE = new Uint8Array(4);
const invert = (truth: Truth, inverted: boolean) => inverted ? not(truth) : truth;
const PORT = { src: 0, dst: 2 } as const;

/** Is a port of the packet within first..last, in host byte order? */
function portWithin(e: Evaluation, end: "src" | "dst", first: number, last: number): Truth {
  if (first === 0 && last === 65535) return true;
  const bits = slice(e.packet.transport, PORT[end], 2);
  if (!isKnown(bits)) return undefined;
  const port = bits.value[0]! << 8 | bits.value[1]!;
  return first <= port && port <= last;
}

function ports(e: Evaluation, end: "src" | "dst", info: Reader, at: number, inverted: boolean) {
  const within = portWithin(e, end, info.u16(at), info.u16(at + 2));
  if (within === true && !inverted && info.u16(at) > 0) e.noteName(true, true);
  return invert(within, inverted);
}

/** struct xt_multiport_v1: flags, count, 15 ports, for each whether a range begins. */
function multiport(e: Evaluation, info: Reader): Truth {
  const ends = ([["src"], ["dst"], ["src", "dst"]] as const)[info.u8(0)] ?? [];
  const found: Truth[] = [];
  for (let i = 0; i < Math.min(info.u8(1), 15); i++) {
    const first = info.u16(2 + 2 * i), isRange = info.u8(32 + i) !== 0;
    const last = isRange ? info.u16(2 + 2 * ++i) : first;
    found.push(...ends.map((end) => portWithin(e, end, first, last)));
  }
  const within = some(found);
  if (within === true) e.noteName(true, true);
  return within;
}

/** XT_CONNTRACK_STATE_UNTRACKED; its other bits are those of nftables. */
const XT_UNTRACKED = 1 << 8;
const XT_CONNTRACK = { STATE: 1, STATE_ALIAS: 1 << 13, NAT: 0xc0 } as const;

function hasState(e: Evaluation, mask: number): Truth {
  if (e.state === undefined) return undefined;
  return (mask & (e.state === CT_STATE.UNTRACKED ? XT_UNTRACKED : e.state)) !== 0;
}

/** struct xt_conntrack_mtinfo1 to 3. That a rule of another program has translated the packet is not known. */
function conntrack(e: Evaluation, info: Reader, revision: number): Truth {
  const flags = info.u16(146), inverted = info.u16(148);
  const mask = revision === 1 ? info.u8(150) : info.u16(150);
  const others = (flags & ~(XT_CONNTRACK.STATE | XT_CONNTRACK.STATE_ALIAS)) === 0;
  const state = hasState(e, mask & ~XT_CONNTRACK.NAT);
  return every([
    (flags & XT_CONNTRACK.STATE) === 0 || invert(state, (inverted & 1) !== 0),
    others ? true : undefined,
  ]);
}

/** struct xt_addrtype_info and _v1: bits by RTN_* of source and destination. */
function addrtype(e: Evaluation, info: Reader, revision: number): Truth {
  const flags = revision === 0
    ? Number(info.u32(4) !== 0) | Number(info.u32(8) !== 0) << 1
    : info.u32(4);
  const has = (mask: number, type: number | undefined, inverted: boolean): Truth => {
    if (mask === 0) return true;
    return type === undefined ? undefined : invert((mask >> type & 1) !== 0, inverted);
  };
  const { src, dst } = e.packet.types;
  return every([
    has(info.u16(0), src, (flags & 1) !== 0),
    has(info.u16(2), dst, (flags & 2) !== 0),
  ]);
}

const EBT_IP = { SRC: 1, DST: 2, PROTO: 8, SPORT: 16, DPORT: 32, REST: 0xc4 } as const;

/** struct ebt_ip_info, of ebtables. */
function ebtIp(e: Evaluation, info: Reader): Truth {
  const { network, protocol } = e.packet;
  const check = (bit: number, holds: () => Truth) =>
    (info.u8(18) & bit) === 0 || invert(holds(), (info.u8(19) & bit) !== 0);
  const address = (bit: number, offset: number, at: number) =>
    check(bit, () => {
      const own = slice(network, offset, 4), mask = info.bytes.subarray(at + 8, at + 12);
      const truth = equals(masked(own, mask, NONE), info.bytes.subarray(at, at + 4));
      if ((info.u8(19) & bit) === 0) e.noteName(isPartlyKnown(own), truth);
      return truth;
    });
  return every([
    address(EBT_IP.SRC, 12, 0),
    address(EBT_IP.DST, 16, 4),
    check(EBT_IP.PROTO, () => protocol === info.u8(17)),
    check(EBT_IP.SPORT, () => portWithin(e, "src", info.u16(20), info.u16(22))),
    check(EBT_IP.DPORT, () => portWithin(e, "dst", info.u16(24), info.u16(26))),
    check(EBT_IP.REST, () => undefined),
  ]);
}

/** A target that is no verdict. */
export function xtTarget(name: string, revision: number, info: Reader | undefined): Step {
  if (DROPPING.has(name)) return () => ({ kind: "drop" });
  if (TRANSLATING.has(name)) return () => ({ kind: "accept" });
  if (name === "NFQUEUE") return () => ({ kind: "queue" });
  if (name === "MARK" && revision === 2 && info) return markTarget(info);
  if (name === "NOTRACK" || name === "CT" && info && (info.u16(0) & 1) !== 0) {
    return (e) => {
      e.untracked = e.doubtful ? undefined : true;
      return true;
    };
  }
  return () => true;
}

const DROPPING: ReadonlySet<string> = new Set(["REJECT", "TARPIT", "DELUDE", "STEAL"]);
/** The packet goes on with other addresses. */
const TRANSLATING: ReadonlySet<string> = new Set(
  ["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP", "TPROXY", "SYNPROXY", "dnat", "redirect"],
);

/** struct xt_mark_tginfo2 */
function markTarget(info: Reader): Step {
  const mark = info.u32(0), mask = info.u32(4);
  return (e) => {
    const next = masked(e.mark, native(~mask), native(mark));
    e.mark = e.doubtful ? unknown(4) : next;
    return true;
  };
}
