/**
 * bpf(2), command by command (Documentation/userspace-api/ebpf/syscall.rst; struct bpf_attr in include/uapi/linux/bpf.h).
 * All but the loading of objects: a CNI call never opens libbpf.
 */
import { LITTLE } from "./codec.ts";
import { address, closeFd, cstring, rawSyscall, SYS, SyscallError } from "../linux/libc.ts";

/** Commands of bpf(2) (enum bpf_cmd). */
export const CMD = {
  MAP_CREATE: 0,
  MAP_LOOKUP_ELEM: 1,
  MAP_UPDATE_ELEM: 2,
  MAP_DELETE_ELEM: 3,
  MAP_GET_NEXT_KEY: 4,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_TEST_RUN: 10,
  PROG_GET_FD_BY_ID: 13,
  MAP_GET_FD_BY_ID: 14,
  OBJ_GET_INFO_BY_FD: 15,
  PROG_QUERY: 16,
  MAP_LOOKUP_AND_DELETE_ELEM: 21,
  MAP_LOOKUP_BATCH: 24,
  MAP_LOOKUP_AND_DELETE_BATCH: 25,
  MAP_UPDATE_BATCH: 26,
  MAP_DELETE_BATCH: 27,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_GET_FD_BY_ID: 30,
  LINK_GET_NEXT_ID: 31,
  LINK_DETACH: 34,
} as const;

/** Map types (enum bpf_map_type) that pcnk knows. */
export const MAP_TYPE = {
  HASH: 1,
  ARRAY: 2,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  LRU_HASH: 9,
  LRU_PERCPU_HASH: 10,
  LPM_TRIE: 11,
  SK_STORAGE: 24,
  RINGBUF: 27,
} as const;

/** Flags of an update (BPF_ANY, BPF_NOEXIST, BPF_EXIST). */
export const UPDATE = { ANY: 0, NOEXIST: 1, EXIST: 2 } as const;

/** Attach types (enum bpf_attach_type) that pcnk knows. */
export const ATTACH_TYPE = { TCX_INGRESS: 46, TCX_EGRESS: 47 } as const;

/** struct bpf_attr, used again for every call that is not a hot path. */
const attr = new Uint8Array(144);
const view = new DataView(attr.buffer);
let attrAddress = 0;

/** A buffer or a number to be written into struct bpf_attr: [offset, size in bytes, value]. */
type Field = readonly [offset: number, size: 4 | 8, value: number | Uint8Array<ArrayBuffer>];

/** Buffers of the current call; their addresses alone would not keep them alive. */
let _held: readonly Field[] = [];

function write(fields: readonly Field[]): void {
  attr.fill(0);
  for (const [offset, size, value] of fields) {
    const number = typeof value === "number" ? value : address(value);
    if (size === 4) view.setUint32(offset, number, LITTLE);
    else setU64(view, offset, number);
  }
}

/** Writes a safe integer, e.g. an address, as 64 bits in host byte order. */
export function setU64(target: DataView, offset: number, value: number): void {
  const high = Math.floor(value / 2 ** 32);
  target.setUint32(offset, LITTLE ? value >>> 0 : high, LITTLE);
  target.setUint32(offset + 4, LITTLE ? high : value >>> 0, LITTLE);
}

/** bpf(2) with fields of its attribute union; returns the result, or -errno. */
function tryBpf(command: number, size: number, ...fields: Field[]): number {
  _held = fields;
  write(fields);
  attrAddress ||= address(attr);
  const result = rawSyscall(SYS.bpf, command, attrAddress, size);
  _held = [];
  return result;
}

function check(result: number, command: keyof typeof CMD, detail?: string): number {
  if (result < 0) throw new SyscallError(`bpf(BPF_${command})`, -result, detail);
  return result;
}

/** A map to make. Sizes in bytes. */
interface MapSpec {
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags?: number;
  /** At most 15 characters are kept. */
  name?: string;
}

/** Text as a field of 16 bytes with a NUL at its end. */
function objectName(name: string): Uint8Array {
  return cstring(name.slice(0, 15)).subarray(0, -1);
}

/** Makes a map and returns its descriptor. */
export function mapCreate(spec: MapSpec): number {
  write([
    [0, 4, spec.type],
    [4, 4, spec.keySize],
    [8, 4, spec.valueSize],
    [12, 4, spec.maxEntries],
    [16, 4, spec.flags ?? 0],
  ]);
  attr.set(objectName(spec.name ?? ""), 28);
  attrAddress ||= address(attr);
  return check(rawSyscall(SYS.bpf, CMD.MAP_CREATE, attrAddress, 44), "MAP_CREATE", spec.name);
}

/** Pins a map, program or link at a path on a bpffs, mode 0600. */
export function objPin(path: string, fd: number): void {
  check(tryBpf(CMD.OBJ_PIN, 16, [0, 8, cstring(path)], [8, 4, fd]), "OBJ_PIN", path);
}

/** Opens what is pinned at `path`. */
export function objGet(path: string): number {
  return check(tryBpf(CMD.OBJ_GET, 16, [0, 8, cstring(path)]), "OBJ_GET", path);
}

