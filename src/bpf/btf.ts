/**
 * BTF, the type information in an eBPF object (Documentation/bpf/btf.rst): enough of it to compare the structs that the
 * compiler laid out with those that TypeScript reads and writes.
 */
import type { Field, StructCodec } from "./codec.ts";

/** A struct as the compiler laid it out. Size in bytes. */
export interface BtfStruct {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly Field[];
}

/** A struct of the object differs from its codec. */
export class LayoutError extends Error {
  override readonly name = "LayoutError";
}

const KIND = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  DECL_TAG: 17,
  ENUM64: 19,
} as const;

interface Type {
  readonly kind: number;
  readonly name: string;
  /** Size in bytes or id of another type, by kind. */
  readonly sizeOrType: number;
  /** Where the data after the common header begins. */
  readonly extra: number;
  /** Number of members. */
  readonly count: number;
  /** kind_flag: members may be bit fields. */
  readonly bitfields: boolean;
}

/**
 * The structs of an object file, by name.
 * @throws {LayoutError} when it is no ELF file or has no BTF
 */
export function parseBtf(elf: Uint8Array<ArrayBuffer>): Map<string, BtfStruct> {
  return new Btf(btfSection(elf)).structs();
}

/**
 * The members of an enum of an object file, with their values.
 * @throws {LayoutError} when it is no ELF file, or has no BTF or no such enum
 */
export function parseEnum(elf: Uint8Array<ArrayBuffer>, name: string): Record<string, number> {
  const found = new Btf(btfSection(elf)).enum(name);
  if (!found) throw new LayoutError(`the object has no enum ${name}`);
  return found;
}

function btfSection(elf: Uint8Array<ArrayBuffer>): DataView {
  const section = elfSection(elf, ".BTF");
  if (!section) throw new LayoutError("the object has no BTF; was it compiled without -g?");
  return section;
}

/** The bytes of a section of a 64-bit little or big endian ELF file. */
function elfSection(elf: Uint8Array<ArrayBuffer>, wanted: string): DataView | undefined {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  if (elf.length < 64 || view.getUint32(0) !== 0x7f454c46 || elf[4] !== 2) {
    throw new LayoutError("not a 64-bit ELF file");
  }
  const little = elf[5] === 1;
  const headers = Number(view.getBigUint64(40, little));
  const headerSize = view.getUint16(58, little);
  const section = (index: number) => {
    const at = headers + index * headerSize;
    return {
      name: view.getUint32(at, little),
      offset: Number(view.getBigUint64(at + 24, little)),
      size: Number(view.getBigUint64(at + 32, little)),
    };
  };
  const names = section(view.getUint16(62, little));
  for (let index = 0; index < view.getUint16(60, little); index++) {
    const { name, offset, size } = section(index);
    if (textAt(view, names.offset + name) === wanted) {
      return new DataView(elf.buffer, elf.byteOffset + offset, size);
    }
  }
  return undefined;
}

function textAt(view: DataView, offset: number): string {
  let end = offset;
  while (view.getUint8(end) !== 0) end++;
  return new TextDecoder().decode(
    new Uint8Array(view.buffer, view.byteOffset + offset, end - offset),
  );
}

class Btf {
  readonly #view: DataView;
  readonly #little: boolean;
  readonly #strings: number;
  /** Index is the id of the type; 0 is void. */
  readonly #types: Type[] = [];

  constructor(view: DataView) {
    this.#view = view;
    this.#little = view.getUint16(0, true) === 0xeb9f;
    const header = this.#u32(4);
    this.#strings = header + this.#u32(16);
    this.#readTypes(header + this.#u32(8), this.#u32(12));
  }

