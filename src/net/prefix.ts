/** Prefixes of both families: `10.244.1.0/24`, `fd00:1::/64`. */
import { addressOf, addressSize, type AddressValue, addressValue, familyOf } from "./address.ts";
import { parseAddress } from "./address.ts";
import { AddressError, type Family } from "./error.ts";

/** An address and the length of the prefix that its network has. */
interface InterfaceAddress {
  address: string;
  /** 0 to 32, or to 128. */
  length: number;
}

/** The addresses that share their first `length` bits. Host bits are zero: equal prefixes have equal texts. */
export class Prefix {
  readonly family: Family;
  /** The network address. */
  readonly address: string;
  /** `10.244.1.0/24` */
  readonly text: string;
  /** `addressValue()` of the first and the last address. */
  readonly first: AddressValue;
  readonly last: AddressValue;

  /** @param length 0 to 32, or to 128; bits of `address` beyond it are cleared */
  constructor(address: string, readonly length: number) {
    this.family = familyOf(address);
    const value = addressValue(address);
    if (typeof value === "number") {
      const size = 2 ** (32 - length);
      this.first = value - value % size;
      this.last = this.first + size - 1;
    } else {
      const size = 1n << BigInt(128 - length);
      this.first = value - value % size;
      this.last = this.first + size - 1n;
    }
    this.address = addressOf(this.first);
    this.text = `${this.address}/${length}`;
  }

  contains(address: string): boolean {
    if (familyOf(address) !== this.family) return false;
    const value = addressValue(address);
    return this.first <= value && value <= this.last;
  }

  overlaps({ family, first, last }: Prefix): boolean {
    return family === this.family && first <= this.last && this.first <= last;
  }

  /** The address with this number in the prefix; 0 is the network address. */
  at(index: number): string {
    const { first } = this;
    return addressOf(typeof first === "number" ? first + index : first + BigInt(index));
  }
}

/**
 * A prefix without host bits.
 * @throws {AddressError}
 */
export function parsePrefix(text: string, family?: Family): Prefix {
  const { address, length } = parseInterface(text, family);
  const prefix = new Prefix(address, length);
  if (prefix.address === address) return prefix;
  const reason = `it has bits set beyond the first ${length}; write ${prefix.text}`;
  throw new AddressError(text, expected(family), reason);
}

/**
 * A prefix whose host bits are cleared. For what Kubernetes' validation lets through with host bits; the kernel refuses
 * routes that have some (EINVAL).
 * @throws {AddressError}
 */
export function parseNetwork(text: string, family?: Family): Prefix {
  const { address, length } = parseInterface(text, family);
  return new Prefix(address, length);
}

/**
 * `10.244.1.7/24`: an address with host bits, as interfaces have it.
 * @throws {AddressError}
 */
export function parseInterface(text: string, family?: Family): InterfaceAddress {
  const refuse = (reason: string, of?: Family) =>
    new AddressError(text, expected(family), reason, of);
  const slash = text.indexOf("/");
  if (slash < 0) throw refuse("it has no /LENGTH");
  let address: string;
  try {
    address = parseAddress(text.slice(0, slash), family);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    throw refuse(error.reason, error.family);
  }
  const longest = addressSize(familyOf(address)) * 8;
  const digits = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(digits) || Number(digits) > longest) {
    throw refuse(`its length must be a number from 0 to ${longest}`);
  }
  return { address, length: Number(digits) };
}

function expected(family: Family | undefined): string {
  return family === undefined ? "an IP prefix" : `an IPv${family} prefix`;
}
