/**
 * What tests could leave behind on a machine: links, namespaces, mounts, cgroups, processes. The gate compares a
 * snapshot before each suite with one after it.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";

/** One line a thing, e.g. `namespace pcnk-t-1`. */
export function snapshot(): Set<string> {
  return new Set([
    ...names("/sys/class/net").map((name) => `link ${name}`),
    ...names("/run/netns").map((name) => `namespace ${name}`),
    ...mounts(),
    ...processes(),
  ]);
}

/** What `after` has and `before` had not, sorted. */
export function leftovers(before: Set<string>, after: Set<string>): string[] {
  return [...after].filter((line) => !before.has(line)).sort();
}

function names(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** All mount points, and the cgroups below each cgroup2 mount. */
function mounts(): string[] {
  const found: string[] = [];
  for (const line of readFileSync("/proc/self/mounts", "utf8").trim().split("\n")) {
    const [, target = "", type = ""] = line.split(" ");
    if (target === "/run/netns") continue; // stays a mount of its own, as `ip netns` leaves it
    found.push(`mount ${type} ${target}`);
    if (type !== "cgroup2") continue;
    for (const entry of readdirSync(target, { withFileTypes: true })) {
      if (entry.isDirectory()) found.push(`cgroup ${join(target, entry.name)}`);
    }
  }
  return found;
}

/** Processes of the executable under test. */
function processes(): string[] {
  const found: string[] = [];
  for (const pid of names("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const path = realpathSync(`/proc/${pid}/exe`);
      if (!path.endsWith("/pcnk")) continue;
      const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").trim();
      found.push(`process ${pid} ${args}`);
    } catch {
      // It ended meanwhile, or is a kernel thread.
    }
  }
  return found;
}
