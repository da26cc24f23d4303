/** Bytes of which some bits are known: how rules are evaluated for all packets of a kind at once. */

/** A condition's result; undefined: it holds for some packets, or cannot be interpreted. */
export type Truth = boolean | undefined;

/** Bytes. A bit that is not set in `known` may be either; `value` then has that of an example. */
export interface Bits {
  readonly value: Uint8Array;
  readonly known: Uint8Array;
}

/** All bits are known. */
export function exact(value: Uint8Array): Bits {
  return { value, known: new Uint8Array(value.length).fill(255) };
}

export function unknown(length: number): Bits {
  return { value: new Uint8Array(length), known: new Uint8Array(length) };
}

/** What these values of one length have in common, with the first of them as the example. */
export function agreed(values: readonly Uint8Array[], length: number): Bits {
  const [first] = values;
  if (first === undefined) return unknown(length);
  const known = first.map((byte, i) =>
    values.reduce((same, other) => same & ~(byte ^ other[i]!), 255)
  );
  return { value: first, known };
}

export function concat(...parts: Bits[]): Bits {
  const join = (pick: keyof Bits) => Uint8Array.from(parts.flatMap((part) => [...part[pick]]));
  return { value: join("value"), known: join("known") };
}

/** `length` bytes from `offset` on; unknown beyond the end. */
export function slice({ value, known }: Bits, offset: number, length: number): Bits {
  const part = unknown(length);
  part.value.set(value.subarray(offset, offset + length));
  part.known.set(known.subarray(offset, offset + length));
  return part;
}

/** In units of `unit` bytes, the byte order of each reversed. */
export function swapped({ value, known }: Bits, unit: number): Bits {
  const swap = (bytes: Uint8Array) =>
    bytes.map((_, i) => bytes[i - i % unit + (unit - 1 - i % unit)] ?? 0);
  return { value: swap(value), known: swap(known) };
}

/** `(bits & mask) ^ flip` */
export function masked({ value, known }: Bits, mask: Uint8Array, flip: Uint8Array): Bits {
  return {
    value: value.map((byte, i) => (byte & (mask[i] ?? 0)) ^ (flip[i] ?? 0)),
    known: known.map((byte, i) => byte | ~(mask[i] ?? 0)),
  };
}

export function isKnown({ known }: Bits): boolean {
  return known.every((byte) => byte === 255);
}

export function isPartlyKnown({ known }: Bits): boolean {
  return known.some((byte) => byte !== 0);
}

/** Are the bits this value, of the same length? */
export function equals({ value, known }: Bits, other: Uint8Array): Truth {
  if (other.some((byte, i) => ((byte ^ value[i]!) & known[i]!) !== 0)) return false;
  return other.every((_, i) => known[i] === 255) ? true : undefined;
}

/** Are the bits, as a number in network byte order, less than this value? */
export function isLess({ value, known }: Bits, other: Uint8Array): Truth {
  const least = other.map((_, i) => value[i]! & known[i]!);
  const most = other.map((_, i) => value[i]! | ~known[i]!);
  if (order(most, other) < 0) return true;
  return order(least, other) < 0 ? undefined : false;
}

function order(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at < 0 ? 0 : a[at]! - b[at]!;
}

export function not(truth: Truth): Truth {
  return truth === undefined ? undefined : !truth;
}

/** All of them hold. */
export function every(truths: readonly Truth[]): Truth {
  if (truths.includes(false)) return false;
  return truths.includes(undefined) ? undefined : true;
}

export function some(truths: readonly Truth[]): Truth {
  return not(every(truths.map(not)));
}

/** A number in this machine's byte order, as meta expressions have it. */
export function native(value: number, size = 4): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes.subarray(0, size);
}