  #u32(offset: number): number {
    return this.#view.getUint32(offset, this.#little);
  }

  #readTypes(start: number, length: number): void {
    const nothing = { kind: 0, name: "void", sizeOrType: 0, extra: 0, count: 0, bitfields: false };
    this.#types.push(nothing);
    for (let at = start; at < start + length;) {
      const info = this.#u32(at + 4);
      const type: Type = {
        name: textAt(this.#view, this.#strings + this.#u32(at)),
        kind: (info >>> 24) & 0x1f,
        count: info & 0xffff,
        bitfields: info >>> 31 === 1,
        sizeOrType: this.#u32(at + 8),
        extra: at + 12,
      };
      this.#types.push(type);
      at = type.extra + extraSize(type);
    }
  }

  structs(): Map<string, BtfStruct> {
    const found = new Map<string, BtfStruct>();
    for (const type of this.#types) {
      if (type.kind !== KIND.STRUCT || type.name === "") continue;
      const fields = Array.from({ length: type.count }, (_, i) => this.#member(type, i));
      found.set(type.name, { name: type.name, size: type.sizeOrType, fields });
    }
    return found;
  }

  enum(name: string): Record<string, number> | undefined {
    const type = this.#types.find(({ kind, name: other }) => kind === KIND.ENUM && other === name);
    if (!type) return undefined;
    const members = Array.from({ length: type.count }, (_, i) => {
      const at = type.extra + 8 * i;
      return [textAt(this.#view, this.#strings + this.#u32(at)), this.#u32(at + 4)] as const;
    });
    return Object.fromEntries(members);
  }

  #member(type: Type, index: number): Field {
    const at = type.extra + 12 * index;
    const position = this.#u32(at + 8);
    // Offsets are in bits; with kind_flag their upper byte is the width of a bit field.
    const bits = type.bitfields ? position & 0xffffff : position;
    const name = textAt(this.#view, this.#strings + this.#u32(at));
    return { name, offset: bits / 8, size: this.#size(this.#u32(at + 4)) };
  }

  /** Bytes of a type; qualifiers and typedefs are looked through. */
  #size(id: number): number {
    const type = this.#types[id];
    if (!type) return 0;
    switch (type.kind) {
      case KIND.INT:
      case KIND.STRUCT:
      case KIND.UNION:
      case KIND.ENUM:
      case KIND.ENUM64:
        return type.sizeOrType;
      case KIND.PTR:
        return 8;
      case KIND.ARRAY:
        return this.#size(this.#u32(type.extra)) * this.#u32(type.extra + 8);
      default:
        return type.sizeOrType === id ? 0 : this.#size(type.sizeOrType);
    }
  }
}

/** Bytes that follow the common header of a type. */
function extraSize({ kind, count }: Type): number {
  switch (kind) {
    case KIND.INT:
    case KIND.VAR:
    case KIND.DECL_TAG:
      return 4;
    case KIND.ARRAY:
      return 12;
    case KIND.STRUCT:
    case KIND.UNION:
    case KIND.DATASEC:
    case KIND.ENUM64:
      return 12 * count;
    case KIND.ENUM:
    case KIND.FUNC_PROTO:
      return 8 * count;
    default:
      return 0;
  }
}

/**
 * Compares structs of an object with codecs. Structs that the object does not use are passed over: the compiler leaves
 * them out.
 * @throws {LayoutError} naming every struct and field that differs, with expected and found place
 */
export function checkLayout(
  found: ReadonlyMap<string, BtfStruct>,
  expected: readonly StructCodec<unknown>[],
): void {
  const problems = expected.flatMap((codec) => {
    const struct = found.get(codec.name);
    return struct ? compare(struct, codec) : [];
  });
  if (problems.length > 0) {
    throw new LayoutError(
      `the eBPF object has another layout than this program expects:\n  ${problems.join("\n  ")}`,
    );
  }
}

function compare(found: BtfStruct, expected: StructCodec<unknown>): string[] {
  const problems: string[] = [];
  const fields = new Map(found.fields.map((field) => [field.name, field]));
  for (const { name, offset, size } of expected.fields) {
    const other = fields.get(name);
    fields.delete(name);
    const wanted = `expected at offset ${offset}, size ${size}`;
    if (!other) problems.push(`struct ${found.name}: field ${name} is missing; ${wanted}`);
    else if (other.offset !== offset || other.size !== size) {
      const actual = `found at offset ${other.offset}, size ${other.size}`;
      problems.push(`struct ${found.name}: field ${name} ${wanted}, ${actual}`);
    }
  }
  for (const { name, offset } of fields.values()) {
    problems.push(`struct ${found.name}: field ${name} at offset ${offset} is not expected`);
  }
  if (found.size !== expected.size) {
    problems.push(`struct ${found.name}: expected size ${expected.size}, found ${found.size}`);
  }
  return problems;
}
