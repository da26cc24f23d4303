/** Packets, as far as rules look at them: what is not known of a kind of traffic is unknown here. */
import { addressBytes } from "../net/address.ts";
import { agreed, type Bits, concat, exact, native, unknown } from "./bits.ts";

const ETHERTYPE = { IPV4: 0x0800, ARP: 0x0806 } as const;
export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17 } as const;
/** ct state of nftables (include/uapi/linux/netfilter/nf_conntrack_common.h). */
export const CT_STATE = { INVALID: 1, ESTABLISHED: 2, NEW: 8, UNTRACKED: 64 } as const;
/** Types of addresses (RTN_* of include/uapi/linux/rtnetlink.h). */
export const ROUTE_TYPE = { UNICAST: 1, LOCAL: 2 } as const;

const IFNAMSIZ = 16;

/** A packet, or what all packets of a kind have in common. */
export interface Packet {
  readonly etherType: number;
  /** Of IPv4; 0 for ARP. */
  readonly protocol: number;
  readonly network: Bits;
  readonly transport: Bits;
  /** CT_STATE. */
  readonly state: number;
  /** ROUTE_TYPE of source and destination, and index of the device that has the latter; undefined: unknown. */
  readonly types: { readonly src?: number; readonly dst?: number; readonly dstDevice?: number };
}

/** An address in a packet: what several have in common. */
export interface Place {
  /** Four bytes. */
  readonly addr: Bits;
  /** undefined: any. */
  readonly port?: number;
  /** ROUTE_TYPE */
  readonly type?: number;
  /** Index of the device that has it. */
  readonly device?: number;
}

/** Addresses in common. */
export function addresses(texts: readonly string[]): Bits {
  return agreed(texts.map((text) => Uint8Array.from(addressBytes(text))), 4);
}

/** An IPv4 packet without options, the first of its flow or, if `reply`, one to the other direction. */
export function ipv4(
  { src, dst, protocol, reply = false, fragments = false }: {
    src: Place;
    dst: Place;
    protocol: number;
    reply?: boolean;
    /** It may be a fragment, or have to become some. */
    fragments?: boolean;
  },
): Packet {
  const flags: Bits = fragments
    ? unknown(2)
    : { value: new Uint8Array(2), known: Uint8Array.of(0x3f, 255) }; // all but DF
  const network = concat(
    exact(Uint8Array.of(0x45)),
    unknown(5),
    flags,
    unknown(1),
    exact(Uint8Array.of(protocol)),
    unknown(2),
    src.addr,
    dst.addr,
  );
  const types = { src: src.type, dst: dst.type, dstDevice: dst.device };
  const state = reply ? CT_STATE.ESTABLISHED : CT_STATE.NEW;
  const transport = protocol === PROTOCOL.ICMP
    ? concat(exact(Uint8Array.of(reply ? 0 : 8, 0)), unknown(6))
    : concat(portBits(src), portBits(dst), ...(protocol === PROTOCOL.TCP ? tcpRest(reply) : []));
  return { etherType: ETHERTYPE.IPV4, protocol, network, transport, state, types };
}

function portBits({ port }: Place): Bits {
  return port === undefined ? unknown(2) : exact(Uint8Array.of(port >> 8, port & 255));
}

/** From the sequence number to the flags: SYN, or ACK with or without SYN. */
function tcpRest(reply: boolean): Bits[] {
  const flags = reply ? { value: Uint8Array.of(0x10), known: Uint8Array.of(0x3d) } : exact(
    Uint8Array.of(0x02),
  );
  return [unknown(9), flags];
}

/** An ARP request (RFC 826), or the reply. */
export function arp({ src, dst, reply = false }: { src: Bits; dst: Bits; reply?: boolean }) {
  const network = concat(
    exact(Uint8Array.of(0, 1, 8, 0, 6, 4, 0, reply ? 2 : 1)),
    unknown(6),
    src,
    unknown(6),
    dst,
  );
  const packet: Packet = {
    etherType: ETHERTYPE.ARP,
    protocol: 0,
    network,
    transport: unknown(0),
    state: CT_STATE.INVALID,
    types: {},
  };
  return packet;
}

/** A network device. */
export interface Device {
  readonly index: number;
  readonly name: string;
}

/** One of these devices, or one that is not known; an empty list: there is none. */
export type Devices = readonly Device[] | "any";

/** What the names of devices have in common, padded with zeros. */
export function nameBits(devices: Devices): Bits {
  return deviceBits(devices, IFNAMSIZ, ({ name }) => {
    const bytes = new Uint8Array(IFNAMSIZ);
    bytes.set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
    return bytes;
  });
}

/** The same of their indices. */
export function indexBits(devices: Devices): Bits {
  return deviceBits(devices, 4, ({ index }) => native(index));
}

function deviceBits(devices: Devices, size: number, bytes: (device: Device) => Uint8Array): Bits {
  if (devices === "any") return unknown(size);
  return devices.length === 0 ? exact(new Uint8Array(size)) : agreed(devices.map(bytes), size);
}
