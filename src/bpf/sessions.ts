/** The two tables of sessions as one: `sessions`, and `assured` with what the LRU of the first has evicted. */
import type { DataPlaneMaps } from "./dataplane.ts";
import type { Session, SessionKey } from "./layout.ts";

/** Both tables. */
export type SessionMaps = Pick<DataPlaneMaps, "sessions" | "assured">;

/** Every entry of every flow, once. */
export function allSessions({ sessions, assured }: SessionMaps): [SessionKey, Session][] {
  const entries = sessions.entries();
  const known = new Set(entries.map(([key]) => text(key)));
  const evicted = assured.entries().filter(([key]) => !known.has(text(key)));
  return [...entries, ...evicted];
}

/** Deletes entries; returns how many there were. */
export function deleteSessions({ sessions, assured }: SessionMaps, keys: SessionKey[]): number {
  assured.deleteBatch(keys); // first, or a packet would restore them
  return sessions.deleteBatch(keys);
}

function text({ src, dst, sport, dport, proto, zone }: SessionKey): string {
  return `${src} ${dst} ${sport} ${dport} ${proto} ${zone}`;
}
