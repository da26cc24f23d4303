import assert from "node:assert/strict";
import { SHARE_KIND } from "../../bpf/layout.ts";
import { readExcess } from "../../bpf/shares.ts";
import type { Log } from "../log.ts";
import { ShareReport } from "./share_report.ts";

type Maps = Parameters<typeof readExcess>[0];

/** Maps of a node with one pod, and what is reported of them. */
function setUp() {
  const counts = new Map<string, bigint[]>();
  let gone: string[] = [];
  let time = 0;
  const keys = () =>
    [...counts.keys()].map((key) => {
      const [addr = "", ifindex] = key.split(" ");
      return { addr, ifindex: Number(ifindex) };
    });
  const endpoints = new Map([["10.1.0.2", { ifindex: 7 }]]);
  const maps = {
    shares: {
      keys,
      entries: () => keys().map((key, i) => [key, { last: 1n, times: [...counts.values()][i]! }]),
      deleteBatch: (list: { addr: string }[]) => (gone = list.map(({ addr }) => addr)),
    },
    endpoints: {
      get: ({ addr }: { addr: string }) => endpoints.get(addr),
      entries: () => [...endpoints].map(([addr, endpoint]) => [{ addr }, endpoint]),
    },
  } as unknown as Maps;
  const said: string[] = [];
  const log = { warn: (_: unknown, text: string) => said.push(text.split(",")[0]!) };
  const report = new ShareReport({
    maps,
    log: log as unknown as Log,
    nameOf: (address) => address === "10.1.0.2" ? "pod shop/web" : undefined,
    clock: { now: () => time, setTimeout: () => 0, clearTimeout: () => {} },
  });
  return {
    report,
    maps,
    /** Counts, looks, and returns what was reported. */
    look(seconds: number, key = "", kind: keyof typeof SHARE_KIND = "SESSIONS") {
      time += seconds * 1000;
      const times = counts.get(key) ?? Object.keys(SHARE_KIND).map(() => 0n);
      times[SHARE_KIND[kind]]!++;
      if (key !== "") counts.set(key, times);
      said.length = 0;
      report.look();
      return [...said];
    },
    gone: () => gone,
    /** Another pod begins at an address whose counts were removed. */
    anew: (key: string) => counts.delete(key),
  };
}

const web = "pod shop/web (10.1.0.2)";

Deno.test("ShareReport names a pod and its share, once in ten minutes for each", () => {
  const { look } = setUp();
  const pod = "10.1.0.2 0";
  assert.deepEqual(look(0, pod), [`${web}: flows beyond its share of sessions`]);
  for (let i = 0; i < 100; i++) assert.deepEqual(look(5, pod), []);
  assert.deepEqual(look(0, pod, "AFFINITY"), [
    `${web}: Services beyond its share of session affinity`,
  ]);
  assert.deepEqual(look(600), []);
  assert.deepEqual(look(0, pod), [`${web}: flows beyond its share of sessions`]);
});

Deno.test("ShareReport knows a pod by its device, too, and addresses outside as such", () => {
  const { look, maps } = setUp();
  assert.deepEqual(look(0, "0.0.0.0 7", "MONITOR"), [
    `${web}: packets beyond its share of pcnk monitor`,
  ]);
  assert.deepEqual(look(0, "0.0.0.0 0", "FRAGMENTS"), [
    "addresses outside this node: fragments beyond its share of datagrams",
  ]);
  assert.deepEqual(readExcess(maps).map(({ address }) => address), ["10.1.0.2", undefined]);
});

Deno.test("ShareReport reports the next pod at an address, however much the former one wanted", () => {
  const { look, anew } = setUp();
  const pod = "10.1.0.2 0";
  for (let i = 0; i < 10; i++) look(5, pod);
  anew(pod);
  look(5);
  assert.deepEqual(look(5, pod), [`${web}: flows beyond its share of sessions`]);
});

Deno.test("ShareReport does not report what was before it, and forgets pods that are gone", () => {
  const { look, report, gone } = setUp();
  look(0, "10.1.0.9 0");
  assert.deepEqual(gone(), ["10.1.0.9"]);
  report.start();
  assert.deepEqual(look(5), []);
});
