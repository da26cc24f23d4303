/** Debian's kernels, unpacked in the cache: one a suite and architecture, as new as the suite was when it was fetched. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../src/build/steps.ts";
import { type Arch, cached, type Package, Suite, unpack } from "./archive.ts";

/** The kernels that pcnk is tested on, oldest first, by the suites that have them. */
export const SUITES = {
  "5.10": "bullseye",
  "6.1": "bookworm",
  "6.12": "trixie",
  newest: "sid",
} as const;

/** One of them. */
export interface Kernel {
  /** As `uname -r` says it. */
  release: string;
  /** Debian's version. */
  version: string;
  arch: Arch;
  /** What a boot loader loads. */
  image: string;
  /** Holds lib/modules/RELEASE. */
  folder: string;
  /** SHA-256 of each package it came from, as apt verified it. */
  packages: Record<string, string>;
}

/** What is kept of a kernel package; most of the rest are drivers of hardware. Since trixie it lies below usr. */
const MEMBERS = [
  "./boot/vmlinuz-*",
  ...["./lib/modules/*", "./usr/lib/modules/*"].flatMap((folder) => [
    ...["vmlinuz", "modules.*"].map((name) => `${folder}/${name}`),
    ...["net", "fs", "lib", "crypto", "arch", "drivers/virtio", "drivers/char/hw_random"]
      .map((name) => `${folder}/kernel/${name}`),
    ...["*.ko*", "vxlan", "wireguard", "bonding", "ipvlan"]
      .map((name) => `${folder}/kernel/drivers/net/${name}`),
  ]),
];

/**
 * Fetches the newest kernel of a suite, or finds it in the cache.
 * @throws {Error} when the archive has none or is out of reach
 */
export function kernel(name: keyof typeof SUITES, arch: Arch): Kernel {
  const folder = cached(`linux-${name}-${arch}`, (folder) => {
    using suite = new Suite(SUITES[name], arch);
    const packages = newest(suite);
    for (const { file } of packages) unpack(file, folder, MEMBERS);
    writeFileSync(join(folder, "packages.json"), JSON.stringify(packages, null, 2));
    usrMerged(folder);
    const [release] = readdirSync(join(folder, "lib/modules"));
    run("sh", ["-c", `find '${folder}' -name '*.ko.xz' -exec xz -d {} +`]);
    run("busybox", ["depmod", "-b", folder, release!]);
  });
  const [release] = readdirSync(join(folder, "lib/modules"));
  const modules = join(folder, "lib/modules", release!);
  const packages = JSON.parse(readFileSync(join(folder, "packages.json"), "utf8"));
  return {
    release: release!,
    version: packages[0].version,
    arch,
    image: [join(folder, "boot", `vmlinuz-${release}`), join(modules, "vmlinuz")].find(existsSync)!,
    folder,
    packages: Object.fromEntries(
      packages.map((each: { name: string; sha256: string }) => [each.name, each.sha256]),
    ),
  };
}

/** Downloads the newest kernel that the archive really has: long-term updates are at times listed and not there. */
function newest(suite: Suite): Package[] {
  const image = `linux-image-${suite.arch}`;
  const [, ...others] = suite.names("linux-image-")
    .filter((name) => new RegExp(`^linux-image-[0-9][^-]*(-[0-9]+)?-${suite.arch}$`).test(name))
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  let first: unknown;
  for (const name of [image, ...others]) {
    try {
      return suite.download(parts(suite, name));
    } catch (error) {
      first ??= error;
    }
  }
  throw first;
}

/** The packages of a kernel: what linux-image-ARCH points to, in one piece or in parts. */
function parts(suite: Suite, name: string): string[] {
  const needs = suite.field(name, "Depends").split(/[,|]/).map((each) =>
    each.trim().split(" ")[0]!
  );
  const found = needs.filter((each) => /^linux-(image|binary|modules)-/.test(each))
    .flatMap((each) => parts(suite, each));
  return name === `linux-image-${suite.arch}` ? found : [name, ...found];
}

/** Suites since trixie have their modules below usr/lib. */
function usrMerged(folder: string): void {
  try {
    Deno.renameSync(join(folder, "usr/lib"), join(folder, "lib"));
    rmSync(join(folder, "usr"), { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
