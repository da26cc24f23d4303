/**
 * Removes sessions that are over from both tables, slice by slice, and reports pressure on them. The data plane does not
 * depend on it: without an agent, what is over leaves the LRU when room is needed, and the copy of an idle connection stays
 * until it is used again.
 */
import { readSlices, type Slice } from "../../bpf/batch.ts";
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import { SESSION_STATE, type SessionKey } from "../../bpf/layout.ts";
import { type Reason, reasonIndex } from "../../bpf/reasons.ts";
import { deleteSessions } from "../../bpf/sessions.ts";
import { monotonicNow } from "../../linux/clock.ts";
import { addressOf, type AddressValue, addressValue } from "../../net/address.ts";
import type { Log } from "../log.ts";
import { type Clock, systemClock } from "../runner.ts";
import { RawSession } from "./raw_session.ts";
import { isOver } from "../../services/session_timeouts.ts";

type Maps = Pick<
  DataPlaneMaps,
  "sessions" | "assured" | "sources" | "session_limits" | "config" | "counters"
>;

interface SweepOptions {
  maps: Maps;
  log: Log;
  /** A source as people know it, such as `pod default/web`; undefined: by its address only. */
  nameOf: (address: string) => string | undefined;
  clock?: Clock;
}

/** Entries a slice: about a millisecond. */
const SLICE = 2048;
/** Milliseconds between two slices. */
const SLICE_PAUSE = 20;
/**
 * Milliseconds between two passes: 200 times as long as one worked, within these bounds, which is 0.5 % of a CPU; the
 * least while something is reported.
 */
const pauseMs = { least: 10_000, most: 120_000 };

/** Nanoseconds after which it is asked whether an entry's other direction still exists. */
const ORPHAN_AGE = 300_000_000_000n;

/** Flows of a source whose count is worth restoring. */
const MANY = 256;

/** From this fill level on a table is under pressure, and below the second no more. */
const PRESSURE = 0.9, RELIEF = 0.8;

/** What a pass saw of one table. */
interface Seen {
  left: number;
  removed: number;
  /** Flows by their client. */
  clients: Map<AddressValue, number>;
}

export class SessionSweep {
  readonly #options: SweepOptions;
  readonly #clock: Clock;
  readonly #counts = new Map<Reason, bigint>();
  #work: Generator<void> | undefined;
  #timer: unknown;
  /** Milliseconds that the current pass has worked. */
  #worked = 0;
  #reported = new Set<string>();
  #first = true;

  constructor(options: SweepOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  start(): void {
    this.#grown("event_session_recycled");
    this.#grown("drop_ports_exhausted");
    this.#next(pauseMs.least);
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer);
  }

