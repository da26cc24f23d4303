import assert from "node:assert/strict";
import { root } from "../../tests/support/needs.ts";
import { commandAt, enter } from "./spawn.ts";

Deno.test("enter() passes words as arguments, not as shell text", () => {
  const words = enter({ netnsPath: "/run/netns/x", cgroup: null }, ["echo", "$(id)", "a b"]);
  assert.deepEqual(words.slice(0, 3), ["nsenter", "--net=/run/netns/x", "--"]);
  assert.deepEqual(words.slice(-5), ["", "", "echo", "$(id)", "a b"]);
});

Deno.test({
  name: "commandAt() hands over output and exit code, and the log takes standard error",
  ignore: !root(),
  fn: async () => {
    const log = await Deno.makeTempFile();
    try {
      const place = { netnsPath: "/proc/self/ns/net", cgroup: null };
      const script = 'echo "$0"; echo bad >&2; exit 7';
      const run = commandAt(place, ["sh", "-c", script, "a b$HOME"], { log });
      const { code, stdout } = await run.output();
      assert.equal(code, 7);
      assert.equal(new TextDecoder().decode(stdout), "a b$HOME\n");
      assert.equal(await Deno.readTextFile(log), "bad\n");
    } finally {
      await Deno.remove(log);
    }
  },
});

Deno.test({
  name: "commandAt() does not run anything outside the cgroup it was meant for",
  ignore: !root(),
  fn: async () => {
    const place = { netnsPath: "/proc/self/ns/net", cgroup: "/nonexistent" };
    const { code, stdout } = await commandAt(place, ["echo", "ran"]).output();
    assert.equal(code, 125);
    assert.equal(stdout.length, 0);
  },
});
