/** IPv4 flows that the kernel tracks, by ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h). */
import { formatIpv4 } from "../net/ipv4.ts";
import { SyscallError } from "./libc.ts";
import { Message, NetlinkSocket, type Reader } from "./netlink.ts";
import { readSysctl } from "./sysctl.ts";

const NETLINK_NETFILTER = 12;
/** NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET */
const GET = 1 << 8 | 1;
const AF_INET = 2, IPPROTO_TCP = 6;
const CTA = { ORIGINAL: 1, REPLY: 2, PROTOINFO: 4, FILTER: 25 } as const;
const TUPLE = { IP: 1, PROTO: 2 } as const;
const IP = { SRC: 1, DST: 2 } as const;
const PROTO = { NUMBER: 1, SPORT: 2, DPORT: 3 } as const;
/** What of CTA_FILTER's tuple counts: protocol and destination port. */
const FILTER_FLAGS = 1 << 3 | 1 << 5;
const TCP_ESTABLISHED = 3;
const NFGENMSG = 4;

/** One direction of a flow. */
export interface Tuple {
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
}

/** A flow, with what its packets carry in each direction: translations lie between. */
export interface TrackedFlow {
  readonly proto: number;
  readonly original: Tuple;
  readonly reply: Tuple;
  /** Of TCP: both ends know the connection, and neither has closed it. */
  readonly established: boolean;
}

/** A destination port of packets of one direction. */
export interface TrackedPort {
  readonly direction: "original" | "reply";
  readonly proto: number;
  readonly port: number;
}

/** Flows in the present network namespace; 0 also where nothing tracks them. */
export function trackedCount(): number {
  try {
    return Number(readSysctl("net.netfilter.nf_conntrack_count"));
  } catch (error) {
    if (error instanceof SyscallError && error.code === "ENOENT") return 0;
    throw error;
  }
}

/** Flows with one of these ports, or all of them. Linux 5.8 and later selects them itself. @throws {SyscallError} */
export function trackedFlows(ports: readonly TrackedPort[] | "all"): TrackedFlow[] {
  using socket = NetlinkSocket.open(undefined, { protocol: NETLINK_NETFILTER });
  const dump = (message: Message) =>
    socket.dump("IPCTNL_MSG_CT_GET", GET, message).flatMap(({ body }) => parse(body));
  return ports === "all" ? dump(header()) : ports.flatMap((port) => dump(filtered(port)));
}

/** struct nfgenmsg */
const header = () => new Message().u8(AF_INET).u8(0).u16(0);

function filtered({ direction, proto, port }: TrackedPort): Message {
  const type = direction === "original" ? CTA.ORIGINAL : CTA.REPLY;
  return header()
    .nest(
      type,
      (tuple) =>
        tuple.nest(
          TUPLE.PROTO,
          (ends) => ends.attrU8(PROTO.NUMBER, proto).attrBe16(PROTO.DPORT, port),
        ),
    )
    .nest(CTA.FILTER, (filter) => filter.attrU32(type, FILTER_FLAGS));
}

function parse(body: Reader): TrackedFlow[] {
  const attrs = body.attrs(NFGENMSG);
  const [original, reply] = [tuple(attrs.get(CTA.ORIGINAL)), tuple(attrs.get(CTA.REPLY))];
  if (original === undefined || reply === undefined) return [];
  const state = attrs.get(CTA.PROTOINFO)?.attrs().get(1)?.attrs().get(1)?.u8(0);
  const established = original.proto !== IPPROTO_TCP || state === TCP_ESTABLISHED;
  return [{ proto: original.proto, original, reply, established }];
}

function tuple(nested: Reader | undefined): (Tuple & { proto: number }) | undefined {
  const ip = nested?.attrs().get(TUPLE.IP)?.attrs();
  const ends = nested?.attrs().get(TUPLE.PROTO)?.attrs();
  const [src, dst] = [ip?.get(IP.SRC), ip?.get(IP.DST)];
  const [sport, dport] = [ends?.get(PROTO.SPORT), ends?.get(PROTO.DPORT)];
  const proto = ends?.get(PROTO.NUMBER)?.u8(0);
  if (!src || !dst || !sport || !dport || proto === undefined) return undefined; // without ports
  const address = (one: Reader) => formatIpv4(one.view.getUint32(0));
  const port = (one: Reader) => one.view.getUint16(0);
  return { proto, src: address(src), dst: address(dst), sport: port(sport), dport: port(dport) };
}
