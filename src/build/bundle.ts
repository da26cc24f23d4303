/**
 * Makes one minified, split bundle of main.ts. `deno compile` would embed every package of the lock file, imported or
 * not, and every embedded megabyte costs each start about two milliseconds.
 */
import { builtinModules } from "node:module";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

/**
 * Of the AWS SDK's one table of all shapes of EC2 only what is used: computed keys (`[_xN]: …`) look to
 * esbuild like code with effects, and keep the whole table. 1.4 MB become 0.33.
 */
const trimAws: Plugin = {
  name: "trim-aws",
  setup(build) {
    build.onLoad({ filter: /@aws-sdk\/client-ec2\/.*\/schemas_\d+\.js$/ }, ({ path }) => {
      const source = readFileSync(path, "utf8");
      const names = new Map(
        [...source.matchAll(/^const (_\w+) = ("[^"]*");$/gm)].map((
          [, name, value],
        ) => [name!, value!]),
      );
      const contents = source.replaceAll(
        /\[(_\w+)\]:/g,
        (key, name) => `${names.get(name) ?? key}:`,
      );
      return { contents, loader: "js" };
    });
  },
};

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
        mainFields: ["module", "main"], // ES modules where there is a choice: of CommonJS nothing can be left out
        plugins: [pluginApart, prefixBuiltins, trimAws],
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

/** The page of `pcnk ui` (src/ui/page): its modules as one script for a browser; returns it. */
export async function bundlePage(entry: string): Promise<string> {
  try {
    const { outputFiles } = await esbuild.build({
      absWorkingDir: root,
      entryPoints: [entry],
      bundle: true,
      minify: true,
      format: "esm",
      platform: "browser",
      target: ["chrome100", "firefox100", "safari15.4"],
      legalComments: "none",
      write: false,
      logLevel: "error",
    });
    return outputFiles[0]!.text;
  } catch (error) {
    throw new BuildError(`esbuild: ${(error as Error).message}`);
  } finally {
    await esbuild.stop();
  }
}
