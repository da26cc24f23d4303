/**
 * Loads an eBPF object: makes its maps, or takes those that are pinned, and has the kernel verify its programs. It pins
 * nothing, and a load that fails leaves nothing behind: no map, no descriptor.
 */
import { address, closeFd, cstring, dupFd, errnoName, errnoText } from "../linux/libc.ts";
import { isLinux } from "../linux/release.ts";
import type { MapDescriptor } from "./codec.ts";
import { csumTold } from "./csum_told.ts";
import { lastErrno, type Libbpf, libbpf, takeLog, textAt } from "./libbpf.ts";
import { type BpfMap, MapMismatchError, openMap } from "./map.ts";
import { mapInfo, tryObjGet } from "./syscall.ts";

/** Error numbers of libbpf's own (enum libbpf_errno) that loading an object can give. */
const LIBBPF_ERRORS: Record<number, [code: string, text: string]> = {
  4000: ["LIBELF", "libelf failed"],
  4001: ["FORMAT", "not a valid object"],
  4003: ["ENDIAN", "other byte order"],
  4004: ["INTERNAL", "internal error of libbpf"],
  4005: ["RELOC", "relocation failed"],
  4006: ["VERIFY", "refused by the verifier"],
  4007: ["PROG2BIG", "program too big"],
};

/** The kernel or libbpf refused an object. */
export class LoadError extends Error {
  override readonly name = "LoadError";
  /** Symbolic name of the error, e.g. `EACCES`, or of libbpf's own, e.g. `FORMAT`. */
  readonly code: string;

  /**
   * @param errno positive error number
   * @param log what libbpf said, and for a refused program the verifier's log
   */
  constructor(object: string, step: string, readonly errno: number, readonly log: string) {
    const [code, text] = LIBBPF_ERRORS[errno] ?? [errnoName(errno), errnoText(errno)];
    super(`${object}: ${step}: ${code}: ${text}${log ? `\n${log.trimEnd()}` : ""}`);
    this.code = code;
  }
}

/** How to load an object. */
export interface LoadOptions {
  /** Names the object in errors. */
  name?: string;
  /** Directory on a bpffs: a map pinned there under its name is used. */
  pinDir?: string;
  /** Capacities that differ from the object's. */
  maxEntries?: Readonly<Record<string, number>>;
  /** Takes pinned maps with the capacity they have, where `maxEntries` names none. */
  keepCapacities?: boolean;
  /** Maps to create although `pinDir` has one of that name. */
  fresh?: ReadonlySet<string>;
  /** Descriptors of another object's maps: used, as they are, for maps of the same name. They stay the caller's. */
  share?: ReadonlyMap<string, number>;
  /** The same, whatever type, sizes and capacity they have. */
  substitute?: ReadonlyMap<string, number>;
  /** Constants of 32 bits that are alone in their section, e.g. `.rodata.former`. */
  constants?: Readonly<Record<string, number>>;
  /** Receives libbpf's messages of a successful load. */
  log?: (text: string) => void;
}

/** A loaded object; `close()` closes every descriptor, what is pinned or attached lives on. */
export class LoadedObject {
  constructor(
    /** Descriptors of the programs, by their C names. */
    readonly programs: ReadonlyMap<string, number>,
    /** Descriptors of the maps, by their C names. */
    readonly maps: ReadonlyMap<string, number>,
  ) {}

  /** Opens one of its maps with types; the map has a descriptor of its own. */
  map<K, V, P extends boolean>(
    descriptor: MapDescriptor<K, V, P>,
  ): BpfMap<K, P extends true ? V[] : V> {
    const fd = this.maps.get(descriptor.name);
    if (fd === undefined) throw new TypeError(`the object has no map ${descriptor.name}`);
    return openMap(dupFd(fd), descriptor);
  }

  /** Descriptor of a program. */
  program(name: string): number {
    const fd = this.programs.get(name);
    if (fd === undefined) throw new TypeError(`the object has no program ${name}`);
    return fd;
  }

  #closed = false;
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const fd of [...this.programs.values(), ...this.maps.values()]) closeFd(fd);
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Loads an object file.
 * @throws {LoadError} with the verifier's log
 * @throws {MapMismatchError} when a pinned map has another type, size or capacity
 */
export function loadObject(
  bytes: Uint8Array<ArrayBuffer>,
  options: LoadOptions = {},
): LoadedObject {
  const name = options.name ?? "object";
  const lib = libbpf();
  takeLog();
  const object = lib.bpf_object__open_mem(bytes, BigInt(bytes.length), openOptions(name));
  if (object === null) throw new LoadError(name, "open", lastErrno(), takeLog());
  try {
    const maps = each((previous) => lib.bpf_object__next_map(object, previous));
    const names = maps.map((map) => textAt(lib.bpf_map__name(map))); // a map that is reused brings its own name
    prepareMaps(lib, maps, name, options);
    const error = lib.bpf_object__load(object);
    if (error < 0) throw new LoadError(name, "load", -error, takeLog());
    const text = takeLog();
    if (text) options.log?.(text.trimEnd());
    const programs = each((previous) => lib.bpf_object__next_program(object, previous));
    return keepAll(
      programs.map((p) => [textAt(lib.bpf_program__name(p)), lib.bpf_program__fd(p)]),
      maps.map((map, i) => [names[i]!, lib.bpf_map__fd(map)]),
    );
  } finally {
    lib.bpf_object__close(object);
  }
}