/** Opens what is pinned at `path`; undefined when there is nothing. */
export function tryObjGet(path: string): number | undefined {
  const fd = tryBpf(CMD.OBJ_GET, 16, [0, 8, cstring(path)]);
  return fd === -2 ? undefined : check(fd, "OBJ_GET", path);
}

/** Appends to a queue; when it is full its oldest element goes (BPF_EXIST). */
export function queuePush(fd: number, value: Uint8Array<ArrayBuffer>): void {
  const fields: Field[] = [[0, 4, fd], [16, 8, value], [24, 8, UPDATE.EXIST]];
  check(tryBpf(CMD.MAP_UPDATE_ELEM, 32, ...fields), "MAP_UPDATE_ELEM");
}

/** Takes the oldest element out of a queue into `value`; false when there is none. */
export function queuePop(fd: number, value: Uint8Array<ArrayBuffer>): boolean {
  const fields: Field[] = [[0, 4, fd], [16, 8, value]];
  const result = tryBpf(CMD.MAP_LOOKUP_AND_DELETE_ELEM, 32, ...fields);
  if (result === -2) return false; // ENOENT
  check(result, "MAP_LOOKUP_AND_DELETE_ELEM");
  return true;
}

function byId(command: "PROG_GET_FD_BY_ID" | "MAP_GET_FD_BY_ID" | "LINK_GET_FD_BY_ID", id: number) {
  const fd = tryBpf(CMD[command], 12, [0, 4, id]);
  return fd === -2 ? undefined : check(fd, command, `id ${id}`);
}

/** Opens a program by its id; undefined when it is gone. */
export const progById = (id: number): number | undefined => byId("PROG_GET_FD_BY_ID", id);

/** Opens a map by its id; undefined when it is gone. */
export const mapById = (id: number): number | undefined => byId("MAP_GET_FD_BY_ID", id);

/** Opens a link by its id (Linux 5.8); undefined when it is gone. */
export const linkById = (id: number): number | undefined => byId("LINK_GET_FD_BY_ID", id);

/** The ids of all links of the kernel (Linux 5.8), in all network namespaces. */
export function linkIds(): number[] {
  const ids: number[] = [];
  for (let id = 0;;) {
    const result = tryBpf(CMD.LINK_GET_NEXT_ID, 12, [0, 4, id]);
    if (result === -2) return ids; // ENOENT: the last one was found
    check(result, "LINK_GET_NEXT_ID");
    ids.push(id = view.getUint32(4, LITTLE));
  }
}

/** Ids of the links of a TCX hook (Linux 6.6), on a device of the caller's network namespace; none without it. */
export function tcxLinkIds(ifindex: number, attachType: number): number[] {
  const most = 64;
  const [programs, links] = [new Uint8Array(4 * most), new Uint8Array(4 * most)];
  const fields: Field[] = [
    [0, 4, ifindex],
    [4, 4, attachType],
    [16, 8, programs],
    [24, 4, most],
    [40, 8, links],
  ];
  if (tryBpf(CMD.PROG_QUERY, 64, ...fields) < 0) return [];
  const count = view.getUint32(24, LITTLE);
  return [...new Uint32Array(links.buffer)].slice(0, count).filter((id) => id !== 0);
}

/** The ids of the maps that a program uses. */
export function mapIdsOf(progFd: number): number[] {
  const count = info(progFd, 128).getUint32(52, LITTLE);
  const ids = new Uint8Array(4 * Math.max(count, 1));
  const buffer = new Uint8Array(128);
  const wanted = new DataView(buffer.buffer);
  wanted.setUint32(52, count, LITTLE);
  setU64(wanted, 56, address(ids));
  const fields: Field[] = [[0, 4, progFd], [4, 4, 128], [8, 8, buffer]];
  check(tryBpf(CMD.OBJ_GET_INFO_BY_FD, 16, ...fields), "OBJ_GET_INFO_BY_FD");
  return [...new Uint32Array(ids.buffer)].slice(0, count);
}

function info(fd: number, size: number): DataView {
  const buffer = new Uint8Array(size);
  const fields: Field[] = [[0, 4, fd], [4, 4, size], [8, 8, buffer]];
  check(tryBpf(CMD.OBJ_GET_INFO_BY_FD, 16, ...fields), "OBJ_GET_INFO_BY_FD");
  return new DataView(buffer.buffer);
}

