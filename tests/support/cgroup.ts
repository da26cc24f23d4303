/** A cgroup of the test's own. The root's processes are everybody's, so nothing is ever attached there. */
import { execFileSync } from "node:child_process";
import { umount } from "../../src/linux/mount.ts";
import type { Sandbox } from "./sandbox.ts";

let count = 0;

/** Mounts the cgroup v2 hierarchy at a directory. */
export function mountCgroup2(path: string): void {
  execFileSync("mount", ["-t", "cgroup2", "cgroup2", path]);
}

/** Where the machine has its cgroup v2 hierarchy; undefined when it has none mounted. */
function hierarchy(): string | undefined {
  return Deno.readTextFileSync("/proc/self/mounts").split("\n")
    .map((line) => line.split(" "))
    .find(([, , type]) => type === "cgroup2")?.[1];
}

/** A fresh cgroup, removed with the sandbox; its processes must have ended by then. */
export function testCgroup(sandbox: Sandbox): string {
  let root = hierarchy();
  if (root === undefined) {
    root = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
    const mount = root;
    sandbox.defer(() => Deno.removeSync(mount));
    mountCgroup2(mount);
    sandbox.defer(() => umount(mount, { lazy: true }));
  }
  const path = `${root}/pcnk-t-${Deno.pid}-${++count}`;
  Deno.mkdirSync(path);
  sandbox.defer(() => removeCgroup(path));
  return path;
}

/** Removes a cgroup, if it is still there. */
export function removeCgroup(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
