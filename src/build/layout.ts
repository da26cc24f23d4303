/**
 * TypeScript of what programs and user space share, out of the BTF of bpf/layout.c: src/abi/enums.ts has the enums,
 * src/bpf/layout.ts codecs of the structs and descriptors of the maps. Docstrings are the comments of the C headers.
 *
 * Both files are checked in. `deno task layouts` writes them; the build and a test refuse to go on with others.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CField, type CType, type ObjectTypes, parseBtf } from "./btf.ts";
import { artifacts, compile } from "./objects.ts";
import { BuildError, root } from "./steps.ts";

const HEADERS = [
  ...["types.h", "hostlb_types.h", "reasons.h", "maps.h", "maps_hostlb.h", "session_former.h"],
];
const ENUMS = "src/abi/enums.ts";
const LAYOUT = "src/bpf/layout.ts";

/** Codecs of src/bpf/codec.ts by the name of the type in C; with a size where the name does not imply it. */
const CODECS: Readonly<Record<string, string>> = {
  __u8: "u8",
  __u16: "u16",
  __u32: "u32",
  int: "u32",
  __u64: "u64",
  __be16: "be16",
  "addr_t 4": "ipv4",
  port_be: "port",
  ns_t: "ns",
  cookie_t: "cookie",
  mac_t: "mac",
};

/** What src/bpf/layout.ts may import. */
const IMPORTS = [
  ...["array", "be16", "bytes", "cookie", "ipv4", "mac", "map", "ns", "pad", "perCpuMap", "port"],
  ...["struct", "text", "u16", "u32", "u64", "u8", "type ValueOf"],
];

const ORIGIN =
  "// Made out of bpf/lib, comments too: change it there and run `deno task layouts`.\n";

/** Comments of C headers by what they belong to: `session`, `session.flags`, `SESSION_FIN_REPLY`, `map sessions`. */
function parseComments(header: string): Map<string, string> {
  const found = new Map<string, string>();
  const note = (name: string, ...comments: (string | undefined)[]) => {
    const text = comments.join(" ").replace(/\s+\*?\s*/g, " ").trim();
    if (text !== "") found.set(name, text);
  };
  const comment = String.raw`\/\*((?:(?!\*\/)[^])*)\*\/`;
  const blocks = new RegExp(
    String
      .raw`(?:${comment}\n)?(?:struct|enum) ?(\w*)[^;{}()\n]*\{(?: *${comment})?\n([^{}]*)\}([^;{}]*);`,
    "g",
  );
  const member = new RegExp(String.raw`(\w+)(?:\[\w+\])?(?: = [^,;]+)?[;,][ \t]*${comment}`, "g");
  for (const [, before, tag, after, body, variable] of header.matchAll(blocks)) {
    const map = /^ (\w+) SEC/.exec(variable!)?.[1];
    const name = tag || `map ${map}`;
    note(name, before, after);
    for (const [, field, text] of body!.matchAll(member)) {
      note(/^[A-Z]/.test(field!) ? field! : `${name}.${field}`, text);
    }
  }
  return found;
}

/** What the two files are made of. */
export interface Source {
  readonly types: ObjectTypes;
  /** The C headers, one after another. */
  readonly headers: string;
}

/** Both files by their paths. @throws {BuildError} when a type has no codec, or a struct a gap */
async function generate(): Promise<Map<string, string>> {
  const object = join(artifacts, "layout.o");
  await compile("bpf/layout.c", object, "-w"); // the programs get the warnings
  const source = {
    types: parseBtf(new Uint8Array(readFileSync(join(root, object)))),
    headers: HEADERS.map((name) => readFileSync(join(root, "bpf/lib", name), "utf8")).join("\n"),
  };
  return new Map([
    [ENUMS, await format(enumsSource(source))],
    [LAYOUT, await format(layoutSource(source))],
  ]);
}

/** @throws {BuildError} when one of the two files is not what the C sources give */
export async function checkLayouts(): Promise<void> {
  for (const [path, text] of await generate()) {
    const file = join(root, path);
    if (!existsSync(file) || readFileSync(file, "utf8") !== text) {
      throw new BuildError(`${path} is not what bpf/lib gives; run: deno task layouts`);
    }
  }
}

/** What headers declare, in their order. @throws {BuildError} when the object has no such type */
function declared<T>(types: ReadonlyMap<string, T>, pattern: RegExp, headers: string) {
  return [...headers.matchAll(pattern)].map(([, name]) => {
    const type = types.get(name!);
    if (!type) throw new BuildError(`bpf/layout.c: refer to ${name}, which is not in its BTF`);
    return { name: name!, type };
  });
}

