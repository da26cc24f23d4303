/**
 * Makes one minified, split bundle of main.ts. `deno compile` would embed every package of the lock file, imported or
 * not, and every embedded megabyte costs each start about two milliseconds.
 */
import { builtinModules } from "node:module";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BuildOptions, Plugin } from "esbuild";
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

/** CommonJS packages reach for these. Only what uses them gets them: Node's modules cost a CNI call two milliseconds. */
const commonJs = `import {createRequire as __cr} from "node:module";
import {fileURLToPath as __fu} from "node:url";
const require = __cr(import.meta.url), __filename = __fu(import.meta.url), __dirname = import.meta.dirname, global = globalThis;
`;
const usesCommonJs = /\brequire\b|\b__filename\b|\b__dirname\b|\bglobal\b/;

/** The plugin is a file of its own: a CNI call reads that and nothing else, which saves it a millisecond and a half. */
const pluginApart: Plugin = {
  name: "plugin-apart",
  setup(build) {
    build.onResolve(
      { filter: /\/cni\/main\.ts$/ },
      ({ kind }) => kind === "dynamic-import" ? { path: "./cni.js", external: true } : undefined,
    );
  },
};

/** Bundles main.ts into `folder` (emptied first); returns the entry point's path. */
export async function bundle(folder: string): Promise<string> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const common: BuildOptions = {
    absWorkingDir: root,
    outdir: folder,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    target: "esnext",
    legalComments: "none",
    write: false,
    logLevel: "error",
  };
  try {
    const built = await Promise.all([
      esbuild.build({
        ...common,
        entryPoints: ["main.ts"],
        splitting: true,
        plugins: [pluginApart, prefixBuiltins],
      }),
      esbuild.build({
        ...common,
        entryPoints: { cni: "cni/main.ts" },
        plugins: [prefixBuiltins],
      }),
    ]);
    for (const { path, text } of built.flatMap(({ outputFiles }) => outputFiles ?? [])) {
      writeFileSync(path, usesCommonJs.test(text) ? commonJs + text : text);
    }
  } catch (error) {
    throw new BuildError(`esbuild: ${(error as Error).message}`);
  } finally {
    await esbuild.stop();
  }
  return join(folder, "main.js");
}
