/**
 * Moves the sessions of a running node into a table of another layout or capacity, and loses none: both entries of a flow
 * are written by programs, on every packet's way, so a copy alone would miss what the programs write while it is made and
 * while they are replaced one after another. For as long as the move takes, transitional programs are attached, which know both
 * tables (bpf/lib/session_converting.h).
 *
 * A process may be killed at any step: the table pinned as `sessions` always has everything. Before it is replaced
 * the next run begins anew, afterwards the next run only finishes.
 */
import { dupFd, rawSyscall, SYS } from "../linux/libc.ts";
import { readArtifact } from "./artifacts.ts";
import { lookupBatch } from "./batch.ts";
import { FORMER_LAYOUTS, type FormerLayout } from "./former_layouts.ts";
import {
  CONVERSION_PHASE,
  conversionMaps,
  maps,
  type Session,
  SESSION_ZONE,
  type SessionKey,
} from "./layout.ts";
import { BpfMap, type MapOf, openMap } from "./map.ts";
import { type PinnedVersion, pinnedVersions } from "./map_versions.ts";
import { type LoadedObject, loadObject } from "./object.ts";
import { mapPin, removePin, replacePin } from "./pins.ts";
import { mapInfo, tryObjGet } from "./syscall.ts";

/** Objects compiled with CONVERTING. The first one brings the maps that they share. */
const OBJECTS = ["lbrp_converting.bpf.o", "k8sdispatcher_converting.bpf.o"];
/** For uplinks without Ethernet header. */
const HEADERLESS = "k8sdispatcher_l3_converting.bpf.o";

type Layout = FormerLayout<SessionKey, Partial<Session>>;

/** Of a table that only gets another capacity. */
const sameLayout: Layout = {
  key: maps.sessions.key,
  value: maps.sessions.value as Layout["value"],
  convert: (key, value) => [key, value],
};

/** The move of one table of sessions into another. Loads everything, and changes nothing yet. */
export class SessionConversion {
  readonly #bpffs: string;
  readonly #pinned: PinnedVersion;
  readonly #layout: Layout;
  readonly #former: BpfMap<SessionKey, Partial<Session>>;
  readonly #table: MapOf<typeof maps.sessions>;
  readonly #state: MapOf<typeof conversionMaps.conversion>;
  readonly #objects: LoadedObject[] = [];
  /** The transitional programs, by their C names. */
  readonly programs: ReadonlyMap<string, number>;

  /**
   * @param former the pinned table
   * @param shared descriptors of all maps that the steady programs use; `sessions` is the new table. They stay the caller's
   * @param headerless whether the node has an uplink without Ethernet header
   * @throws {LoadError}
   */
  constructor(
    bpffs: string,
    former: PinnedVersion,
    shared: ReadonlyMap<string, number>,
    headerless: boolean,
  ) {
    this.#bpffs = bpffs;
    this.#pinned = former;
    this.#layout = FORMER_LAYOUTS.sessions?.[former.version] ?? sameLayout;
    using stack = new DisposableStack();
    const { key, value } = this.#layout;
    this.#former = stack.use(BpfMap.openPinned(mapPin(bpffs, "sessions"), key, value));
    this.#table = stack.use(openMap(dupFd(shared.get("sessions")!), maps.sessions));
    const substitute = new Map([["sessions_former", this.#former.fd]]);
    const constants = { ".rodata.former": former.version };
    for (const name of [...OBJECTS, ...headerless ? [HEADERLESS] : []]) {
      const share = new Map([...shared, ...this.#objects[0]?.maps ?? []]);
      const object = loadObject(readArtifact(name), { name, share, substitute, constants });
      this.#objects.push(stack.use(object));
    }
    this.programs = new Map(this.#objects.flatMap(({ programs }) => [...programs]));
    this.#state = stack.use(this.#objects[0]!.map(conversionMaps.conversion));
    stack.move();
  }

  /**
   * Copies `assured` into the table, as transitional programs do not know it; what the table has holds. Before the pins of
   * other maps are replaced: it has the table's layout, and the version before (from sessions 2, assured 1 on).
   */
  restore(): void {
    const { version } = this.#pinned;
    const found = pinnedVersions(this.#bpffs).find(({ name }) => name === "assured");
    if (found?.version !== version - 1) return; // none, or that of an upgrade that was interrupted
    const { key, value } = this.#layout;
    using assured = BpfMap.openPinned(mapPin(this.#bpffs, "assured"), key, value);
    this.#former.addBatch(assured.entries());
  }

  /** Lets a run that comes after this one know of it, should this one be killed. */
  pin(): void {
    this.#set(CONVERSION_PHASE.FORMER);
    replacePin(mapPin(this.#bpffs, conversionMaps.conversion.name), this.#state.fd);
  }

  #set(phase: number): void {
    this.#state.set(0, { phase, map: this.#table.id });
    waitForPrograms();
  }

  /** Fills the new table. Only transitional programs may be attached: from here on they write to both. */
  fill(): void {
    this.#set(CONVERSION_PHASE.MIRRORED);
    const { key, value, convert } = this.#layout;
    lookupBatch(this.#former, mapInfo(this.#former.fd), 0, Infinity, (keys, values, count) => {
      const entries: [SessionKey, Session][] = [];
      for (let i = 0; i < count; i++) {
        const at = key.decode(keys, i * key.size);
        if (at.zone === SESSION_ZONE.CLAIM) continue; // of a program that runs at this moment
        const entry = convert(at, value.decode(values, i * value.size));
        if (entry !== undefined) entries.push(entry as [SessionKey, Session]);
      }
      this.#table.addBatch(entries);
    });
  }

  /** Replaces the old table by the new one. Both are the same until `finish`. */
  commit(): void {
    replacePin(mapPin(this.#bpffs, "sessions"), this.#table.fd);
  }

  /** The programs forget the old table: others, which have never known it, may be attached beside them. */
  finish(): void {
    this.#set(CONVERSION_PHASE.NEW);
  }

  close(): void {
    for (const one of [this.#former, this.#table, this.#state, ...this.#objects]) one.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * After a run that was killed between replacing the pin and saying so to its transitional programs: says it now, so that
 * programs which know the new table only may take their place.
 */
export function finishCommit(bpffs: string): void {
  const fd = tryObjGet(mapPin(bpffs, conversionMaps.conversion.name));
  if (fd === undefined) return;
  using state = openMap(fd, conversionMaps.conversion);
  const { map } = state.get(0)!;
  if (!pinnedVersions(bpffs).some(({ name, id }) => name === "sessions" && id === map)) return;
  state.set(0, { phase: CONVERSION_PHASE.NEW, map });
  waitForPrograms();
}

/** Whether a conversion is under way, or was interrupted. */
export function isConverting(bpffs: string): boolean {
  try {
    return Deno.lstatSync(mapPin(bpffs, conversionMaps.conversion.name)) !== undefined;
  } catch {
    return false;
  }
}

/** No transitional program is attached any more. */
export function endConversion(bpffs: string): void {
  removePin(mapPin(bpffs, conversionMaps.conversion.name));
}

/** Returns when every program that runs now has ended (membarrier(2) waits for an RCU grace period). */
function waitForPrograms(): void {
  const MEMBARRIER_CMD_GLOBAL = 1;
  if (rawSyscall(SYS.membarrier, MEMBARRIER_CMD_GLOBAL) === 0) return;
  // Refused with nohz_full, or by a seccomp filter. A program runs for microseconds.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
}
