import assert from "node:assert/strict";
import { type SyncedMap, syncMap } from "./sync.ts";

/** Entries by the key's text, and what was done to them. */
function fakeMap(entries: [{ addr: string }, number][]) {
  const held = new Map(entries.map(([key, value]) => [key.addr, value]));
  const done: string[] = [];
  const map: SyncedMap<{ addr: string }, number> = {
    entries: () => [...held].map(([addr, value]) => [{ addr }, value]),
    set(key, value) {
      done.push(`set ${key.addr}`);
      held.set(key.addr, value);
    },
    delete(key) {
      done.push(`delete ${key.addr}`);
      return held.delete(key.addr);
    },
  };
  return { map, held, done };
}

Deno.test("syncMap() sets what is missing or different, removes the rest, leaves what is right", () => {
  const { map, held, done } = fakeMap([[{ addr: "a" }, 1], [{ addr: "b" }, 2], [{ addr: "c" }, 3]]);
  const desired = [[{ addr: "a" }, 1], [{ addr: "b" }, 5], [{ addr: "d" }, 4]] as const;
  assert.equal(syncMap(map, desired), 3);
  assert.deepEqual(done, ["set b", "set d", "delete c"]);
  assert.deepEqual([...held], [["a", 1], ["b", 5], ["d", 4]]);
  assert.equal(syncMap(map, desired), 0);
});

Deno.test("syncMap() takes keys for equal whatever the order of their members", () => {
  const deleted: unknown[] = [];
  const map: SyncedMap<{ addr: string; length: number }, number> = {
    entries: () => [[{ length: 24, addr: "a" }, 1]],
    set: () => assert.fail("it is there"),
    delete: (key) => deleted.push(key) > 0,
  };
  assert.equal(syncMap(map, [[{ addr: "a", length: 24 }, 1]]), 0);
  assert.deepEqual(deleted, []);
});
