/**
 * IP addresses of both families. An address is its canonical text everywhere in pcnk: a dotted quad, or RFC 5952's text of
 * an IPv6 address. Equal addresses have equal texts, and a text costs less memory than an object around it.
 */
import { AddressError, type Family } from "./error.ts";
import { formatIpv4, isIpv4, parseIpv4, readIpv4, whyNotIpv4 } from "./ipv4.ts";
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
  const value = parseIpv4(address);
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** The canonical text of the bytes at `at`, in network order. */
export function readAddress(view: DataView<ArrayBuffer>, at: number, family: Family): string {
  if (family === 4) return formatIpv4(view.getUint32(at));
  return formatIpv6(new Uint8Array(view.buffer, view.byteOffset + at, 16));
}

/** The canonical text of 4 or 16 bytes in network order. */
export function formatAddress(bytes: Uint8Array): string {
  return bytes.length === 16 ? formatIpv6(bytes) : bytes.join(".");
}

/** An address for arithmetic: an IPv4 address is a number, an IPv6 address a bigint. Those of one family compare by `<`. */
export type AddressValue = number | bigint;

/** @throws {AddressError} */
export function addressValue(address: string): AddressValue {
  const ipv4 = readIpv4(address);
  if (ipv4 >= 0) return ipv4;
  return readValue(new DataView(parseIpv6(address).buffer), 0, 6);
}

/** The value of the bytes at `at`, in network order. */
export function readValue(view: DataView, at: number, family: Family): AddressValue {
  if (family === 4) return view.getUint32(at);
  return view.getBigUint64(at) << 64n | view.getBigUint64(at + 8);
}

/** The reverse of `addressValue()`. */
export function addressOf(value: AddressValue): string {
  if (typeof value === "number") return formatIpv4(value);
  const view = new DataView(new ArrayBuffer(16));
  view.setBigUint64(0, value >> 64n);
  view.setBigUint64(8, BigInt.asUintN(64, value));
  return formatIpv6(new Uint8Array(view.buffer));
}

/** An array of addresses of one family, as small as their bytes. */
export class AddressColumn {
  readonly #ipv4: Uint32Array | undefined;
  readonly #ipv6: BigUint64Array | undefined;

  constructor(length: number, family: Family) {
    if (family === 4) this.#ipv4 = new Uint32Array(length);
    else this.#ipv6 = new BigUint64Array(2 * length);
  }

  get(index: number): AddressValue {
    if (this.#ipv4 !== undefined) return this.#ipv4[index] ?? 0;
    return (this.#ipv6![2 * index] ?? 0n) << 64n | (this.#ipv6![2 * index + 1] ?? 0n);
  }

  /** @param value of the column's family */
  set(index: number, value: AddressValue): void {
    if (this.#ipv4 !== undefined) this.#ipv4[index] = value as number;
    else {
      this.#ipv6![2 * index] = BigInt(value) >> 64n;
      this.#ipv6![2 * index + 1] = BigInt(value); // its low 64 bits
    }
  }
}
