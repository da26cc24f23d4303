/** What a map holds and of which kind it is, as openMap() and the installer take it. */
import type { Codec } from "./codec.ts";

/** A map of maps.h. For per-CPU maps `value` is the element of one CPU. */
export interface MapDescriptor<K, V, P extends boolean = boolean> {
  readonly name: string;
  /** MAP_TYPE */
  readonly type: number;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
  readonly perCpu: P;
}

/** Describes a map that is not per CPU. */
export function map<K, V>(name: string, type: number, key: Codec<K>, value: Codec<V>) {
  return { name, type, key, value, perCpu: false } satisfies MapDescriptor<K, V>;
}