/** src/abi/enums.ts: every enum as an object, one that ends with `…_COUNT` as a list with its comments. */
export function enumsSource({ types, headers }: Source): string {
  const comments = parseComments(headers);
  const numbers = [...headers.matchAll(/^#define ([A-Z_]+) (\d+)$/gm)];
  const enums = declared(types.enums, /^enum (\w+)[^;()]*\{/gm, headers).map(
    ({ name: tag, type: members }) => {
      const list = members.at(-1)![0].endsWith("_COUNT");
      const [name, value] = list
        ? [`${tag}s`, `[\n${listMembers(tag, members, comments)}\n]`]
        : [tag, `{\n${objectMembers(members, comments)}\n}`];
      const comment = `\`enum ${tag}\`. ${comments.get(tag) ?? ""}`;
      return constant(name.toUpperCase(), `${value} as const`, comment);
    },
  );
  return [
    "/** Numbers and flags that programs and user space share: the enums of bpf/lib. */",
    ORIGIN,
    ...numbers.map(([, name, value]) => constant(name!, value!)),
    ...enums,
  ].join("\n");
}

type Members = readonly (readonly [name: string, value: number])[];

function objectMembers(members: Members, comments: ReadonlyMap<string, string>): string {
  const prefix = commonPrefix(members.map(([name]) => name)).length;
  return members.map(([name, value]) =>
    `${docstring(comments.get(name))}${name.slice(prefix)}: ${value},`
  ).join("\n");
}

function listMembers(tag: string, members: Members, comments: ReadonlyMap<string, string>): string {
  return members.slice(0, -1).map(([name, value], i) => {
    const help = comments.get(name);
    if (value !== i || help === undefined) {
      throw new BuildError(
        `enum ${tag}: ${name} has ${help ? "not the next number" : "no comment"}`,
      );
    }
    return `{ name: "${name.toLowerCase()}", help: ${JSON.stringify(help)} },`;
  }).join("\n");
}

/** src/bpf/layout.ts: codecs of the structs, descriptors of the maps. */
export function layoutSource({ types, headers }: Source): string {
  const comments = parseComments(headers);
  const structs = declared(types.structs, /^struct (\w+) \{/gm, headers).map(({ name, type }) => {
    const members = structMembers(name, type, comments);
    const codec = constant(camel(name), `struct("${name}", {\n${members}\n})`, comments.get(name));
    return `${codec}export type ${pascal(name)} = ValueOf<typeof ${camel(name)}>;\n`;
  });
  const maps = declared(types.maps, /^\} (\w+) SEC/gm, headers).map(
    ({ name, type: { key, value } }) => {
      const apart = /^(hostlb|conversion)/.exec(name)?.[0];
      const group = !key ? "queues" : apart ? `${apart}Maps` : "maps";
      const kind = new RegExp(`BPF_MAP_TYPE_(\\w+)[^}]*} ${name} SEC`).exec(headers)![1]!;
      const print = JSON.stringify(fingerprint(types, name));
      const entry = key && value
        ? `${kind.includes("PERCPU") ? "perCpuMap" : "map"}` +
          `("${name}", MAP_TYPE.${kind}, ${codecOf(key)}, ${codecOf(value)}, ${print})`
        : `{ name: "${name}", fingerprint: ${print} }`;
      return { group, text: `${docstring(comments.get(`map ${name}`))}${name}: ${entry},` };
    },
  );
  const group = (wanted: string, comment: string) => {
    const entries = maps.filter(({ group }) => group === wanted).map(({ text }) => text);
    return constant(wanted, `{\n${entries.join("\n")}\n} as const`, comment);
  };
  const body = [
    ...structs,
    group("maps", "The maps that all programs of a node share."),
    "export type MapName = keyof typeof maps;\n",
    group("hostlbMaps", "Maps that only hostlb uses."),
    group("conversionMaps", "Of the transitional programs, while sessions are converted."),
    group("queues", "What is pinned as a map and has no keys: ring buffers and queues."),
  ].join("\n");
  const used = IMPORTS.filter((name) =>
    new RegExp(`[\\s(<]${name.replace("type ", "")}[,(<)]`).test(body)
  );
  return [
    "/**",
    " * Keys and values of the maps that programs and user space share. Members have their C names; addresses are texts and",
    " * ports numbers, whatever their byte order in the map.",
    " */",
    ORIGIN,
    `import { ${used.join(", ")} } from "./codec.ts";`,
    'import { MAP_TYPE } from "./syscall.ts";\n',
    'export * from "../abi/enums.ts";\n',
    body,
  ].join("\n");
}

function constant(name: string, value: string, comment?: string): string {
  return `${docstring(comment)}export const ${name} = ${value};\n`;
}

/** The members of a struct. struct() of codec.ts puts each at its natural alignment: there must be no gaps. */
function structMembers(
  struct: string,
  { size, fields }: { size: number; fields: readonly CField[] },
  comments: ReadonlyMap<string, string>,
): string {
  let end = 0;
  const members = fields.map(({ name, offset, type }) => {
    if (offset !== end) throw new BuildError(`struct ${struct}: fill the gap before ${name}`);
    end += type.size;
    const codec = name.startsWith("reserved") ? `pad(${codecOf(type)})` : codecOf(type);
    const values = type.kind === "enum" ? type.name.replace("enum ", "").toUpperCase() : "";
    const comment = [values, comments.get(`${struct}.${name}`)].filter(Boolean).join("; ");
    return `${docstring(comment)}${name}${codec === name ? "" : `: ${codec}`},`;
  });
  if (end !== size) throw new BuildError(`struct ${struct}: fill the gap at its end`);
  return members.join("\n");
}

/**
 * Eight hexadecimal digits that change when the layout of a map's keys or values does: names, offsets and types of all
 * fields, as in C.
 */
export function fingerprint(types: ObjectTypes, map: string): string {
  const describe = ({ name, size, length }: CType): string => {
    const list = length === undefined ? "" : `[${length}]`;
    const fields = types.structs.get(name.replace("struct ", ""))?.fields ?? [];
    const members = fields.map((field) => `${field.name}@${field.offset}:${describe(field.type)}`);
    return `${name}${list}#${size}${members.length > 0 ? `{${members.join(";")}}` : ""}`;
  };
  const { key, value = record(types, map) } = types.maps.get(map)!;
  const text = [key, value].map((type) => (type ? describe(type) : "none")).join(" -> ");
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}

/** What a ring buffer holds: `monitor_events` has `struct monitor_event`. */
function record(types: ObjectTypes, map: string): CType | undefined {
  const name = map.replace(/s$/, "");
  const found = types.structs.get(name);
  return found && { name: `struct ${name}`, kind: "struct", size: found.size };
}

function codecOf({ name, kind, size, length }: CType): string {
  if (name === "char" && length !== undefined) return `text(${length})`;
  if (name === "__u8" && length !== undefined) return `bytes(${length})`;
  if (length !== undefined) {
    const element = { name, kind: "other", size: size / length } as const;
    return `array(${codecOf(element)}, ${length})`;
  }
  if (name.startsWith("struct ")) return camel(name.slice(7));
  if (kind === "enum") return `u${8 * size}`;
  const found = CODECS[name] ?? CODECS[`${name} ${size}`];
  if (found === undefined) throw new BuildError(`no codec for the type ${name} of ${size} bytes`);
  return found;
}

/** Up to and including an underscore. */
function commonPrefix([first = "", ...others]: readonly string[]): string {
  let prefix = first.slice(0, first.lastIndexOf("_") + 1);
  while (!others.every((name) => name.startsWith(prefix))) {
    prefix = prefix.slice(0, prefix.lastIndexOf("_", prefix.length - 2) + 1);
  }
  return prefix;
}

function camel(name: string): string {
  return name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
}
function pascal(name: string): string {
  return camel(`_${name}`);
}

/** Empty without text; lines of at most 100 columns when the docstring stands below others. */
function docstring(text = ""): string {
  const clean = text.trim();
  if (clean === "") return "";
  if (clean.length < 88) return `/** ${clean} */\n`;
  return `/**\n${clean.replace(/(.{1,90})(?: |$)/g, " * $1\n")} */\n`;
}

async function format(source: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--quiet", "--ext=ts", "-"],
    cwd: root,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(source));
  await writer.close();
  const { success, stdout } = await child.output();
  if (!success) throw new BuildError(`deno fmt refuses what became of the types:\n${source}`);
  return new TextDecoder().decode(stdout);
}

if (import.meta.main) {
  for (const [path, text] of await generate()) writeFileSync(join(root, path), text);
}
