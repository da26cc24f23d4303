/** IPv4 addresses of devices, by rtnetlink (include/uapi/linux/if_addr.h). */
import { addressBytes, formatAddress } from "../net/address.ts";
import { SyscallError } from "./libc.ts";
import { Message, NetlinkSocket, NLM_F, Reader } from "./netlink.ts";

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

const IFA = { ADDRESS: 1, LOCAL: 2, LABEL: 3, BROADCAST: 4, TARGET_NETNSID: 10 } as const;

/** AF_INET */
export const AF_INET = 2;

/** Scopes of addresses and routes (rtnetlink(7)). */
export const SCOPE = { universe: 0, site: 200, link: 253, host: 254 } as const;

/** An address of a device. */
export interface Address {
  readonly ifindex: number;
  readonly address: string;
  readonly prefixLength: number;
  /** SCOPE; universe when left out. */
  readonly scope?: number;
  /** Of a point-to-point device: the other end. */
  readonly peer?: string;
  readonly broadcast?: string;
}

function message({ ifindex, address, prefixLength, scope, peer, broadcast }: Address): Message {
  const built = new Message().u8(AF_INET).u8(prefixLength).u8(0).u8(scope ?? 0).u32(ifindex)
    .attr(IFA.LOCAL, addressBytes(address))
    .attr(IFA.ADDRESS, addressBytes(peer ?? address));
  if (broadcast !== undefined) built.attr(IFA.BROADCAST, addressBytes(broadcast));
  return built;
}

/** Reads one RTM_NEWADDR or RTM_DELADDR; undefined when it is not about IPv4. */
export function parseAddress(body: Reader): Address | undefined {
  if (body.u8(0) !== AF_INET) return undefined;
  const attrs = body.attrs(8);
  const text = (type: number) => {
    const found = attrs.get(type);
    return found && formatAddress(found.bytes);
  };
  const peer = text(IFA.ADDRESS);
  const address = text(IFA.LOCAL) ?? peer ?? "0.0.0.0";
  return {
    ifindex: body.u32(4),
    address,
    prefixLength: body.u8(1),
    scope: body.u8(3),
    peer: peer === address ? undefined : peer,
    broadcast: text(IFA.BROADCAST),
  };
}

/** The IPv4 addresses of one device or of all. */
export function listAddresses(socket: NetlinkSocket, ifindex = 0): Address[] {
  const request = new Message().u8(AF_INET).u8(0).u8(0).u8(0).u32(ifindex);
  return socket.dump("RTM_GETADDR", RTM_GETADDR, request)
    .map(({ body }) => parseAddress(body))
    .filter((address) => address !== undefined)
    .filter((address) => ifindex === 0 || address.ifindex === ifindex);
}

/**
 * The IPv4 addresses in another network namespace, by its id in this one (`Link.peerNetnsId`).
 * @throws {SyscallError} EINVAL when no namespace has the id
 */
export function listAddressesIn(socket: NetlinkSocket, netnsId: number): Address[] {
  const request = new Message().u8(AF_INET).u8(0).u8(0).u8(0).u32(0)
    .attrU32(IFA.TARGET_NETNSID, netnsId);
  return socket.dump("RTM_GETADDR", RTM_GETADDR, request)
    .map(({ body }) => parseAddress(body))
    .filter((address) => address !== undefined);
}

/**
 * Adds an address to a device; false when it has it already.
 * @throws {SyscallError} ENODEV
 */
export function addAddress(socket: NetlinkSocket, address: Address): boolean {
  try {
    socket.request("RTM_NEWADDR", RTM_NEWADDR, NLM_F.CREATE | NLM_F.EXCL, message(address));
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === "EEXIST") return false;
    throw error;
  }
}

/** Removes an address; false when it was not there. */
export function deleteAddress(socket: NetlinkSocket, address: Address): boolean {
  try {
    socket.request("RTM_DELADDR", RTM_DELADDR, 0, message(address));
    return true;
  } catch (error) {
    if (error instanceof SyscallError && ["EADDRNOTAVAIL", "ENODEV"].includes(error.code)) {
      return false;
    }
    throw error;
  }
}
