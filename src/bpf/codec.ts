/**
 * Typed codecs for keys and values of maps: TypeScript values to and from the bytes of C structs, laid out by C's rules
 * (natural alignment).
 */
import { formatIpv4, parseIpv4 } from "../net/ipv4.ts";
import { formatMac, macBytes } from "../net/mac.ts";

/** Turns a value of type T into `size` bytes and back. */
export interface Codec<T> {
  /** Name of the C type, for errors and for the comparison with BTF. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Bytes. */
  readonly align: number;
  /** Members, when it is a struct. */
  readonly fields?: readonly Field[];
  /** Of a per-CPU value: bytes of the value of one CPU, which is what the kernel calls the value's size. */
  readonly elementSize?: number;
  /** Writes the value at `offset`. */
  encode(value: T, view: DataView<ArrayBuffer>, offset: number): void;
  /** Reads the value at `offset`. */
  decode(view: DataView<ArrayBuffer>, offset: number): T;
}

/** A member of a struct. Offset and size in bytes. */
export interface Field {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

/** Padding: bytes that are zero and not seen in TypeScript. */
interface Pad extends Codec<never> {
  readonly pad: true;
}

/** The type a codec is for. */
// deno-lint-ignore no-explicit-any
export type ValueOf<C> = C extends Codec<infer T> ? T : any;

/** Whether the host is little endian, as the kernel's structs are then. */
export const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function integer(
  name: string,
  size: 1 | 2 | 4,
  encode: (view: DataView, offset: number, value: number) => void,
  decode: (view: DataView, offset: number) => number,
): Codec<number> {
  const max = 2 ** (8 * size) - 1;
  return {
    name,
    size,
    align: size,
    encode(value, view, offset) {
      // A DataView would cut the number in silence.
      if (!(value >= 0 && value <= max && Number.isInteger(value))) {
        throw new RangeError(`${value} is not a ${name} (0 to ${max})`);
      }
      encode(view, offset, value);
    },
    decode,
  };
}

/** __u8 */
export const u8: Codec<number> = integer(
  "u8",
  1,
  (view, at, value) => view.setUint8(at, value),
  (view, at) => view.getUint8(at),
);

/** __u16 in host byte order. */
export const u16: Codec<number> = integer(
  "u16",
  2,
  (view, at, value) => view.setUint16(at, value, LITTLE),
  (view, at) => view.getUint16(at, LITTLE),
);

/** __u32 in host byte order. */
export const u32: Codec<number> = integer(
  "u32",
  4,
  (view, at, value) => view.setUint32(at, value, LITTLE),
  (view, at) => view.getUint32(at, LITTLE),
);

/** __be16, in network byte order: the number 80 is the bytes 0x00 0x50. */
export const be16: Codec<number> = integer(
  "be16",
  2,
  (view, at, value) => view.setUint16(at, value),
  (view, at) => view.getUint16(at),
);

/** __u64 in host byte order. */
export const u64: Codec<bigint> = {
  name: "u64",
  size: 8,
  align: 8,
  encode(value, view, offset) {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) {
      throw new RangeError(`${value} is not a u64`);
    }
    view.setBigUint64(offset, value, LITTLE);
  },
  decode: (view, offset) => view.getBigUint64(offset, LITTLE),
};

/** A TCP or UDP port: the number in TypeScript, in network byte order in the map. */
export const port = be16;

/** Nanoseconds: a time of CLOCK_MONOTONIC, or a duration. */
export const ns = u64;

/** What the kernel calls a socket or a network namespace for as long as it is up. */
export const cookie = u64;

/** An IPv4 address, __be32 in C and dotted in TypeScript: "10.0.0.1". */
export const ipv4: Codec<string> = {
  name: "be32",
  size: 4,
  align: 4,
  encode: (value, view, offset) => view.setUint32(offset, parseIpv4(value)),
  decode: (view, offset) => formatIpv4(view.getUint32(offset)),
};

/** A MAC address, __u8[6] in C and "aa:bb:cc:dd:ee:ff" in TypeScript. */
export const mac: Codec<string> = {
  name: "u8[6]",
  size: 6,
  align: 1,
  encode(value, view, offset) {
    new Uint8Array(view.buffer, view.byteOffset + offset, 6).set(macBytes(value));
  },
  decode: (view, offset) => formatMac(new Uint8Array(view.buffer, view.byteOffset + offset, 6)),
};

/** Text of at most `size` bytes of UTF-8, `__u8[size]` in C: what is longer is cut off, zeros fill the rest. */
export function text(size: number): Codec<string> {
  return {
    name: `u8[${size}]`,
    size,
    align: 1,
    encode(value, view, offset) {
      const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, size).fill(0);
      new TextEncoder().encodeInto(value, bytes);
    },
    decode(view, offset) {
      const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, size);
      const end = bytes.indexOf(0);
      return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
    },
  };
}

/** A member that only fills space, as wide as `codec`: written as zero, absent in TypeScript. */
export function pad(codec: Codec<unknown> | Codec<number>): Pad {
  const { size, align } = codec;
  return {
    name: codec.name,
    size,
    align,
    pad: true,
    encode(_, view, offset) {
      for (let i = 0; i < size; i++) view.setUint8(offset + i, 0);
    },
    decode(): never {
      return undefined as never;
    },
  };
}

