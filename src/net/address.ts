/**
 * IP addresses of both families. An address is its canonical text everywhere in pcnk: a dotted quad, or RFC 5952's text of
 * an IPv6 address. Equal addresses have equal texts, and a text costs less memory than an object around it.
 */
import { AddressError, type Family } from "./error.ts";
import { compareIpv4, formatIpv4, isIpv4, parseIpv4, whyNotIpv4 } from "./ipv4.ts";
import { formatIpv6, parseIpv6 } from "./ipv6.ts";

/**
 * The canonical text of an address of either family, or of the one that is asked for.
 * @throws {AddressError}
 */
export function parseAddress(text: string, family?: Family): string {
  const ipv4 = isIpv4(text);
  if (ipv4 && family !== 6) return text;
  const refuse = (reason: string, of?: Family) =>
    new AddressError(
      text,
      family === undefined ? "an IP address" : `an IPv${family} address`,
      reason,
      of,
    );
  if (ipv4) throw refuse("it is an IPv4 address", 4);
  if (!text.includes(":")) throw refuse(whyNotIpv4(text));
  let address: string;
  try {
    address = formatIpv6(parseIpv6(text));
  } catch (error) {
    throw error instanceof AddressError ? refuse(error.reason, error.family) : error;
  }
  if (family === 4) throw refuse("it is an IPv6 address", 6);
  return address;
}

/** True for what `parseAddress()` takes. */
export function isAddress(text: string, family?: Family): boolean {
  try {
    return isIpv4(text) ? family !== 6 : parseAddress(text, family) !== "";
  } catch {
    return false;
  }
}

/** The family of a canonical text. */
export function familyOf(address: string): Family {
  return address.includes(":") ? 6 : 4;
}

/** Bytes of an address of the family. */
export function addressSize(family: Family): 4 | 16 {
  return family === 4 ? 4 : 16;
}

/**
 * The 4 or 16 bytes of an address, in network order.
 * @throws {AddressError}
 */
export function addressBytes(address: string): Uint8Array<ArrayBuffer> {
  if (familyOf(address) === 6) return parseIpv6(address);
  const bytes = new Uint8Array(4);
  writeAddress(address, bytes);
  return bytes;
}

/**
 * Writes the bytes of an address to `bytes` from `at` on, in network order.
 * @throws {AddressError}
 */
export function writeAddress(address: string, bytes: Uint8Array, at = 0): void {
  if (familyOf(address) === 6) return bytes.set(parseIpv6(address), at);
  const value = parseIpv4(address);
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** The canonical text of 4 or 16 bytes in network order. */
export function formatAddress(bytes: Uint8Array, at = 0, size = bytes.length - at): string {
  if (size === 16) return formatIpv6(bytes, at);
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** An address for arithmetic: an IPv4 address is a number, an IPv6 address a bigint. Those of one family compare by `<`. */
export type AddressValue = number | bigint;

export function addressValue(address: string): AddressValue {
  if (familyOf(address) === 4) return parseIpv4(address);
  const view = new DataView(parseIpv6(address).buffer);
  return view.getBigUint64(0) << 64n | view.getBigUint64(8);
}

/** The reverse of `addressValue()`. */
export function addressOf(value: AddressValue): string {
  if (typeof value === "number") return formatIpv4(value);
  const view = new DataView(new ArrayBuffer(16));
  view.setBigUint64(0, value >> 64n);
  view.setBigUint64(8, BigInt.asUintN(64, value));
  return formatIpv6(new Uint8Array(view.buffer));
}

/** Orders canonical texts as their bytes are ordered, all of IPv4 before IPv6. */
export function compareAddresses(a: string, b: string): number {
  if (a === b) return 0;
  const [family, other] = [familyOf(a), familyOf(b)];
  if (family !== other) return family - other;
  if (family === 4) return compareIpv4(a, b);
  const [left, right] = [parseIpv6(a), parseIpv6(b)];
  const at = left.findIndex((byte, i) => byte !== right[i]);
  return left[at]! - right[at]!;
}
