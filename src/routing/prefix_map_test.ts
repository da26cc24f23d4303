import { equal, ok } from "node:assert/strict";
import { parseNetwork, parsePrefix, type Prefix } from "../net/prefix.ts";
import { PrefixMap } from "./prefix_map.ts";

Deno.test("PrefixMap.add() finds every overlap and none between neighbours", () => {
  const map = new PrefixMap<string>();
  equal(map.add(parsePrefix("10.244.2.0/24"), "b"), undefined);
  equal(map.add(parsePrefix("10.244.1.0/24"), "a"), undefined);
  equal(map.add(parsePrefix("10.244.3.0/24"), "c"), undefined);
  for (
    const [text, owner] of [
      ["10.244.2.0/24", "b"],
      ["10.244.2.128/25", "b"],
      ["10.244.2.255/32", "b"],
      ["10.244.0.0/16", "a"],
      ["0.0.0.0/0", "a"],
      ["10.244.2.0/23", "b"],
    ] as const
  ) {
    equal(map.add(parsePrefix(text), "x")?.owner, owner, text);
  }
  equal(map.add(parsePrefix("10.244.0.0/24"), "d"), undefined);
  equal(map.add(parsePrefix("10.244.4.0/22"), "e"), undefined);
});

Deno.test("PrefixMap.add() agrees with comparing all pairs", () => {
  let seed = 1;
  const random = (below: number) => (seed = seed * 48271 % 0x7fffffff) % below;
  const map = new PrefixMap<number>();
  const added: Prefix[] = [];
  for (let i = 0; i < 2000; i++) {
    const prefix = parseNetwork(`10.${random(4)}.${random(256)}.${random(256)}/${20 + random(13)}`);
    const overlaps = added.some((other) => other.overlaps(prefix));
    equal(map.add(prefix, i) !== undefined, overlaps);
    if (!overlaps) added.push(prefix);
  }
  ok(added.length > 100);
});
