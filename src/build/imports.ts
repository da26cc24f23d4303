/**
 * Rules of imports: which part of the tree may import which, no cycles, and a user for every export. Type imports count: they
 * couple two files as much.
 *
 * Limitation: reads the text as deno fmt writes it, not the syntax tree.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/**
 * A part of the tree, and what it may import beside itself, src/net and src/abi. `*`: everything but tests. A test turns red where a
 * permission is not used. Tests beside their source may also use tests/support.
 */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  "main.ts": ["cni", "src/cli"],
  cni: ["src/bpf", "src/linux", "src/node"],
  "src/cli": ["*"],
  install: [
    ...["src/agent", "src/bpf", "src/cluster", "src/config", "src/linux", "src/model"],
    ...["src/node", "src/routing"],
  ],
  "src/ui": ["src/bpf", "src/linux", "src/view"],
  "src/build": [],
  "src/measure": ["src/agent", "src/bpf", "src/lab", "src/linux", "src/model"],
  "src/lab": ["src/bpf", "src/linux", "src/node", "src/view"],
  "src/view": [
    ...["src/bpf", "src/linux", "src/model", "src/netfilter", "src/node", "src/routing"],
    ...["src/services", "src/upkeep"],
  ],
  "src/agent": [
    ...["src/bpf", "src/cluster", "src/config", "src/linux", "src/model", "src/node"],
    ...["src/routing", "src/services", "src/upkeep", "src/vpc"],
  ],
  // What agent and inspecting commands both know of a node's objects.
  "src/upkeep": ["src/bpf", "src/linux", "src/node", "src/routing"],
  // What I/O they do is not with this kernel: files, the Kubernetes API, etcd, a cloud.
  "src/cluster": ["src/model"],
  "src/config": ["src/model"],
  "src/vpc": [],
  // Pure: values in, values out.
  "src/services": ["src/model"],
  "src/routing": ["src/model"],
  "src/model": [],
  "src/bpf": ["src/linux"],
  "src/netfilter": ["src/linux"],
  // A node's files, for plugin, agent, installer and the inspecting commands alike.
  "src/node": ["src/linux"],
  "src/linux": [],
  // They import nothing, and every part may import them: addresses; numbers shared with the eBPF programs.
  "src/net": [],
  "src/abi": [],
  tests: ["*"],
};

/** One import: both paths relative to the root, with `/`. */
interface Import {
  from: string;
  to: string;
}

/** The text of files by their paths, relative to the root, with `/`. */
type Sources = ReadonlyMap<string, string>;

/** Every TypeScript file of the project below `root`. */
export function readSources(root: string): Sources {
  const found = new Map<string, string>();
  const walk = (folder: string) => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && !["node_modules", "dist", ".git"].includes(entry.name)) walk(path);
      else if (entry.isFile() && path.endsWith(".ts")) {
        found.set(path, readFileSync(join(root, path), "utf8"));
      }
    }
  };
  walk("");
  return found;
}

/** All imports between the project's own files. */
export function projectImports(sources: Sources): Import[] {
  return [...sources].flatMap(([path, source]) => importsOf(path, source));
}

