/**
 * Makes one minified, split bundle of main.ts. `deno compile` would embed every package of the lock file, imported or
 * not, and every embedded megabyte costs each start about two milliseconds.
 */
import { builtinModules } from "node:module";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Plugin } from "esbuild";
import * as esbuild from "esbuild";
import { BuildError, root } from "./steps.ts";

const builtins = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));

/** Deno knows Node's modules only with their prefix. */
const prefixBuiltins: Plugin = {
  name: "node-prefix",
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, ({ path }) => {
      if (!builtins.has(path)) return undefined;
      return { path: path.startsWith("node:") ? path : `node:${path}`, external: true };
    });
  },
};

/** CommonJS packages reach for these; Node's timers have unref(), Deno's global ones do not. */
const banner = `import {createRequire as __cr} from "node:module";
import {fileURLToPath as __fu} from "node:url";
const require = __cr(import.meta.url), __filename = __fu(import.meta.url), __dirname = import.meta.dirname, global = globalThis;`;

const nodeGlobals = `export { default as process } from "node:process";
export { Buffer } from "node:buffer";
export { clearImmediate, clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from "node:timers";`;

/** Bundles main.ts into `folder` (emptied first); returns the entry point's path. */
export async function bundle(folder: string): Promise<string> {
  rmSync(folder, { recursive: true, force: true });
  const inject = join(root, "dist", "node-globals.js");
  writeFileSync(inject, nodeGlobals);
  try {
    await esbuild.build({
      absWorkingDir: root,
      entryPoints: ["main.ts"],
      outdir: folder,
      bundle: true,
      splitting: true,
      minify: true,
      format: "esm",
      platform: "node",
      target: "esnext",
      legalComments: "none",
      plugins: [prefixBuiltins],
      inject: [inject],
      banner: { js: banner },
      logLevel: "error",
    });
  } catch (error) {
    throw new BuildError(`esbuild: ${(error as Error).message}`);
  } finally {
    await esbuild.stop();
  }
  return join(folder, "main.js");
}