function text(bytes: DataView, offset: number): string {
  const field = new Uint8Array(bytes.buffer, offset, 16);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

/** struct bpf_map_info, the part that pcnk reads. */
export interface MapInfo extends Required<MapSpec> {
  id: number;
}

/** struct bpf_map_info. */
export function mapInfo(fd: number): MapInfo {
  const found = info(fd, 88);
  const u32 = (offset: number) => found.getUint32(offset, LITTLE);
  return {
    type: u32(0),
    id: u32(4),
    keySize: u32(8),
    valueSize: u32(12),
    maxEntries: u32(16),
    flags: u32(20),
    name: text(found, 24),
  };
}

/** struct bpf_prog_info, the part that pcnk reads. */
interface ProgInfo {
  type: number;
  id: number;
  /** At most 15 characters. */
  name: string;
}

/** struct bpf_prog_info. */
export function progInfo(fd: number): ProgInfo {
  const found = info(fd, 128);
  const u32 = (offset: number) => found.getUint32(offset, LITTLE);
  return { type: u32(0), id: u32(4), name: text(found, 64) };
}

/** The name of a program by its id, at most 15 characters; empty when it is gone. */
export function progName(id: number): string {
  const fd = progById(id);
  if (fd === undefined) return "";
  try {
    return progInfo(fd).name;
  } finally {
    closeFd(fd);
  }
}

/** struct bpf_link_info, the part that pcnk reads of its TCX and cgroup links. */
interface LinkInfo {
  id: number;
  progId: number;
  /** Nothing is attached by it any more: it was detached, or its device or cgroup is gone. */
  detached: boolean;
  /** Of a TCX link; 0 when the device is gone. */
  ifindex: number;
  /** Of a cgroup's link; 0 when the cgroup is gone, and for other links. */
  cgroupId: bigint;
  attachType: number;
}

/** BPF_LINK_TYPE_CGROUP of enum bpf_link_type. */
const LINK_TYPE_CGROUP = 3;

/** struct bpf_link_info, its members tcx and cgroup. */
export function linkInfo(fd: number): LinkInfo {
  const found = info(fd, 32);
  const u32 = (offset: number) => found.getUint32(offset, LITTLE);
  const common = { id: u32(4), progId: u32(8) };
  if (u32(0) === LINK_TYPE_CGROUP) {
    const cgroupId = found.getBigUint64(16, LITTLE);
    return { ...common, ifindex: 0, cgroupId, attachType: u32(24), detached: cgroupId === 0n };
  }
  const ifindex = u32(16);
  return { ...common, ifindex, cgroupId: 0n, attachType: u32(20), detached: ifindex === 0 };
}

/** Attaches a program to a device by a link; the attachment lives as long as the link's descriptors and pins. */
export function linkCreate(progFd: number, ifindex: number, attachType: number): number {
  // The kernel looks at the whole union for this command: flags 0 and no anchor put the program last.
  const fields: Field[] = [[0, 4, progFd], [4, 4, ifindex], [8, 4, attachType]];
  return check(tryBpf(CMD.LINK_CREATE, 64, ...fields), "LINK_CREATE", `ifindex ${ifindex}`);
}

/** Puts another program into a link, atomically: each packet runs the former or the new one. */
export function linkUpdate(linkFd: number, progFd: number): void {
  check(tryBpf(CMD.LINK_UPDATE, 16, [0, 4, linkFd], [4, 4, progFd]), "LINK_UPDATE");
}

/** Detaches a link from its device, although other processes may hold it. */
export function linkDetach(linkFd: number): void {
  check(tryBpf(CMD.LINK_DETACH, 4, [0, 4, linkFd]), "LINK_DETACH");
}

/** Loads a program given as instructions, for probes and tests; real programs come out of objects. */
export function progLoad(type: number, instructions: Uint8Array<ArrayBuffer>, name = ""): number {
  const license = cstring("GPL");
  write([
    [0, 4, type],
    [4, 4, instructions.length / 8],
    [8, 8, instructions],
    [16, 8, license],
  ]);
  attr.set(objectName(name), 48);
  attrAddress ||= address(attr);
  _held = [[0, 8, instructions], [0, 8, license]];
  const result = rawSyscall(SYS.bpf, CMD.PROG_LOAD, attrAddress, 72);
  _held = [];
  return check(result, "PROG_LOAD", name);
}

/** Arguments of a test run; buffers may be empty. */
interface TestRunArgs {
  dataIn: Uint8Array<ArrayBuffer>;
  dataOut: Uint8Array<ArrayBuffer>;
  ctxIn: Uint8Array<ArrayBuffer>;
  ctxOut: Uint8Array<ArrayBuffer>;
  repeat: number;
}

/** Runs a program over a packet without a network (BPF_PROG_TEST_RUN). */
export function progTestRun(fd: number, args: TestRunArgs): {
  verdict: number;
  dataLength: number;
  durationNs: number;
} {
  const fields: Field[] = [
    [0, 4, fd],
    [8, 4, args.dataIn.length],
    [12, 4, args.dataOut.length],
    [16, 8, args.dataIn],
    [24, 8, args.dataOut],
    [32, 4, args.repeat],
    [40, 4, args.ctxIn.length],
    [44, 4, args.ctxOut.length],
    [48, 8, args.ctxIn],
    [56, 8, args.ctxOut],
  ];
  check(tryBpf(CMD.PROG_TEST_RUN, 80, ...fields), "PROG_TEST_RUN");
  return {
    verdict: view.getUint32(4, LITTLE),
    dataLength: view.getUint32(12, LITTLE),
    durationNs: view.getUint32(36, LITTLE),
  };
}
