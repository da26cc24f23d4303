/**
 * Which part of the tree may import which: the layers of docs/decisions.md as a table, and what breaks it.
 *
 * Tests beside their source may also use tests/support. Type imports count: they tie two parts together as well.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/** A part of the tree, and what it may import beside itself. `*`: everything but tests. */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  "main.ts": ["cni", "src/cli"],
  cni: ["src/bpf", "src/linux", "src/node"],
  install: ["*"],
  "src/cli": ["*"],
  "src/lab": ["*"],
  "src/view": [
    ...["src/bpf", "src/linux", "src/model", "src/node", "src/routing", "src/services"],
  ],
  "src/ui": ["src/bpf", "src/linux", "src/node", "src/view"],
  "src/build": ["src/measure"], // the pictures in docs/ share the plots' SVG
  "src/measure": [
    ...["src/agent", "src/bpf", "src/lab", "src/linux", "src/model", "src/services"],
  ],
  "src/agent": [
    ...["src/bpf", "src/cluster", "src/config", "src/linux", "src/model", "src/node"],
    ...["src/routing", "src/services", "src/vpc"],
  ],
  // What I/O they do is not with this kernel: files, the Kubernetes API, etcd, a cloud.
  "src/cluster": ["src/model"],
  "src/config": ["src/model"],
  "src/vpc": ["src/model"],
  // Pure: values in, values out.
  "src/services": ["src/model"],
  "src/routing": ["src/model"],
  "src/model": [],
  "src/bpf": ["src/linux"],
  // A node's files, for plugin, agent, installer and the inspecting commands alike.
  "src/node": ["src/linux"],
  "src/linux": [],
  // Addresses: imports nothing, and every part may import it.
  "src/net": [],
  tests: ["*"],
};

/** One import: both paths relative to the root, with `/`. */
export interface Import {
  from: string;
  to: string;
}

/** The part a file belongs to: `src/bpf` for src/bpf/map.ts, `cni` for cni/add.ts. */
export function layerOf(path: string): string {
  const [first = "", second] = path.split("/");
  return first === "src" ? `src/${second}` : first;
}

/** Relative imports of a module, static and dynamic, as deno fmt writes them. */
export function importsOf(path: string, source: string): Import[] {
  const pattern = /(?:^(?:import|export)\s[^;"']*?from\s+|^import\s+|\bimport\(\s*)"(\.[^"]+)"/gm;
  return [...source.matchAll(pattern)].map(([, to]) => ({
    from: path,
    to: normalize(join(dirname(path), to!)),
  }));
}

/** True when the table allows it. A part that the table does not name may import nothing. */
export function isAllowed({ from, to }: Import): boolean {
  const [source, target] = [layerOf(from), layerOf(to)];
  if (source === target || target === "src/net") return true;
  if (target === "tests") return from.endsWith("_test.ts") && to.startsWith("tests/support/");
  const allowed = LAYERS[source] ?? [];
  return allowed.includes("*") || allowed.includes(target);
}

/** All imports between the project's own files below `root`. */
export function projectImports(root: string): Import[] {
  const found: Import[] = [];
  const walk = (folder: string) => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && !["node_modules", "dist", ".git"].includes(entry.name)) walk(path);
      else if (entry.isFile() && path.endsWith(".ts")) {
        found.push(...importsOf(path, readFileSync(join(root, path), "utf8")));
      }
    }
  };
  walk("");
  return found;
}
