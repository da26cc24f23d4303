/**
 * Makes minified bundles of what the executable runs: the entry and the CNI plugin as they are, the command line as an archive of
 * compressed modules. `deno compile` would embed every package of the lock file, imported or not, and every embedded
 * megabyte costs each start about two milliseconds.
 */
import { builtinModules } from "node:module";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { BuildOptions, Plugin } from "esbuild";
import * as esbuild from "esbuild";
import { pack } from "./pack.ts";
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

/** CommonJS packages reach for these; `require` is there (src/cli/unpack.ts). */
const commonJs = `import {fileURLToPath as __fu} from "node:url";
const __filename = __fu(importMeta.url), __dirname = importMeta.dirname, global = globalThis;
`;
const usesCommonJs = /\b__filename\b|\b__dirname\b|\bglobal\b/;

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

/** The entry's roles are files beside it: a CNI call reads the plugin and nothing else. */
const rolesApart: Plugin = {
  name: "roles-apart",
  setup(build) {
    const beside = (filter: RegExp, path: string) =>
      build.onResolve(
        { filter },
        ({ kind }) => kind === "dynamic-import" ? { path, external: true } : undefined,
      );
    beside(/\/cni\/main\.ts$/, "./cni.js");
    beside(/\/cni\/version\.ts$/, "./version.js");
    beside(/^\.\/src\/cli\/main\.ts$/, "./unpack.js");
  },
};

/** Bundles main.ts into `folder` (emptied first), beside `artifacts/modules.bin`. */
export async function bundle(folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, "artifacts"), { recursive: true });
  const common: BuildOptions = {
    absWorkingDir: root,
    outdir: folder,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    target: "esnext",
    legalComments: "none",
    logLevel: "error",
    plugins: [rolesApart, prefixBuiltins, trimAws],
  };
  try {
    const [commands] = await Promise.all([
      esbuild.build({
        ...common,
        entryPoints: { main: "src/cli/main.ts", parse_worker: "src/cluster/parse_worker.ts" },
        splitting: true,
        mainFields: ["module", "main"], // ES modules where there is a choice: of CommonJS nothing can be left out
        define: { "import.meta": "importMeta" }, // src/cli/unpack.ts passes it
        write: false,
      }),
      esbuild.build({
        ...common,
        entryPoints: {
          main: "main.ts",
          cni: "cni/main.ts",
          version: "cni/version.ts",
          unpack: "src/cli/unpack.ts",
        },
      }),
    ]);
    const modules = commands.outputFiles!.map(({ path, text }) =>
      [basename(path), usesCommonJs.test(text) ? commonJs + text : text] as const
    );
    writeFileSync(join(folder, "artifacts/modules.bin"), await pack(new Map(modules)));
  } catch (error) {
    throw new BuildError(`esbuild: ${(error as Error).message}`);
  } finally {
    await esbuild.stop();
  }
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