/** Relative imports of a module, static and dynamic, as deno fmt writes them. */
export function importsOf(path: string, source: string): Import[] {
  const pattern = /(?:^(?:import|export)\s[^;"']*?from\s+|^import\s+|\bimport\(\s*)"(\.[^"]+)"/gm;
  return [...source.matchAll(pattern)].map(([, to]) => ({ from: path, to: resolve(path, to!) }));
}

const resolve = (path: string, to: string) => normalize(join(dirname(path), to));

/** The part a file belongs to: `src/bpf` for src/bpf/map.ts, `cni` for cni/add.ts. */
export function layerOf(path: string): string {
  const [first = "", second] = path.split("/");
  return first === "src" ? `src/${second}` : first;
}

/** True when the table allows it. A part that the table does not name may import nothing. */
export function isAllowed({ from, to }: Import): boolean {
  const [source, target] = [layerOf(from), layerOf(to)];
  if (source === target || ["src/abi", "src/net"].includes(target)) return true;
  if (target === "tests") return isTest(from) && to.startsWith("tests/support/");
  const allowed = LAYERS[source] ?? [];
  return allowed.includes("*") || allowed.includes(target);
}

/** Permissions that no import needs: `src/a → src/b`. */
export function unusedPermissions(imports: readonly Import[]): string[] {
  const used = new Set(imports.map(({ from, to }) => `${layerOf(from)} → ${layerOf(to)}`));
  return Object.entries(LAYERS).flatMap(([part, allowed]) =>
    allowed.filter((one) => one !== "*").map((one) => `${part} → ${one}`)
  ).filter((one) => !used.has(one));
}

/** Imports between parts. Those of tests are left out: nothing imports a test. */
export function partImports(imports: readonly Import[]): Import[] {
  return imports.filter(({ from }) => !from.endsWith("_test.ts"))
    .map(({ from, to }) => ({ from: layerOf(from), to: layerOf(to) }));
}

/** A circle of each group of files that import each other: `a → b → a`. */
export function circles(imports: readonly Import[]): string[] {
  const next = new Map<string, Set<string>>();
  for (const { from, to } of imports) {
    if (from !== to) next.set(from, (next.get(from) ?? new Set()).add(to));
  }
  const found: string[] = [];
  const done = new Set<string>();
  for (const start of [...next.keys()].sort()) {
    const way = done.has(start) ? undefined : shortestWay(next, start);
    if (way === undefined) continue;
    way.forEach((one) => done.add(one));
    found.push(way.join(" → "));
  }
  return found;
}

/** The shortest way from a file back to itself. */
function shortestWay(next: ReadonlyMap<string, Set<string>>, start: string): string[] | undefined {
  const ways = [[start]], seen = new Set<string>();
  for (const way of ways) { // grows meanwhile
    for (const to of next.get(way.at(-1)!) ?? []) {
      if (to === start) return [...way, start];
      if (seen.has(to)) continue;
      seen.add(to);
      ways.push([...way, to]);
    }
  }
  return undefined;
}

/** A test, or what only tests use, as this file. Benchmarks are none. */
function isTest(path: string): boolean {
  return /^tests\/(?!bench\/)|(_test|_support|build\/imports)\.ts$/.test(path);
}

/**
 * Exports without a user: `path: name`. A user is another file that imports it; a test only where the exporting file itself
 * uses it, too, or is a test's support: what a test alone needs belongs in its support.
 */
export function unusedExports(sources: Sources): string[] {
  const users = new Map<string, "product" | "test">();
  for (const [path, source] of sources) {
    for (const one of importedNames(path, source)) {
      if (!isTest(path)) users.set(one, "product");
      else if (!users.has(one)) users.set(one, "test");
    }
  }
  return [...sources].flatMap(([path, source]) =>
    exportsOf(source).filter((name) => {
      const user = users.get(`${path}: ${name}`) ?? users.get(`${path}: *`);
      if (user !== "test" || isTest(path)) return user === undefined;
      return source.match(new RegExp(`\\b${name}\\b`, "g"))!.length < 2;
    }).map((name) => `${path}: ${name}`)
  );
}

/** Names that a module exports. */
export function exportsOf(source: string): string[] {
  const declared =
    /^export (?:abstract |async )*(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm;
  const listed = /^export (?:type )?\{([^}]*)\}/gm;
  return [
    ...[...source.matchAll(declared)].map(([, name]) => name!),
    ...[...source.matchAll(listed)].flatMap(([, list]) => names(list!).map(({ here }) => here)),
  ];
}

/** What a module imports of the project's own, as `path: name`; `path: *` where it takes everything. */
export function importedNames(path: string, source: string): string[] {
  const found: string[] = [];
  const add = (to: string, name: string) => found.push(`${resolve(path, to)}: ${name}`);
  const lists = [
    /^(?:import|export) (?:type )?\{([^}]*)\} from "(\.[^"]+)"/gm,
    /\{([^{}]*)\} = await import\(\s*"(\.[^"]+)"/g,
  ];
  for (const [, list, to] of lists.flatMap((pattern) => [...source.matchAll(pattern)])) {
    names(list!).forEach(({ there }) => add(to!, there));
  }
  for (const [, to, name] of source.matchAll(/\bimport\(\s*"(\.[^"]+)",?\s*\)+\.(\w+)/g)) {
    add(to!, name!);
  }
  // `() => import("./x.ts")`: its user takes what it likes.
  for (const [, to] of source.matchAll(/\) => import\(\s*"(\.[^"]+)",?\s*\)(?!\))/g)) add(to!, "*");
  const whole = /^(?:import|export) (?:type )?\* (?:as (\w+) )?from "(\.[^"]+)"/gm;
  for (const [, alias, to] of source.matchAll(whole)) {
    if (alias === undefined) add(to!, "*");
    for (const [, name] of source.matchAll(new RegExp(`\\b${alias}\\.(\\w+)`, "g"))) {
      add(to!, name!);
    }
  }
  return found;
}

/** `a, type b as c`: each name where it comes from, and here. */
function names(list: string): { there: string; here: string }[] {
  return list.split(",").map((one) => one.trim().replace(/^type /, "")).filter(Boolean)
    .map((one) => one.split(/ as |: /)).map(([there, here = there]) => (
      { there: there!, here: here! }
    ));
}
