/** Deletes the entries of the `sessions` map whose backend or masquerade address is gone. */
import { PROTO } from "../../abi/enums.ts";
import { lookupBatch } from "../../bpf/batch.ts";
import { LITTLE } from "../../bpf/codec.ts";
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import { SESSION_FLAG, SESSION_STATE, SESSION_ZONE } from "../../bpf/layout.ts";
import { session, type SessionKey, sessionKey } from "../../bpf/layout.ts";
import { mapInfo } from "../../bpf/syscall.ts";

import type { KernelState } from "../../services/kernel.ts";
import type { StaleSessions } from "../../services/changes.ts";
import { judgeStale, type SessionJudge, type SessionView } from "../../services/sessions.ts";
import { type AddressValue, readAddress, readValue } from "../../net/address.ts";
import type { Log } from "../log.ts";
import { offsetOf } from "./kernel_maps.ts";
import { type Clock, systemClock } from "../runner.ts";

type SessionMap = DataPlaneMaps["sessions"];

const keyAt = (name: string) => offsetOf(sessionKey.fields, name);
const valueAt = (name: string) => offsetOf(session.fields, name);

/** Offsets of the members that a judge reads, from raw bytes, because the map may hold a quarter of a million entries. */
const at = {
  key: {
    src: keyAt("src"),
    dst: keyAt("dst"),
    sport: keyAt("sport"),
    dport: keyAt("dport"),
    proto: keyAt("proto"),
    zone: keyAt("zone"),
  },
  value: {
    src: valueAt("src"),
    dst: valueAt("dst"),
    sport: valueAt("sport"),
    dport: valueAt("dport"),
    state: valueAt("state"),
    flags: valueAt("flags"),
    service: valueAt("service_id"),
  },
};

/** Deletes the sessions that `judge` condemns; returns how many entries that were. */
export function endSessions(map: SessionMap, judge: SessionJudge): number {
  const stale: SessionKey[] = [];
  const view = new RawSession();
  lookupBatch(map, mapInfo(map.fd), 0, Infinity, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      const key = i * sessionKey.size;
      if (keys.getUint8(key + at.key.zone) !== SESSION_ZONE.SERVICE) continue;
      const flags = values.getUint8(i * session.size + at.value.flags);
      if (flags & SESSION_FLAG.MASQUERADE) continue; // of no service
      if (values.getUint32(i * session.size + at.value.service, LITTLE) === 0) continue; // a hostPort's
      view.point(keys, key, values, i * session.size);
      if (judge(view)) stale.push(sessionKey.decode(keys, key));
    }
  });
  const handshakes = stale.filter(({ proto }) => proto === PROTO.TCP);
  for (const key of handshakes) {
    const replyKey = replyKeyOf(map, key);
    if (replyKey !== undefined) stale.push(replyKey);
  }
  return map.deleteBatch(stale);
}

/**
 * Ends flows that are masqueraded as `address`, which the node has no more: they would go on with it until they time out.
 * Returns how many entries that were.
 */
export function endMasqueraded(map: SessionMap, address: string): number {
  const stale = map.entries().filter(([key, { src, flags }]) =>
    flags & SESSION_FLAG.MASQUERADE && (flags & SESSION_FLAG.REPLY ? key.dst : src) === address
  );
  return map.deleteBatch(stale.map(([key]) => key));
}

/**
 * A session in the raw bytes of a batch, decoded as far as a judge asks. A session has an entry for each direction; that of
 * the reply direction holds the frontend as its translation.
 */
class RawSession implements SessionView {
  #keys = new DataView(new ArrayBuffer(0));
  #values = this.#keys;
  #key = 0;
  #value = 0;
  #reply = false;

  point(keys: DataView<ArrayBuffer>, key: number, values: DataView<ArrayBuffer>, value: number) {
    [this.#keys, this.#key, this.#values, this.#value] = [keys, key, values, value];
    this.#reply = (values.getUint8(value + at.value.flags) & SESSION_FLAG.REPLY) !== 0;
  }

  get proto(): number {
    return this.#keys.getUint8(this.#key + at.key.proto);
  }
  get frontendAddr(): string {
    return this.#reply
      ? readAddress(this.#values, this.#value + at.value.src, 4)
      : readAddress(this.#keys, this.#key + at.key.dst, 4);
  }
  get frontendPort(): number {
    return this.#reply
      ? this.#values.getUint16(this.#value + at.value.sport)
      : this.#keys.getUint16(this.#key + at.key.dport);
  }
  get backend(): AddressValue {
    return this.#reply
      ? readValue(this.#keys, this.#key + at.key.src, 4)
      : readValue(this.#values, this.#value + at.value.dst, 4);
  }
  get backendPort(): number {
    return this.#reply
      ? this.#keys.getUint16(this.#key + at.key.sport)
      : this.#values.getUint16(this.#value + at.value.dport);
  }
  /** Only the forward entry follows the handshake. */
  get unestablished(): boolean {
    const state = this.#values.getUint8(this.#value + at.value.state);
    return !this.#reply && state === SESSION_STATE.NEW;
  }
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
  readonly #map: SessionMap;
  readonly #log: Log;
  readonly #clock: Clock;

  constructor(
    map: SessionMap,
    log: Log,
    clock: Clock = systemClock,
  ) {
    this.#map = map;
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
      const ended = endSessions(this.#map, judge);
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
