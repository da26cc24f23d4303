/**
 * BTF, the type information in an eBPF object (Documentation/bpf/btf.rst): the structs, enums and maps of its C source with
 * the names of their types.
 */

/** A type as a C declaration has it. Sizes in bytes. */
export interface CType {
  /** As in C: `__u32`, `addr_t`, `enum session_state`, `struct hostlb_flow`; of an array its element's. */
  readonly name: string;
  readonly kind: "integer" | "enum" | "struct" | "array" | "other";
  readonly size: number;
  /** Elements of an array that is no typedef. */
  readonly length?: number;
}

/** A member of a struct. Offset in bytes. */
export interface CField {
  readonly name: string;
  readonly offset: number;
  readonly type: CType;
}

/** Types of the source in an object's BTF, each by its name in C. */
export interface ObjectTypes {
  readonly structs: ReadonlyMap<string, { size: number; fields: readonly CField[] }>;
  /** Members with their values, in order. */
  readonly enums: ReadonlyMap<string, readonly (readonly [name: string, value: number])[]>;
  /** Ring buffers and queues have no key, ring buffers no value. */
  readonly maps: ReadonlyMap<string, { key?: CType; value?: CType }>;
}

const KIND = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  DECL_TAG: 17,
  ENUM64: 19,
} as const;

/** Bytes of one of the members that follow the common header, or of all that follows it where there is no list. */
const MEMBER_SIZE: Record<number, number> = {
  [KIND.STRUCT]: 12,
  [KIND.UNION]: 12,
  [KIND.DATASEC]: 12,
  [KIND.ENUM64]: 12,
  [KIND.ENUM]: 8,
  [KIND.FUNC_PROTO]: 8,
};
const EXTRA_SIZE: Record<number, number> = {
  [KIND.INT]: 4,
  [KIND.VAR]: 4,
  [KIND.DECL_TAG]: 4,
  [KIND.ARRAY]: 12,
};

interface Type {
  readonly kind: number;
  readonly name: string;
  /** Size in bytes or id of another type, by kind. */
  readonly sizeOrType: number;
  /** Where the data after the common header begins. */
  readonly extra: number;
  /** Number of members. */
  readonly count: number;
}

/**
 * The types of an object file.
 * @throws {TypeError} when it is no 64-bit ELF file or has no BTF
 */
export function parseBtf(elf: Uint8Array<ArrayBuffer>): ObjectTypes {
  const section = elfSection(elf, ".BTF");
  if (!section) throw new TypeError("the object has no BTF; was it compiled without -g?");
  return new Btf(section).describe();
}

/** The bytes of a section of a 64-bit little or big endian ELF file. */
function elfSection(elf: Uint8Array<ArrayBuffer>, wanted: string): DataView | undefined {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  if (elf.length < 64 || view.getUint32(0) !== 0x7f454c46 || elf[4] !== 2) {
    throw new TypeError("not a 64-bit ELF file");
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
  readonly #types: Type[] = [{ kind: 0, name: "void", sizeOrType: 0, extra: 0, count: 0 }];

  constructor(view: DataView) {
    this.#view = view;
    this.#little = view.getUint16(0, true) === 0xeb9f;
    const header = this.#u32(4);
    this.#strings = header + this.#u32(16);
    const start = header + this.#u32(8);
    for (let at = start; at < start + this.#u32(12);) {
      const info = this.#u32(at + 4);
      const [kind, count, extra] = [(info >>> 24) & 0x1f, info & 0xffff, at + 12];
      this.#types.push({ name: this.#text(at), kind, count, sizeOrType: this.#u32(at + 8), extra });
      at = extra + count * (MEMBER_SIZE[kind] ?? 0) + (EXTRA_SIZE[kind] ?? 0);
    }
  }

  #u32(offset: number): number {
    return this.#view.getUint32(offset, this.#little);
  }

  /** The text that the reference at `offset` points to. */
  #text(offset: number): string {
    return textAt(this.#view, this.#strings + this.#u32(offset));
  }

  describe(): ObjectTypes {
    const named = (kind: number) =>
      this.#types.filter((type) => type.kind === kind && type.name !== "");
    const maps = named(KIND.DATASEC).find(({ name }) => name === ".maps");
    return {
      structs: new Map(
        named(KIND.STRUCT).map((type) => {
          const fields = this.#members(type).map(({ name, type, at }) => {
            return { name, offset: at / 8, type: this.#describe(type) };
          });
          return [type.name, { size: type.sizeOrType, fields }];
        }),
      ),
      enums: new Map(
        named(KIND.ENUM).map((type) => {
          const at = (i: number) => type.extra + 8 * i;
          const member = (_: unknown, i: number) =>
            [this.#text(at(i)), this.#u32(at(i) + 4)] as const;
          return [type.name, Array.from({ length: type.count }, member)];
        }),
      ),
      maps: new Map(maps ? this.#sectionVariables(maps).map((map) => this.#map(map)) : []),
    };
  }

  /** Members of a struct; `at` in bits. */
  #members({ extra, count }: Type): { name: string; type: number; at: number }[] {
    return Array.from({ length: count }, (_, i) => {
      const member = extra + 12 * i;
      return {
        name: this.#text(member),
        type: this.#u32(member + 4),
        at: this.#u32(member + 8),
      };
    });
  }

  #sectionVariables({ extra, count }: Type): Type[] {
    return Array.from({ length: count }, (_, i) => this.#types[this.#u32(extra + 12 * i)]!);
  }

  /** A variable of the section `.maps`: a struct whose members are pointers to the types. */
  #map(variable: Type): [string, { key?: CType; value?: CType }] {
    const members = new Map(
      this.#members(this.#types[variable.sizeOrType]!).map(({ name, type }) => {
        return [name, this.#types[type]!.sizeOrType] as const;
      }),
    );
    const [key, value] = ["key", "value"].map((name) => members.get(name));
    return [variable.name, {
      key: key === undefined ? undefined : this.#describe(key),
      value: value === undefined ? undefined : this.#describe(value),
    }];
  }

  #describe(id: number): CType {
    const { kind, name, sizeOrType: size, extra } = this.#types[id]!;
    switch (kind) {
      case KIND.INT:
        return { name, kind: "integer", size };
      case KIND.STRUCT:
        return { name: `struct ${name}`, kind: "struct", size };
      case KIND.ENUM:
        return { name: `enum ${name}`, kind: "enum", size };
      case KIND.TYPEDEF: {
        const { kind, size: bytes } = this.#describe(size);
        return { name, kind, size: bytes };
      }
      case KIND.VOLATILE:
      case KIND.CONST:
        return this.#describe(size);
      case KIND.ARRAY: {
        const element = this.#describe(this.#u32(extra));
        const length = this.#u32(extra + 8);
        return { name: element.name, kind: "array", size: element.size * length, length };
      }
      default:
        return { name: name || "?", kind: "other", size: kind === KIND.PTR ? 8 : size };
    }
  }
}