/** Bytes as they are; what is decoded is a copy. */
export function bytes(size: number): Codec<Uint8Array<ArrayBuffer>> {
  return {
    name: `u8[${size}]`,
    size,
    align: 1,
    encode(value, view, offset) {
      if (value.length !== size) throw new RangeError(`${value.length} bytes for u8[${size}]`);
      new Uint8Array(view.buffer, view.byteOffset + offset, size).set(value);
    },
    decode: (view, offset) =>
      Uint8Array.from(new Uint8Array(view.buffer, view.byteOffset + offset, size)),
  };
}

/** A fixed-size array. */
export function array<T>(codec: Codec<T>, length: number): Codec<T[]> {
  const { size } = codec;
  return {
    name: `${codec.name}[${length}]`,
    size: size * length,
    align: codec.align,
    encode(values, view, offset) {
      if (values.length !== length) {
        throw new RangeError(`${values.length} elements for ${codec.name}[${length}]`);
      }
      values.forEach((value, i) => codec.encode(value, view, offset + i * size));
    },
    decode: (view, offset) =>
      Array.from({ length }, (_, i) => codec.decode(view, offset + i * size)),
  };
}

// deno-lint-ignore no-explicit-any
type Members = Record<string, Codec<any>>;

/** The TypeScript type of a struct: its members without the padding. */
type StructValue<M extends Members> = {
  [K in keyof M as M[K] extends Pad ? never : K]: ValueOf<M[K]>;
};

/** A codec that knows its members. */
interface StructCodec<T> extends Codec<T> {
  readonly fields: readonly Field[];
}

/**
 * The codec of a C struct with these members in this order, laid out as the compiler does it.
 * @param name the struct's tag in C
 */
export function struct<M extends Members>(name: string, members: M): StructCodec<StructValue<M>> {
  const fields: (Field & { codec: M[string]; hidden: boolean })[] = [];
  let end = 0;
  let align = 1;
  for (const [key, codec] of Object.entries(members) as [string, M[string]][]) {
    const offset = roundUp(end, codec.align);
    fields.push({ name: key, offset, size: codec.size, codec, hidden: "pad" in codec });
    end = offset + codec.size;
    align = Math.max(align, codec.align);
  }
  return {
    name,
    size: roundUp(end, align),
    align,
    fields: fields.map(({ name, offset, size }) => ({ name, offset, size })),
    encode(value: Record<string, unknown>, view, offset) {
      for (const field of fields) {
        try {
          field.codec.encode(value[field.name], view, offset + field.offset);
        } catch (error) {
          throw new TypeError(`${name}.${field.name}: ${(error as Error).message}`);
        }
      }
    },
    decode(view, offset) {
      const value: Record<string, unknown> = {};
      for (const field of fields) {
        if (!field.hidden) value[field.name] = field.codec.decode(view, offset + field.offset);
      }
      return value as StructValue<M>;
    },
  };
}

/**
 * The value of a per-CPU map as user space sees it: an element for each possible CPU, each rounded up to eight bytes
 * (Documentation/bpf/map_array.rst).
 */
export function perCpu<T>(codec: Codec<T>, cpus: number = possibleCpus()): Codec<T[]> {
  const stride = roundUp(codec.size, 8);
  return {
    name: codec.name,
    size: stride * cpus,
    align: 8,
    fields: codec.fields,
    elementSize: codec.size,
    encode(values, view, offset) {
      for (let cpu = 0; cpu < cpus; cpu++) codec.encode(values[cpu]!, view, offset + cpu * stride);
    },
    decode: (view, offset) =>
      Array.from({ length: cpus }, (_, cpu) => codec.decode(view, offset + cpu * stride)),
  };
}

/** How many CPUs this machine may ever have; per-CPU values have an element for each. */
export function possibleCpus(
  ranges: string = Deno.readTextFileSync("/sys/devices/system/cpu/possible"),
): number {
  let count = 0;
  for (const range of ranges.trim().split(",")) { // "0-3,8"
    const [first = 0, last = first] = range.split("-").map(Number);
    count += last - first + 1;
  }
  return count;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** The value of a struct all of whose bytes are zero. */
export function zero<T>(codec: Codec<T>): T {
  return codec.decode(new DataView(new ArrayBuffer(codec.size)), 0);
}

/** A map of bpf/lib. */
export interface MapDescriptor<K, V, P extends boolean = boolean> {
  readonly name: string;
  /** MAP_TYPE */
  readonly type: number;
  readonly key: Codec<K>;
  /** Of a per-CPU map the element of one CPU. */
  readonly value: Codec<V>;
  readonly perCpu: P;
  /** Differs when the layout of keys or values does. */
  readonly fingerprint: string;
}

/** Describes a map that is not per CPU. */
export function map<K, V>(
  name: string,
  type: number,
  key: Codec<K>,
  value: Codec<V>,
  fingerprint: string,
) {
  return { name, type, key, value, perCpu: false, fingerprint } satisfies MapDescriptor<K, V>;
}

/** Describes a map with a value for each CPU. */
export function perCpuMap<K, V>(
  name: string,
  type: number,
  key: Codec<K>,
  value: Codec<V>,
  fingerprint: string,
) {
  return { name, type, key, value, perCpu: true, fingerprint } satisfies MapDescriptor<K, V>;
}
