/**
 * Ends the flows of addresses whose pods are gone. The next pod with such an address would get what their other ends, which
 * learn of nothing, go on sending: as NodePort, hostPort, or the node's own address led it here.
 */
import { lookupBatch } from "../src/bpf/batch.ts";
import type { Field } from "../src/bpf/codec.ts";
import { maps, session, type SessionKey, sessionKey } from "../src/bpf/layout.ts";
import { type MapOf, openMap } from "../src/bpf/map.ts";
import { tryOpenVersion } from "../src/bpf/map_versions.ts";
import { SchemaError } from "../src/bpf/schema.ts";
import { mapInfo } from "../src/bpf/syscall.ts";
import { parseIpv4 } from "../src/net/ipv4.ts";

type Sessions = MapOf<typeof maps.sessions>;

/** Offsets of the addresses. */
const ends = ({ fields }: { fields?: readonly Field[] }) =>
  fields!.filter(({ name }) => name === "src" || name === "dst").map(({ offset }) => offset);
const [keyEnds, valueEnds] = [ends(sessionKey), ends(session)];

/**
 * Deletes every session with one of these addresses, of whatever protocol. Where no data plane is installed there is none; those
 * of another release stay: only its agent knows them.
 */
export function endSessions(bpffs: string, addresses: readonly string[]): void {
  using copies = open(bpffs, "assured");
  using sessions = open(bpffs, "sessions");
  const values = new Set(addresses.map(parseIpv4));
  // The copies first, or a packet would restore its session from there; again, as one that was on its way may have made one.
  copies?.deleteBatch(having(copies, values));
  const found = sessions ? having(sessions, values) : [];
  sessions?.deleteBatch(found);
  copies?.deleteBatch(found);
}

function open(bpffs: string, name: "assured" | "sessions"): Sessions | undefined {
  try {
    const fd = tryOpenVersion(bpffs, name);
    return fd === undefined ? undefined : openMap(fd, maps[name]);
  } catch (error) {
    if (error instanceof SchemaError) return undefined;
    throw error;
  }
}

function having(map: Sessions, addresses: ReadonlySet<number>): SessionKey[] {
  const found: SessionKey[] = [];
  lookupBatch(map, mapInfo(map.fd), 0, Infinity, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      const [key, value] = [i * sessionKey.size, i * session.size];
      const has = keyEnds.some((at) => addresses.has(keys.getUint32(key + at))) ||
        valueEnds.some((at) => addresses.has(values.getUint32(value + at)));
      if (has) found.push(sessionKey.decode(keys, key));
    }
  });
  return found;
}
