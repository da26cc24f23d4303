/** What etcd's gateway is asked, and what it answers, as JSON (api/etcdserverpb/rpc.proto). */
import { type Answer, ApiError } from "../kube/client.ts";
import { linesOf } from "../kube/lines.ts";
import type { Fields } from "../reader.ts";
import { fromBase64, toBase64 } from "../base64.ts";

/** A key with its value. */
export interface KeyValue {
  key: string;
  value: string;
}

/** What was asked for has been compacted away: list again. */
export class CompactedError extends Error {
  override readonly name = "CompactedError";
}

export function rangeOf(prefix: string): Fields {
  const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
  return { key: toBase64(prefix), range_end: toBase64(end) };
}

export function keyValue(kv: Fields): KeyValue {
  return { key: fromBase64(kv.key), value: fromBase64(kv.value) };
}

export function eventOf(event: Fields) {
  const { key, value } = keyValue((event.kv ?? {}) as Fields);
  return event.type === "DELETE" ? { key } : { key, value };
}

/** A response's header has the store's revision, which may be ahead of what this watch was told. */
export function lastRevision(events: readonly Fields[]): bigint {
  return events.map(({ kv }) => int64((kv as Fields | undefined)?.mod_revision))
    .reduce((a, b) => a > b ? a : b, 0n);
}

export function revisionOf({ header }: Fields): bigint {
  return int64((header as Fields | undefined)?.revision);
}

/** @throws {CompactedError | ApiError} */
export function refuseCanceled(result: Fields) {
  if (result.canceled !== true) return;
  const compacted = int64(result.compact_revision);
  if (compacted > 0n) throw new CompactedError(`compacted at revision ${compacted}`);
  throw new ApiError(0, `ended the watch: ${result.cancel_reason ?? "no reason given"}`);
}

/** A line each: `{"result": {…}}` or `{"error": {…}}`. */
export async function* resultsOf({ body }: Answer): AsyncGenerator<Fields> {
  for await (const lines of linesOf(body)) {
    for (const line of lines) {
      let parsed: Fields;
      try {
        parsed = JSON.parse(line);
      } catch {
        throw new ApiError(0, "sent something that is not JSON; is it an etcd server?");
      }
      const { result, error } = parsed as { result?: Fields; error?: Fields };
      if (error !== undefined) throw new ApiError(0, `ended the watch: ${error.message ?? "?"}`);
      if (result !== undefined) yield result;
    }
  }
}

/** The gateway writes 64-bit numbers as strings, and leaves 0 out. */
function int64(value: unknown): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  return typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : 0n;
}
