import assert from "node:assert/strict";
import { findPlugins, findPrograms, requireRoot } from "./preflight.ts";

Deno.test("findPlugins() takes the first folder that has all", () => {
  const there = new Set(["/a/bridge", "/b/bridge", "/b/host-local", "/b/portmap"]);
  assert.equal(findPlugins(["/a", "/b"], (path) => there.has(String(path))), "/b");
});

Deno.test("findPlugins() names the Debian package when there are none", () => {
  assert.throws(() => findPlugins(["/a"], () => false), /bridge.*containernetworking-plugins/);
});

Deno.test("findPrograms() names program and package", () => {
  assert.throws(() => findPrograms("/bin:/sbin", () => false), /nsenter.*util-linux/);
  findPrograms("/bin:/sbin", (path) => String(path).startsWith("/sbin/"));
});

Deno.test("requireRoot() lets only root pass", () => {
  assert.throws(() => requireRoot(1000), /needs root/);
  requireRoot(0);
});
