import assert from "node:assert/strict";
import { errnoName, errnoText } from "./errno.ts";

Deno.test("errnoName() and errnoText() know Linux's numbers", () => {
  assert.equal(errnoName(2), "ENOENT");
  assert.equal(errnoText(2), "no such file or directory");
  assert.equal(errnoName(11), "EAGAIN");
  assert.equal(errnoName(95), "EOPNOTSUPP");
  assert.equal(errnoName(524), "ENOTSUPP");
});

Deno.test("errnoName() and errnoText() say a number that has no name", () => {
  assert.equal(errnoName(4711), "E4711");
  assert.equal(errnoText(4711), "error 4711");
});
