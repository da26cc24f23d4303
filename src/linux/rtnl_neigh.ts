/** Neighbours (ARP entries) and bridges' forwarding databases, by rtnetlink (include/uapi/linux/neighbour.h). */
import { addressBytes, formatAddress } from "../net/address.ts";
import { formatMac, macBytes } from "../net/mac.ts";
import { Fingerprint } from "./fingerprint.ts";
import { SyscallError } from "./libc.ts";
import { Message, type NetlinkRequest, NetlinkSocket, NLM_F, Reader } from "./netlink.ts";
import { AF_INET } from "./rtnl_addr.ts";

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;

const AF_BRIDGE = 7;
const NDA = { DST: 1, LLADDR: 2, CACHEINFO: 3, IFINDEX: 8, MASTER: 9 } as const;
const NTF_SELF = 2;
const NTF_MASTER = 4;
const NTF_STICKY = 0x40;

/** States of a neighbour (NUD_*). */
export const NEIGH_STATE = {
  INCOMPLETE: 0x01,
  REACHABLE: 0x02,
  STALE: 0x04,
  DELAY: 0x08,
  PROBE: 0x10,
  FAILED: 0x20,
  NOARP: 0x40,
  PERMANENT: 0x80,
} as const;

/** An IPv4 address of a link and its MAC address. */
export interface Neighbour {
  readonly ifindex: number;
  readonly address: string;
  /** Absent while it is unresolved. */
  readonly mac?: string;
  /** NEIGH_STATE; PERMANENT when left out. */
  readonly state?: number;
}

/** An entry of a bridge's or VXLAN device's forwarding database. */
export interface FdbEntry {
  /** The bridge's port, or the VXLAN device itself. */
  readonly ifindex: number;
  readonly mac: string;
  /** Of a VXLAN device: the remote VTEP's address. */
  readonly destination?: string;
  /** In the bridge's table (true) or in the device's own. */
  readonly master?: boolean;
  /** NEIGH_STATE; PERMANENT when left out. In a bridge's table that is an address of the node itself; NOARP is static. */
  readonly state?: number;
  /** In a bridge's table: no frame from another port moves it there. */
  readonly sticky?: boolean;
}

function header(family: number, ifindex: number, state: number, flags: number): Message {
  return new Message().u8(family).u8(0).u16(0).u32(ifindex).u16(state).u8(flags).u8(0);
}

function neighbourMessage({ ifindex, address, mac, state }: Neighbour): Message {
  const built = header(AF_INET, ifindex, state ?? NEIGH_STATE.PERMANENT, 0)
    .attr(NDA.DST, addressBytes(address));
  if (mac !== undefined) built.attr(NDA.LLADDR, macBytes(mac));
  return built;
}

function fdbMessage({ ifindex, mac, destination, master, state, sticky }: FdbEntry): Message {
  const flags = (master ? NTF_MASTER : NTF_SELF) | (sticky ? NTF_STICKY : 0);
  const built = header(AF_BRIDGE, ifindex, state ?? NEIGH_STATE.PERMANENT, flags)
    .attr(NDA.LLADDR, macBytes(mac));
  if (destination !== undefined) built.attr(NDA.DST, addressBytes(destination));
  return built;
}

/** The IPv4 neighbours on one device or on all. */
export function listNeighbours(socket: NetlinkSocket, ifindex = 0): Neighbour[] {
  return dumpNeighbours(socket, ifindex).map((body) => {
    const attrs = body.attrs(12);
    return {
      ifindex: body.u32(4),
      address: formatAddress(attrs.get(NDA.DST)?.bytes ?? new Uint8Array(4)),
      state: body.u16(8),
      mac: macOf(attrs),
    };
  });
}

/** What the IPv4 neighbours on a device come to, but for groups', which the kernel adds: another text when one has changed. */
export function neighboursFingerprint(socket: NetlinkSocket, ifindex: number): string {
  const found = new Fingerprint();
  for (const body of dumpNeighbours(socket, ifindex)) {
    if (body.u16(8) !== NEIGH_STATE.NOARP) found.add(body.view, 0, endOfIdentity(body));
  }
  return found.text;
}

