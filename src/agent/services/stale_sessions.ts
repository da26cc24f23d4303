/** Deletes the entries of the session tables whose backend or masquerade address is gone. */
import { PROTO } from "../../abi/enums.ts";
import { lookupBatch } from "../../bpf/batch.ts";
import { SESSION_FLAG, SESSION_ZONE, type SessionKey } from "../../bpf/layout.ts";
import { allSessions, deleteSessions, type SessionMaps } from "../../bpf/sessions.ts";
import { mapInfo } from "../../bpf/syscall.ts";

import type { KernelState } from "../../services/kernel.ts";
import type { StaleSessions } from "../../services/changes.ts";
import { judgeStale, type SessionJudge } from "../../services/sessions.ts";
import type { Log } from "../log.ts";
import { RawSession } from "./raw_session.ts";
import { type Clock, systemClock } from "../runner.ts";

type SessionMap = SessionMaps["sessions" | "assured"];

/** Deletes the sessions that `judge` condemns; returns how many entries that were. */
export function endSessions(maps: SessionMaps, judge: SessionJudge): number {
  const stale = [maps.sessions, maps.assured].flatMap((map) => staleOf(map, judge));
  const handshakes = stale.filter(({ proto }) => proto === PROTO.TCP);
  for (const key of handshakes) {
    const replyKey = replyKeyOf(maps.sessions, key);
    if (replyKey !== undefined) stale.push(replyKey);
  }
  return deleteSessions(maps, stale);
}

function staleOf(map: SessionMap, judge: SessionJudge): SessionKey[] {
  const stale: SessionKey[] = [];
  const view = new RawSession();
  lookupBatch(map, mapInfo(map.fd), 0, Infinity, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      view.point(keys, values, i);
      if (view.zone !== SESSION_ZONE.SERVICE) continue;
      if (view.flags & SESSION_FLAG.MASQUERADE) continue; // of no service
      if (view.serviceId === 0) continue; // a hostPort's
      if (judge(view)) stale.push(view.key);
    }
  });
  return stale;
}

/**
 * Ends flows that are masqueraded as `address`, which the node has no more: they would go on with it until they time out.
 * Returns how many entries that were.
 */
export function endMasqueraded(maps: SessionMaps, address: string): number {
  const stale = allSessions(maps).filter(([key, { src, flags }]) =>
    flags & SESSION_FLAG.MASQUERADE && (flags & SESSION_FLAG.REPLY ? key.dst : src) === address
  );
  return deleteSessions(maps, stale.map(([key]) => key));
}

/** The reply entry of a forward one, unless it belongs to another flow by now. */
function replyKeyOf(map: SessionMap, key: SessionKey): SessionKey | undefined {
  const forward = map.get(key);
  if (forward === undefined) return undefined;
  const { src, dst, sport, dport } = forward;
  const replyKey = {
    src: dst,
    dst: src,
    sport: dport,
    dport: sport,
    proto: key.proto,
    zone: key.zone,
  };
  const reply = map.get(replyKey);
  const mine = reply?.src === key.dst && reply.dst === key.src && reply.sport === key.dport &&
    reply.dport === key.sport;
  return mine ? replyKey : undefined;
}

/** Milliseconds between passes through the map: five times as long as one takes, within these bounds. */
const pauseMs = { least: 150, most: 500 };

/**
 * Ends sessions after changes, in two passes: a packet that was on its way while its service changed may have made a
 * session right after the first one.
 */
export class SessionCleaner {
  #pending: { stale: StaleSessions; passes: number }[] = [];
  #timer: unknown;
  #kernel: KernelState | undefined;
  readonly #maps: SessionMaps;
  readonly #log: Log;
  readonly #clock: Clock;

  constructor(
    maps: SessionMaps,
    log: Log,
    clock: Clock = systemClock,
  ) {
    this.#maps = maps;
    this.#log = log;
    this.#clock = clock;
  }

  /** @param kernel what the maps hold; read later, too */
  add(stale: readonly StaleSessions[], kernel: KernelState) {
    this.#kernel = kernel;
    for (const one of stale.filter(matters)) this.#pending.push({ stale: one, passes: 2 });
    if (this.#pending.length > 0) this.#timer ??= this.#clock.setTimeout(() => this.#pass(), 0);
  }

  stop() {
    this.#clock.clearTimeout(this.#timer);
    this.#pending = [];
  }

  #pass() {
    const start = this.#clock.now();
    try {
      const judge = judgeStale(this.#pending.map(({ stale }) => stale), this.#kernel!);
      const ended = endSessions(this.#maps, judge);
      if (ended > 0) this.#log.info({ ended }, "sessions of removed backends ended");
      for (const one of this.#pending) one.passes--;
      this.#pending = this.#pending.filter(({ passes }) => passes > 0);
    } catch (error) {
      this.#log.error({ err: error }, "cannot end the sessions of removed backends");
    }
    const took = this.#clock.now() - start;
    const pause = Math.min(pauseMs.most, Math.max(pauseMs.least, 5 * took));
    this.#timer = this.#pending.length === 0
      ? undefined
      : this.#clock.setTimeout(() => this.#pass(), pause);
  }
}

/** Connections to backends that only drain go on. */
function matters({ frontend, backends }: StaleSessions): boolean {
  return frontend.proto !== PROTO.TCP || backends.some(({ gone }) => gone);
}
