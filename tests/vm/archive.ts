/**
 * Packages of other Debian suites and architectures, from the archive that this machine's apt uses: by an apt with a
 * configuration, lists and state of its own for each suite, so that the machine's stay as they are. apt verifies what it
 * downloads.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { run } from "../../src/build/steps.ts";

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "pcnk", "vm");

/** Debian's name of an architecture. */
export type Arch = "amd64" | "arm64";

/** A package that apt has verified and downloaded. */
export interface Package {
  name: string;
  version: string;
  sha256: string;
  file: string;
}

/** One suite for one architecture. */
export class Suite {
  readonly #env: Record<string, string>;
  readonly #folder: string;

  /** @throws {Error} when the machine's apt has no Debian archive, or it is out of reach */
  constructor(readonly name: string, readonly arch: Arch) {
    this.#folder = join(CACHE, "apt", `${name}-${arch}`);
    for (
      const folder of ["etc/preferences.d", "lists/partial", "cache/archives/partial", "debs"]
    ) {
      mkdirSync(join(this.#folder, folder), { recursive: true });
    }
    const keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
    const lines = archives().map(([uri, suffix]) => `deb ${keys} ${uri} ${name}${suffix} main`);
    writeFileSync(join(this.#folder, "etc/sources.list"), lines.join("\n") + "\n");
    writeFileSync(join(this.#folder, "status"), "");
    writeFileSync(join(this.#folder, "apt.conf"), configuration(this.#folder, arch));
    this.#env = { APT_CONFIG: join(this.#folder, "apt.conf"), LC_ALL: "C" };
    // A suite without security updates of its own (sid) is none the worse.
    if (name === "sid") writeFileSync(join(this.#folder, "etc/sources.list"), lines[0] + "\n");
    run("apt-get", ["update", "--quiet=2", "--error-on=any"], { env: this.#env });
  }

  /** Value of a field of the newest version of a package; "" when it has none. */
  field(name: string, field: string): string {
    const text = run("apt-cache", ["show", "--no-all-versions", name], { env: this.#env });
    return new RegExp(`^${field}: (.*)$`, "m").exec(text)?.[1] ?? "";
  }

  /** Names of packages that begin so. */
  names(prefix: string): string[] {
    return run("apt-cache", ["pkgnames", prefix], { env: this.#env }).split("\n");
  }

  /** Downloads packages. */
  download(names: readonly string[]): Package[] {
    const cwd = join(this.#folder, "debs");
    rmSync(cwd, { recursive: true });
    mkdirSync(cwd);
    run("apt-get", ["download", "--quiet=2", ...names], { env: this.#env, cwd });
    const files = [...Deno.readDirSync(cwd)].map((entry) => entry.name);
    return names.map((name) => ({
      name,
      version: this.field(name, "Version"),
      sha256: this.field(name, "SHA256"),
      file: join(cwd, files.find((file) => file.startsWith(`${name}_`))!),
    }));
  }

  /** These packages and all that they depend on, down to libc. */
  closure(names: readonly string[]): string[] {
    const args = ["install", "--simulate", "--no-install-recommends", ...names];
    const text = run("apt-get", args, { env: this.#env });
    return [...text.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name!);
  }

  /** Removes what was downloaded. */
  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}

/** URIs of the archive and of its security updates, as this machine's own suite has them, and what their suites end in. */
function archives(): [uri: string, suffix: "" | "-security"][] {
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  const text = run("apt-get", ["--print-uris", "update"]);
  const found = (["", "-security"] as const).flatMap((suffix) => {
    const uri = new RegExp(`^'(\\S+)/dists/${codename}${suffix}/`, "m").exec(text)?.[1];
    return uri ? [[uri, suffix] as [string, typeof suffix]] : [];
  });
  if (found.length === 0) throw new Error(`apt of this machine has no archive of ${codename}`);
  return found;
}

function configuration(folder: string, arch: Arch): string {
  return Object.entries({
    "Dir::Etc": `${folder}/etc`,
    "Dir::Etc::parts": "/etc/apt/apt.conf.d", // the machine's proxy, and what it accepts
    "Dir::State::lists": `${folder}/lists`,
    "Dir::State::status": `${folder}/status`,
    "Dir::Cache": `${folder}/cache`,
    "APT::Architecture": arch,
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
    "Acquire::Retries": "3",
  }).map(([key, value]) => `${key} "${value}";\n`).join("") +
    `APT::Architectures { "${arch}"; };\n`;
}

/** Unpacks members of a Debian package, by tar's patterns; all of them by default. */
export function unpack(file: string, folder: string, patterns: readonly string[] = []): void {
  mkdirSync(folder, { recursive: true });
  const tar = ["tar", "-x", "-C", `'${folder}'`, "--keep-directory-symlink"];
  if (patterns.length > 0) {
    tar.push(
      "--wildcards",
      "--no-wildcards-match-slash",
      ...patterns.map((pattern) => `'${pattern}'`),
    );
  }
  // tar complains about a pattern without a match; what has to be there is looked for afterwards.
  run("sh", ["-c", `dpkg-deb --fsys-tarfile '${file}' | ${tar.join(" ")} 2>/dev/null || true`]);
}

/** Makes a folder of the cache once: `make` fills it under another name first, so that it is there whole or not at all. */
export function cached(name: string, make: (folder: string) => void): string {
  const folder = join(CACHE, name);
  if (existsSync(folder)) return folder;
  const fresh = `${folder}.${process.pid}`;
  rmSync(fresh, { recursive: true, force: true });
  try {
    make(fresh);
    Deno.renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return folder;
}
