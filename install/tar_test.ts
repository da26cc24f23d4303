import assert from "node:assert/strict";
import { tar } from "./tar.ts";
import { TempFolder } from "../tests/support/folder.ts";

Deno.test("tar() makes what tar(1) reads", () => {
  const archive = tar([
    { path: "a", mode: 0o755, directory: true },
    { path: "a/b", mode: 0o640, content: new TextEncoder().encode("hello\n") },
    { path: "a/empty", mode: 0o644, content: new Uint8Array() },
    { path: "a/link", target: "b" },
  ]);
  using temporary = new TempFolder();
  const folder = temporary.path;
  Deno.writeFileSync(`${folder}/x.tar`, archive);
  const { success, stderr } = new Deno.Command("tar", {
    args: ["-xf", "x.tar"],
    cwd: folder,
    stderr: "piped",
  }).outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
  assert.equal(Deno.readTextFileSync(`${folder}/a/link`), "hello\n");
  assert.equal(Deno.statSync(`${folder}/a/b`).mode! & 0o777, 0o640);
  assert.equal(Deno.statSync(`${folder}/a/empty`).size, 0);
});

Deno.test("tar() refuses a path that it cannot write", () => {
  const path = "x".repeat(101);
  assert.throws(() => tar([{ path, mode: 0o644, content: new Uint8Array() }]), RangeError);
});