type NamedFd = readonly [name: string, fd: number];

/** Duplicates what libbpf will close with the object: all of it, or nothing. */
function keepAll(programs: readonly NamedFd[], maps: readonly NamedFd[]): LoadedObject {
  const kept = [new Map<string, number>(), new Map<string, number>()] as const;
  const loaded = new LoadedObject(...kept);
  try {
    for (const [i, list] of [programs, maps].entries()) {
      for (const [name, fd] of list) kept[i]!.set(name, dupFd(fd));
    }
    return loaded;
  } catch (error) {
    loaded.close();
    throw error;
  }
}

/** Every element of one of libbpf's lists. */
function each(next: (previous: Deno.PointerValue) => Deno.PointerValue): Deno.PointerValue[] {
  const found: Deno.PointerValue[] = [];
  for (let at = next(null); at !== null; at = next(at)) found.push(at);
  return found;
}

/** Keeps the name alive while libbpf reads it. */
let objectName: Uint8Array<ArrayBuffer>;

/** struct bpf_object_open_opts, up to its member object_name. */
function openOptions(name: string): Uint8Array<ArrayBuffer> {
  objectName = cstring(name);
  return new Uint8Array(new BigUint64Array([16n, BigInt(address(objectName))]).buffer);
}

/** Constants that follow from the kernel. */
const KERNEL_CONSTANTS: Readonly<Record<string, () => boolean>> = {
  ".rodata.peer": () => isLinux(5, 13),
  ".rodata.mtu": () => !isLinux(5, 12),
  ".rodata.csum": csumTold,
};

/** Sets capacities and constants, and takes over maps that are there. */
function prepareMaps(
  lib: Libbpf,
  maps: Deno.PointerValue[],
  object: string,
  options: LoadOptions,
): void {
  const { pinDir, maxEntries = {}, keepCapacities, fresh, share, substitute, constants } = options;
  const names = new Set(maps.map((map) => textAt(lib.bpf_map__name(map))));
  const unknown = Object.keys(maxEntries).find((name) => !names.has(name));
  if (unknown !== undefined) throw new TypeError(`${object} has no map ${unknown}`);
  for (const map of maps) {
    const name = textAt(lib.bpf_map__name(map));
    const size = maxEntries[name];
    if (size !== undefined) {
      const error = lib.bpf_map__set_max_entries(map, size);
      if (error < 0) throw new LoadError(object, `size of map ${name}`, -error, takeLog());
    }
    if (lib.bpf_map__is_internal(map)) {
      const value = constants?.[name] ?? KERNEL_CONSTANTS[name]?.();
      if (value !== undefined) {
        setConstant(lib, map, Number(value), `${object}: constant in ${name}`);
      }
      continue;
    }
    const shared = substitute?.get(name) ?? share?.get(name);
    if (shared !== undefined) {
      const what = `map ${name} of another object`;
      lib.bpf_map__set_max_entries(map, mapInfo(shared).maxEntries);
      if (!substitute?.has(name)) checkReusable(lib, map, shared, what);
      useMap(lib, map, shared, object, what);
      continue;
    }
    if (pinDir === undefined || fresh?.has(name)) continue;
    const fd = tryObjGet(`${pinDir}/${name}`);
    if (fd === undefined) continue;
    try {
      if (keepCapacities && size === undefined) {
        lib.bpf_map__set_max_entries(map, mapInfo(fd).maxEntries);
      }
      const what = `map pinned at ${pinDir}/${name}`;
      checkReusable(lib, map, fd, what);
      useMap(lib, map, fd, object, what);
    } finally {
      closeFd(fd);
    }
  }
}

function setConstant(lib: Libbpf, map: Deno.PointerValue, value: number, what: string): void {
  const bytes = new Uint8Array(new Uint32Array([value]).buffer);
  const error = lib.bpf_map__set_initial_value(map, bytes, BigInt(bytes.length));
  if (error < 0) throw new LoadError(what, "set", -error, takeLog());
}

function useMap(
  lib: Libbpf,
  map: Deno.PointerValue,
  fd: number,
  object: string,
  what: string,
): void {
  const error = lib.bpf_map__reuse_fd(map, fd); // it takes a duplicate
  if (error < 0) throw new LoadError(object, `use of the ${what}`, -error, takeLog());
}

function checkReusable(lib: Libbpf, map: Deno.PointerValue, fd: number, what: string): void {
  const info = mapInfo(fd);
  const compare: [what: string, pinned: number, wanted: number][] = [
    ["type", info.type, lib.bpf_map__type(map)],
    ["size of keys", info.keySize, lib.bpf_map__key_size(map)],
    ["size of values", info.valueSize, lib.bpf_map__value_size(map)],
    ["capacity", info.maxEntries, lib.bpf_map__max_entries(map)],
    ["flags", info.flags, lib.bpf_map__map_flags(map)],
  ];
  const wrong = compare.filter(([, pinned, wanted]) => pinned !== wanted)
    .map(([what, pinned, wanted]) => `${what}: ${pinned}, expected ${wanted}`);
  if (wrong.length > 0) {
    throw new MapMismatchError(`the ${what} does not fit; ${wrong.join("; ")}`);
  }
}
