/**
 * Expressions of nftables that load a part of a packet to a register, and the registers (include/uapi/linux/netfilter/nf_tables.h).
 */
import type { Reader } from "../linux/netlink.ts";
import { type Bits, exact, isPartlyKnown, native, slice, type Truth, unknown } from "./bits.ts";
import type { Evaluation, Step } from "./chain.ts";
import { indexBits, nameBits, ROUTE_TYPE } from "./packet.ts";

/** Attributes of an expression. */
export type Attrs = Map<number, Reader>;

/** A number of the kernel's in network byte order. */
export function number(attrs: Attrs, type: number, fallback = 0): number {
  return attrs.get(type)?.view.getUint32(0) ?? fallback;
}

export function text(attrs: Attrs, type: number): string {
  return attrs.get(type)?.text() ?? "";
}

/** The first byte of a register: NFT_REG_1 to NFT_REG_4 of 16 bytes, NFT_REG32_00 to NFT_REG32_15 of four. */
export function place(register: number): number {
  return register < 8 ? (register - 1) * 16 : (register - 8) * 4;
}

/** What slots of a register have: see `Evaluation.names`; undefined: nothing of the kind. */
type Names = readonly (boolean | undefined)[];

export function store(e: Evaluation, register: number, bits: Bits, names: Names = []): true {
  const at = place(register), size = bits.value.length, padded = size + 3 & ~3;
  const registers = { value: e.registers.value.slice(), known: e.registers.known.slice() };
  registers.value.fill(0, at, at + padded).set(bits.value, at);
  registers.known.fill(255, at, at + padded).set(bits.known, at);
  e.registers = registers;
  for (let i = 0; i < padded / 4; i++) {
    const known = names[i];
    if (known === undefined) e.names.delete(at / 4 + i);
    else e.names.set(at / 4 + i, known);
  }
  return true;
}

export function namesIn(e: Evaluation, register: number, length: number): Names {
  const first = place(register) / 4;
  return Array.from({ length: Math.ceil(length / 4) }, (_, i) => e.names.get(first + i));
}

/** Notes an equation of a register. */
export function noteNames(e: Evaluation, register: number, length: number, truth: Truth): void {
  for (const known of namesIn(e, register, length)) {
    if (known !== undefined) e.noteName(known, truth);
  }
}

/** Bases of NFTA_PAYLOAD_BASE, and offsets of addresses and ports. */
const BASE = { LINK: 0, NETWORK: 1, TRANSPORT: 2 } as const;
const SOURCE_ADDRESS = 12, PORTS = 4;

export function loadPayload(attrs: Attrs): Step {
  const register = number(attrs, 1), base = number(attrs, 2);
  const offset = number(attrs, 3), length = number(attrs, 4);
  if (register === 0) return () => true; // it writes to the packet
  return (e) => {
    const { network, transport } = e.packet;
    const whole = base === BASE.NETWORK ? network : base === BASE.TRANSPORT ? transport : undefined;
    const ethernet = base === BASE.LINK && offset === 12 && length === 2;
    const bits = ethernet ? etherType(e) : whole ? slice(whole, offset, length) : unknown(length);
    const slots = Array.from({ length: Math.ceil(length / 4) }, (_, i) => slice(bits, 4 * i, 4));
    if (base === BASE.NETWORK && offset >= SOURCE_ADDRESS) {
      return store(e, register, bits, slots.map(isPartlyKnown));
    }
    // Any port is one of theirs.
    const ports = base === BASE.TRANSPORT && offset < PORTS;
    return store(
      e,
      register,
      bits,
      ports ? slots.map((slot) => isPartlyKnown(slot) || undefined) : [],
    );
  };
}

const etherType = ({ packet }: Evaluation) =>
  exact(Uint8Array.of(packet.etherType >> 8, packet.etherType & 255));

const META = {
  PROTOCOL: 1,
  MARK: 3,
  IIF: 4,
  OIF: 5,
  IIFNAME: 6,
  OIFNAME: 7,
  NFPROTO: 15,
  L4PROTO: 16,
} as const;
const NFPROTO_IPV4 = 2;

const META_BITS: Readonly<Record<number, (e: Evaluation) => Bits>> = {
  [META.PROTOCOL]: etherType,
  [META.MARK]: ({ mark }) => mark,
  [META.IIF]: ({ point }) => indexBits(point.iif),
  [META.OIF]: ({ point }) => indexBits(point.oif),
  [META.IIFNAME]: ({ point }) => nameBits(point.iif),
  [META.OIFNAME]: ({ point }) => nameBits(point.oif),
  [META.NFPROTO]: () => exact(Uint8Array.of(NFPROTO_IPV4)),
  [META.L4PROTO]: ({ packet }) => exact(Uint8Array.of(packet.protocol)),
};

export function loadMeta(attrs: Attrs): Step {
  const key = number(attrs, 2), source = number(attrs, 3);
  if (source !== 0) {
    return (e) => {
      if (key === META.MARK) {
        e.mark = e.doubtful ? unknown(4) : slice(e.registers, place(source), 4);
      }
      return true;
    };
  }
  const isDevice = META.IIF <= key && key <= META.OIFNAME;
  return (e) => {
    const bits = META_BITS[key]?.(e) ?? unknown(16);
    const names = isDevice ? new Array(4).fill(isPartlyKnown(bits)) : [];
    return store(e, number(attrs, 1), bits, names);
  };
}

const CT = { STATE: 0, STATUS: 2 } as const;
/** IPS_SRC_NAT and IPS_DST_NAT: rules of others that translate are not followed. */
const IPS_NAT = 0x30;

export function loadCt(attrs: Attrs): Step {
  const register = number(attrs, 1), key = number(attrs, 2);
  if (register === 0) return () => true; // it writes to the connection
  return (e) => {
    if (key === CT.STATUS) {
      return store(e, register, { value: native(0), known: native(IPS_NAT) });
    }
    const bits = key === CT.STATE && e.state !== undefined ? exact(native(e.state)) : unknown(16);
    return store(e, register, bits);
  };
}

const FIB = { ADDRTYPE: 3, SADDR: 1, IIF: 1 << 3, PRESENT: 1 << 5 } as const;

/** Types of addresses are known; and there is a route back to each source. */
export function loadFib(attrs: Attrs): Step {
  const register = number(attrs, 1), result = number(attrs, 2), flags = number(attrs, 3);
  return (e) => {
    const { src, dst } = e.packet.types;
    const type = flags & FIB.SADDR ? src : flags & FIB.IIF ? typeAt(e) : dst;
    if (result === FIB.ADDRTYPE) {
      return store(e, register, type === undefined ? unknown(4) : exact(native(type)));
    }
    return store(
      e,
      register,
      flags & FIB.PRESENT ? exact(Uint8Array.of(1)) : { value: native(1), known: native(1) },
    );
  };
}

/** The destination's type if only addresses of the incoming device count as local. */
function typeAt({ packet, point }: Evaluation): number | undefined {
  const { dst, dstDevice } = packet.types;
  if (dst !== ROUTE_TYPE.LOCAL) return dst;
  if (dstDevice === undefined || point.iif === "any" || point.iif.length !== 1) return undefined;
  return point.iif[0]!.index === dstDevice ? ROUTE_TYPE.LOCAL : ROUTE_TYPE.UNICAST;
}
