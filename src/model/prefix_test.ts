import assert from "node:assert/strict";
import { parseIpv4 } from "./ipv4.ts";
import { formatPrefix, holds, isUnicast, parsePrefix, RangeSet } from "./prefix.ts";

const ip = (text: string) => parseIpv4(text)!;
const prefix = (text: string) => parsePrefix(text)!;

Deno.test("parsePrefix() reads prefixes and clears the bits behind them", () => {
  assert.deepEqual(prefix("10.244.1.0/24"), {
    first: ip("10.244.1.0"),
    last: ip("10.244.1.255"),
    length: 24,
  });
  assert.equal(formatPrefix(prefix("10.244.1.77/24")), "10.244.1.0/24");
  assert.equal(formatPrefix(prefix("192.0.2.1/32")), "192.0.2.1/32");
  assert.deepEqual(prefix("0.0.0.0/0"), { first: 0, last: 0xffffffff, length: 0 });
  assert.equal(prefix("240.0.0.0/4").last, 0xffffffff);
});

Deno.test("parsePrefix() refuses what is no prefix", () => {
  const wrong = ["", "/", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0/8"];
  for (const text of [...wrong, "fd00::/8", "10.0.0.0/8/8", "10.0.0.0/-1", "../x/24"]) {
    assert.equal(parsePrefix(text), undefined, text);
  }
});

Deno.test("isUnicast() knows what a host may have", () => {
  for (const text of ["1.0.0.1", "10.0.0.0", "192.168.0.1", "223.255.255.255"]) {
    assert.ok(isUnicast(ip(text)), text);
  }
  for (const text of ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"]) {
    assert.ok(!isUnicast(ip(text)), text);
  }
});

Deno.test("RangeSet.add() finds every overlap and none between neighbours", () => {
  const set = new RangeSet<string>();
  assert.equal(set.add(prefix("10.244.2.0/24"), "b"), undefined);
  assert.equal(set.add(prefix("10.244.1.0/24"), "a"), undefined);
  assert.equal(set.add(prefix("10.244.3.0/24"), "c"), undefined);
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
    assert.equal(set.add(prefix(text), "x")?.owner, owner, text);
  }
  assert.equal(set.add(prefix("10.244.0.0/24"), "d"), undefined);
  assert.equal(set.add(prefix("10.244.4.0/22"), "e"), undefined);
});

Deno.test("RangeSet.add() agrees with comparing all pairs", () => {
  let seed = 1;
  const random = (below: number) => (seed = seed * 48271 % 0x7fffffff) % below;
  const set = new RangeSet<number>();
  const added: ReturnType<typeof prefix>[] = [];
  for (let i = 0; i < 2000; i++) {
    const range = prefix(`10.${random(4)}.${random(256)}.${random(256)}/${20 + random(13)}`);
    const meets = added.some(({ first, last }) => first <= range.last && range.first <= last);
    assert.equal(set.add(range, i) !== undefined, meets);
    if (!meets) added.push(range);
  }
  assert.ok(added.length > 100);
  assert.ok(holds(added[0]!, added[0]!.first));
});