  #next(ms: number): void {
    this.#timer = this.#clock.setTimeout(() => this.#step(), ms);
  }

  #step(): void {
    this.#work ??= this.pass();
    const start = this.#clock.now();
    try {
      const { done } = this.#work.next();
      this.#worked += this.#clock.now() - start;
      if (!done) return this.#next(SLICE_PAUSE);
    } catch (error) {
      this.#options.log.error({ err: error }, "cannot remove sessions that are over");
    }
    this.#work = undefined;
    const calm = this.#reported.size === 0 ? 200 * this.#worked : 0;
    this.#worked = 0;
    this.#next(Math.min(pauseMs.most, Math.max(pauseMs.least, calm)));
  }

  /** One pass through both tables; yields after each slice. */
  *pass(): Generator<void> {
    const sessions = yield* this.#sweep("sessions");
    const assured = yield* this.#sweep("assured");
    this.#first = false;
    this.#correct(assured);
    this.#report(sessions, assured);
  }

  *#sweep(table: "sessions" | "assured"): Generator<void, Seen> {
    const { maps } = this.#options;
    const seen: Seen = { left: 0, removed: 0, clients: new Map() };
    for (const slice of readSlices(maps[table], SLICE)) {
      const over = this.#judge(slice, table === "assured", seen);
      // Shortly after they were read: a packet may open such a flow anew.
      if (over.length > 0) deleteSessions(maps, over);
      seen.removed += over.length;
      yield;
    }
    return seen;
  }

  /** The entries of a slice that must go, with those of their other direction. */
  #judge({ keys, values, count }: Slice, assured: boolean, seen: Seen): SessionKey[] {
    const { maps } = this.#options;
    const config = maps.config.get(0)!;
    const now = monotonicNow();
    const over: SessionKey[] = [];
    const view = new RawSession();
    for (let i = 0; i < count; i++) {
      view.point(keys, values, i);
      const { proto, state, lastSeen, isReply: reply } = view;
      const idle = now - lastSeen;
      if (assured && this.#first && !reply) this.#reconcile(view);
      const orphan = () =>
        idle > ORPHAN_AGE && (assured || reply) &&
        !isOther(maps[assured ? "assured" : "sessions"], view);
      if (isOver(config, proto, state, idle) || orphan()) {
        over.push(view.key);
        if (isOther(maps.sessions, view) || isOther(maps.assured, view)) over.push(view.otherKey);
        continue;
      }
      seen.left++;
      if (!reply) seen.clients.set(view.client, (seen.clients.get(view.client) ?? 0) + 1);
    }
    return over;
  }

  /** Programs that were transitional during an upgrade leave the copies of what they close. */
  #reconcile(view: RawSession): void {
    const { sessions, assured } = this.#options.maps;
    const { key } = view;
    if (sessions.get(key)?.state === SESSION_STATE.CLOSED) {
      assured.deleteBatch([key, view.otherKey]);
    }
  }

  /** Sets what the programs count to what there is. They also count the flows that a source opened: skip ahead of these. */
  #correct({ clients }: Seen): void {
    const { sources, session_limits } = this.#options.maps;
    const missing = new Map([...clients].filter(([, flows]) => flows >= MANY));
    for (const [key, source] of sources.entries()) {
      const client = addressValue(key.addr);
      const assured = clients.get(client) ?? 0;
      missing.delete(client);
      if (assured !== source.assured) {
        sources.set(key, { assured, created: (source.created + 256) >>> 0 });
      }
    }
    // The LRU evicted their entries, while there were very many sources. They go on anywhere in their rings: see source_get().
    for (const [client, assured] of missing) {
      const created = Math.floor(Math.random() * 2 ** 32);
      sources.set({ addr: addressOf(client) }, { assured, created });
    }
    const limits = session_limits.get(0)!;
    const assured = [...clients.values()].reduce((sum, flows) => sum + flows, 0);
    if (assured !== limits.assured) session_limits.set(0, { ...limits, assured });
  }

  #report(sessions: Seen, assured: Seen): void {
    const { maps } = this.#options;
    const capacity = maps.sessions.maxEntries;
    const fill = Math.max(sessions.left, assured.left) / capacity;
    const most = this.#most(sessions.clients);
    const limit = "raise mapSizes.sessions, or lower shares.sessions";
    this.#tell(
      "SessionPressure",
      fill >= (this.#reported.has("SessionPressure") ? RELIEF : PRESSURE),
      `the table of sessions is ${Math.round(100 * fill)} % full of flows that are not over; ` +
        `the oldest of those that are not assured are evicted: ${limit}; most are of ${most}`,
    );
    this.#tell(
      "SessionShare",
      this.#grown("event_session_recycled"),
      `${most} has its share of the sessions, and opens more: its oldest are replaced; ` +
        "raise shares.sessions or mapSizes.sessions if it should have more",
    );
    this.#tell(
      "SnatPortsExhausted",
      this.#grown("drop_ports_exhausted"),
      `flows found no free source port; most sessions are of ${most}: ` +
        "widen snatPorts, or lower shares.snatPorts so that others find some",
    );
  }

  /** Reports a state once while it lasts. */
  #tell(event: string, on: boolean, message: string): void {
    if (on && !this.#reported.has(event)) this.#options.log.warn({ event }, message);
    if (on) this.#reported.add(event);
    else this.#reported.delete(event);
  }

  /** Whether a counter has grown since the last question. */
  #grown(reason: Reason): boolean {
    const cpus = this.#options.maps.counters.get(reasonIndex(reason)) ?? [];
    const now = cpus.reduce((sum, { packets }) => sum + packets, 0n);
    const before = this.#counts.get(reason);
    this.#counts.set(reason, now);
    return before !== undefined && now > before;
  }

  #most(clients: ReadonlyMap<AddressValue, number>): string {
    const [value, flows] = [...clients].reduce((a, b) => b[1] > a[1] ? b : a, [0, 0]);
    const address = addressOf(value);
    const name = this.#options.nameOf(address);
    return `${name === undefined ? address : `${name} (${address})`}, with ${flows} flows`;
  }
}

/** Whether a table has the other direction of an entry. */
function isOther(map: Maps["sessions" | "assured"], view: RawSession): boolean {
  const { key } = view;
  const other = map.get(view.otherKey);
  return other !== undefined && other.src === key.dst && other.dst === key.src &&
    other.sport === key.dport && other.dport === key.sport;
}
