/**
 * Layouts of former releases whose entries are carried over (schema.ts, `converted`), each with the way to today's. A
 * layout that a release has written stays as it is (bpf/lib/session_former.h).
 */
import type { Codec } from "./codec.ts";
import { SESSION_ZONE, sessionKey, sessionV1 } from "./layout.ts";
import type { PinnedMap } from "./schema.ts";

/** The layout of one former version of a map. */
export interface FormerLayout<K, V> {
  readonly key: Codec<K>;
  /** For a per-CPU map the value of one CPU. */
  readonly value: Codec<V>;
  /** The entry as it is today; undefined: it is not carried over. */
  convert(key: K, value: V): readonly [key: unknown, value: unknown] | undefined;
}

// deno-lint-ignore no-explicit-any
type AnyLayout = FormerLayout<any, any>;

/** What keeps a conversion apart from a use of the type: each entry is checked where it is written. */
function layout<K, V>(one: FormerLayout<K, V>): AnyLayout {
  return one;
}

/** By map and version. */
export const FORMER_LAYOUTS: Partial<Record<PinnedMap, Readonly<Record<number, AnyLayout>>>> = {
  sessions: {
    1: layout({
      key: sessionKey,
      value: sessionV1,
      convert: (key, value) =>
        key.zone === SESSION_ZONE.CLAIM ? undefined : [key, { ...value, created: 0n }],
    }),
  },
};
