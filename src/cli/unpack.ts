/**
 * In the executable: runs the command line out of `modules.bin`, the archive of compressed modules that src/build/pack.ts makes.
 * Deno reads every embedded byte at every start, and a CNI call shall not pay for what only commands use. A module is
 * decompressed when another one imports it.
 *
 * The modules are CommonJS, as Deno's compiled programs import neither blob URLs nor anything else that is not a file.
 */
import { createRequire } from "node:module";
import { brotliDecompressSync } from "node:zlib";
import type { Index } from "../build/pack.ts";

interface Module {
  exports: unknown;
}

const decoder = new TextDecoder();
const requireBuiltin = createRequire(import.meta.url);
const bytes = Deno.readFileSync(`${import.meta.dirname}/artifacts/modules.bin`);
const start = 4 + new DataView(bytes.buffer).getUint32(0);
const index: Index = JSON.parse(decoder.decode(bytes.subarray(4, start)));
const importMeta = { url: import.meta.url, dirname: import.meta.dirname };
const modules = new Map<string, Module>();

/** A module of the archive (`./name.js`) or one of Node's; evaluated once. */
function require(specifier: string): unknown {
  const known = modules.get(specifier);
  if (known) return known.exports;
  const found = index[specifier];
  if (!found) return requireBuiltin(specifier);
  const at = start + found.offset;
  const text = decoder.decode(brotliDecompressSync(bytes.subarray(at, at + found.size)));
  const module: Module = { exports: {} };
  modules.set(specifier, module);
  evaluate(text)(require, module, module.exports, importMeta);
  return module.exports;
}

/** In parentheses: V8 compiles such a function at once, not after a first pass that only looks for its end. */
function evaluate(text: string): (...names: unknown[]) => void {
  return (0, eval)(`(function(require,module,exports,importMeta){${text}\n})`);
}

/** In a worker (src/cluster/piece_worker.ts) its module runs. */
const entry = "DedicatedWorkerGlobalScope" in globalThis ? "./parse_worker.js" : "./main.js";

/** src/cli/main.ts's. */
export const { runCli } = require(entry) as typeof import("./main.ts");
