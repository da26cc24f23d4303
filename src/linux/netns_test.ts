import assert from "node:assert/strict";
import { netnsPath } from "./netns.ts";

Deno.test("netnsPath() takes names and no paths", () => {
  assert.equal(netnsPath("node-1"), "/run/netns/node-1");
  for (const name of ["", ".", "..", "a/b", "../x", "a b", "a\n", "x".repeat(201)]) {
    assert.throws(() => netnsPath(name), TypeError, name);
  }
});
