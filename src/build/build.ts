/**
 * `deno task build`: eBPF objects, libbpf as one shared object, the page of `pcnk ui`, the bundle, and dist/pcnk out of all that.
 * Unchanged inputs are not built again. Needs clang, gcc and the static libraries that setup.sh installs.
 *
 *   build.ts [--arch amd64|arm64]
 *
 * For another architecture than this machine's it makes dist/pcnk-ARCH. That needs Debian's cross gcc for it, SYSROOT=FOLDER
 * with libbpf-dev, libelf-dev and zlib1g-dev of that architecture unpacked, and a denort (denort.ts). The eBPF objects are
 * the same for both: tests/vm loads those of amd64 into arm64's kernels.
 */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { brotliCompressSync } from "node:zlib";
import { bundle, bundlePage } from "./bundle.ts";
import { type Architecture, ARCHITECTURES, elfMachine, findDenort, OWN } from "./denort.ts";
import { checkLayouts } from "./layout.ts";
import { artifacts, buildObjects, objects } from "./objects.ts";
import { build, BuildError, root, run, sources } from "./steps.ts";

const { values: { arch: wanted } } = parseArgs({
  options: { arch: { type: "string", default: OWN } },
});
const arch = wanted as Architecture;
/** What names of files and steps for another architecture end in. */
const suffix = arch === OWN ? "" : `-${arch}`;

const library = join(`${artifacts}${suffix}`, "libpcnk_bpf.so");
const executable = `dist/pcnk${suffix}`;
/** The page of `pcnk ui`, as src/ui/answer.ts reads it. */
const page = ["ui.html", "ui.css", "ui.js"].map((name) => join(artifacts, name));

async function buildLibrary(): Promise<void> {
  const inputs = ["src/build/libbpf.sh", "src/build/libbpf.map", "src/build/libbpf_shim.c"];
  const foreign = arch === OWN ? undefined : foreignLibraries();
  await build({
    name: `${basename(library)}${suffix}`,
    inputs,
    values: foreign?.hashes ??
      [run("dpkg-query", ["-W", "libbpf-dev", "libelf-dev", "zlib1g-dev"])],
    outputs: [library],
    run: () => void run("sh", ["src/build/libbpf.sh", library], { env: foreign?.env ?? {} }),
  });
}

/** What libbpf.sh needs to link for another architecture, and hashes of what it links. */
function foreignLibraries() {
  const triplet = ARCHITECTURES[arch].target.replace("-unknown", "");
  const sysroot = process.env.SYSROOT ?? "";
  const files = ["libbpf.a", "libelf.a", "libz.a"]
    .map((name) => join(sysroot, "usr/lib", triplet, name));
  const absent = files.find((path) => !existsSync(path));
  if (sysroot === "" || absent !== undefined) {
    const fault = sysroot === "" ? "SYSROOT is not set" : `SYSROOT has no ${absent}`;
    throw new BuildError(
      `${fault}; unpack libbpf-dev, libelf-dev and zlib1g-dev for ${arch} into a folder (dpkg-deb -x) ` +
        `and set SYSROOT to it`,
    );
  }
  return { env: { CROSS: `${triplet}-`, SYSROOT: sysroot }, hashes: files.map(sha256) };
}

const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

async function buildPage(): Promise<void> {
  const [html, css, script] = page as [string, string, string];
  const folder = "src/ui/page";
  await build({
    name: "page",
    inputs: [
      ...sources(folder),
      ...["src/model/svg.ts", "src/view/topology_picture.ts", "src/view/topology_rows.ts"],
    ],
    outputs: page,
    run: async () => {
      writeFileSync(join(root, script), await bundlePage(`${folder}/main.ts`));
      copyFileSync(join(root, folder, "index.html"), join(root, html));
      copyFileSync(join(root, folder, "page.css"), join(root, css));
    },
  });
}

/** What `pcnk version` prints, but for the runtime; read by src/cli/version.ts. */
function buildInfo() {
  const git = (...args: string[]) => {
    try {
      return run("git", args);
    } catch {
      return "";
    }
  };
  const commit = git("rev-parse", "HEAD") || "unknown";
  const dirty = git("status", "--porcelain", "--untracked-files=no") !== "";
  return {
    version: JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version,
    commit: dirty ? `${commit}-dirty` : commit,
    libbpf: run("dpkg-query", ["-W", "-f", "${Version}", "libbpf-dev"]),
    objects: Object.fromEntries(objects.map((path) => [basename(path), sha256(join(root, path))])),
  };
}

async function buildExecutable(): Promise<void> {
  const info = buildInfo();
  const folder = join(root, "dist", `bundle${suffix}`);
  await build({
    name: `pcnk${suffix}`,
    inputs: [
      ...["main.ts", "package-lock.json", library, ...objects, ...page],
      ...sources("src", "cni", "install").filter((path) => !path.startsWith("src/build/libbpf")),
    ],
    values: [JSON.stringify(info), Deno.version.deno, process.env.DENORT_BIN ?? ""],
    outputs: [executable],
    run: async () => {
      await bundle(folder);
      writeFileSync(join(folder, "deno.json"), '{"nodeModulesDir":"none"}');
      const denort = findDenort(arch); // after the bundle, which Deno runs also where there is none
      console.error(`  runtime    ${denort.origin}`);
      const runtime = denort.sha256 ?? `Deno ${Deno.version.deno}'s own download`;
      const whole = { ...info, runtime }; // src/bpf/artifacts.ts has its type
      writeFileSync(join(root, artifacts, "build.json"), JSON.stringify(whole));
      for (const path of [...page, join(artifacts, "build.json")]) {
        copyFileSync(join(root, path), join(folder, "artifacts", basename(path)));
      }
      for (const path of [library, ...objects]) {
        const compressed = brotliCompressSync(readFileSync(join(root, path)));
        writeFileSync(join(folder, "artifacts", `${basename(path)}.br`), compressed); // src/bpf/artifacts.ts reads it
      }
      setTimes(folder); // they are embedded
      // --no-code-cache: the code cache lies in a world-writable folder under a name that can be guessed.
      // A small young generation: the agent with 100,000 backends takes 40 MB less, and nothing gets slower. It collects garbage
      // and shrinks its heap itself (src/agent/agent.ts).
      const args = ["compile", "--quiet", "--no-check", "-A", "--no-code-cache"];
      args.push("--target", ARCHITECTURES[arch].target);
      args.push("--v8-flags=--max-semi-space-size=4,--expose-gc,--no-memory-reducer");
      run(Deno.execPath(), [
        ...args,
        "--include",
        "artifacts",
        "-o",
        join(root, executable),
        "main.js",
      ], {
        cwd: folder,
        env: denort.path ? { DENORT_BIN: denort.path } : {},
      });
      if (arch === OWN) run(join(root, executable), ["version"]);
      else if (elfMachine(readFileSync(join(root, executable))) !== ARCHITECTURES[arch].machine) {
        throw new BuildError(`${executable} is not an executable for ${arch}`);
      }
    },
  });
}

/** The same for every build of one source: two builds are the same bytes. */
function setTimes(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), 0, 0);
  }
}

try {
  if (!Object.hasOwn(ARCHITECTURES, wanted)) {
    throw new BuildError(`--arch ${wanted}: must be amd64 or arm64`);
  }
  if (!existsSync(join(root, "node_modules/esbuild"))) {
    throw new BuildError("node_modules is missing; run npm ci, or npm start, which does all");
  }
  await buildObjects();
  await checkLayouts();
  await buildLibrary();
  await buildPage();
  await buildExecutable();
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(`build: ${error.message}`);
  process.exitCode = 1;
}