/** Where the times of an entry begin, which pass by themselves; the kernel puts them behind its addresses. */
function endOfIdentity(body: Reader): number {
  let at = 12;
  while (at + 4 <= body.bytes.length && body.u16(at + 2) !== NDA.CACHEINFO) {
    at += Math.max(4, (body.u16(at) + 3) & ~3);
  }
  return Math.min(at, body.bytes.length);
}

function dumpNeighbours(socket: NetlinkSocket, ifindex: number): Reader[] {
  const request = header(AF_INET, 0, 0, 0);
  if (ifindex) request.attrU32(NDA.IFINDEX, ifindex);
  return socket.dump("RTM_GETNEIGH", RTM_GETNEIGH, request).map(({ body }) => body);
}

function macOf(attrs: Map<number, Reader>): string | undefined {
  const found = attrs.get(NDA.LLADDR);
  return found && formatMac(found.bytes);
}

/** For `requestAll`: adds a neighbour or changes it. */
export function replaceNeighbourRequest(neighbour: Neighbour): NetlinkRequest {
  const flags = NLM_F.CREATE | NLM_F.REPLACE;
  const message = neighbourMessage(neighbour);
  return { what: "RTM_NEWNEIGH", type: RTM_NEWNEIGH, flags, message };
}

/** For `requestAll`: removes a neighbour; one that is not there is no error. */
export function deleteNeighbourRequest(neighbour: Neighbour): NetlinkRequest {
  const message = neighbourMessage(neighbour);
  return { what: "RTM_DELNEIGH", type: RTM_DELNEIGH, flags: 0, message, fine: gone };
}

/** Adds a neighbour or changes it. */
export function replaceNeighbour(socket: NetlinkSocket, neighbour: Neighbour): void {
  const { what, type, flags, message } = replaceNeighbourRequest(neighbour);
  socket.request(what, type, flags, message);
}

/** Removes a neighbour; false when it was not there. */
export function deleteNeighbour(socket: NetlinkSocket, neighbour: Neighbour): boolean {
  return remove(socket, neighbourMessage(neighbour));
}

/** The forwarding database of a bridge's ports (`master`: the bridge's index) or of one device. */
export function listFdb(
  socket: NetlinkSocket,
  filter: { ifindex?: number; master?: number } = {},
): FdbEntry[] {
  const request = header(AF_BRIDGE, filter.ifindex ?? 0, 0, 0);
  if (filter.master !== undefined) request.attrU32(NDA.MASTER, filter.master);
  return socket.dump("RTM_GETNEIGH", RTM_GETNEIGH, request).map(({ body }) => {
    const attrs = body.attrs(12);
    const destination = attrs.get(NDA.DST);
    return {
      ifindex: body.u32(4),
      mac: macOf(attrs) ?? "",
      state: body.u16(8),
      master: (body.u8(10) & NTF_SELF) === 0,
      sticky: (body.u8(10) & NTF_STICKY) !== 0,
      destination: destination && formatAddress(destination.bytes),
    };
  });
}

/** Adds an entry to a forwarding database or changes it. */
export function replaceFdb(socket: NetlinkSocket, entry: FdbEntry): void {
  socket.request("RTM_NEWNEIGH", RTM_NEWNEIGH, NLM_F.CREATE | NLM_F.REPLACE, fdbMessage(entry));
}

/** Removes an entry from a forwarding database; false when it was not there. */
export function deleteFdb(socket: NetlinkSocket, entry: FdbEntry): boolean {
  return remove(socket, fdbMessage(entry));
}

/** Error codes for an entry that is not there, or whose device is not. */
const gone = ["ENOENT", "ENODEV", "ENXIO"];

function remove(socket: NetlinkSocket, message: Message): boolean {
  try {
    socket.request("RTM_DELNEIGH", RTM_DELNEIGH, 0, message);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && gone.includes(error.code)) return false;
    throw error;
  }
}
