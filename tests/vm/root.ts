/** What a virtual machine's programs come from: this machine's own files, or those of Debian packages for arm64. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { root as checkout, run } from "../../src/build/steps.ts";
import { type Arch, cached, Suite, unpack } from "./archive.ts";
import type { Root } from "./boot.ts";

/** A root, and how the project's own programs are called in it. */
export interface TestRoot extends Root {
  /** Words that start Deno and pcnk. */
  deno: string;
  pcnk: string;
  /** What has to be done first. */
  prepare: string;
}

/** Why this machine can boot no virtual machine of this architecture; undefined when it can. */
export function missing(arch: Arch): string | undefined {
  const needed = arch === "amd64"
    ? ["qemu-system-x86_64", "busybox"]
    : ["qemu-system-aarch64", "busybox", "aarch64-linux-gnu-gcc"];
  const absent = needed.find((name) => !existsSync(`/usr/bin/${name}`));
  if (absent) return `needs ${absent}; src/build/setup.sh test:vm installs it`;
  if (process.getuid?.() !== 0) return "needs root";
  return undefined;
}

/** The root of a machine of this architecture. */
export function root(arch: Arch): TestRoot {
  return arch === "amd64" ? own() : foreign();
}

function own(): TestRoot {
  const deno = Deno.realPathSync(Deno.execPath());
  const pcnk = join(checkout, "dist/pcnk");
  const artifacts = [...Deno.readDirSync(join(checkout, "dist/artifacts"))]
    .map(({ name }) => join(checkout, "dist/artifacts", name));
  return {
    folder: "/",
    busybox: "/usr/bin/busybox",
    large: [deno, pcnk, ...artifacts],
    deno,
    pcnk,
    prepare: ":",
  };
}

/** The Deno that npm has for arm64 and that is nearest to the one of package.json. */
const DENO = {
  name: "@deno/linux-arm64-glibc@2.7.7",
  integrity:
    "sha512-Qz206Lr/UE9OkKsGHiWdSUdh6GORUqwhIuUH554sTI8fv2+Tlh+I+w/7pZ1i2XSe65nkVJPVxGlJjxWK+OZNJg==",
};

const PACKAGES = [
  ...["dash", "coreutils", "grep", "sed", "hostname", "mount", "util-linux", "busybox-static"],
  ...["libstdc++6", "iproute2", "iptables", "nftables", "containernetworking-plugins"],
];

/** What libpcnk_bpf.so is linked from. */
const LIBRARIES = ["libbpf-dev", "libelf-dev", "zlib1g-dev"];

/** Debian of this machine's release for arm64, and Deno. pcnk runs from source there: npm has no denort for arm64. */
function foreign(): TestRoot {
  const folder = cached("root-arm64", (folder) => {
    // Packages have files below /bin and below /usr/bin.
    for (const name of ["bin", "sbin", "lib"]) {
      mkdirSync(join(folder, "usr", name), { recursive: true });
      symlinkSync(`usr/${name}`, join(folder, name));
    }
    using suite = new Suite("bookworm", "arm64");
    for (const { file } of suite.download(suite.closure([...PACKAGES, ...LIBRARIES]))) {
      unpack(file, folder);
    }
    // As update-alternatives does on installation.
    for (const name of ["iptables", "iptables-save", "iptables-restore"]) {
      symlinkSync("xtables-nft-multi", join(folder, "usr/sbin", name));
    }
    for (const name of ["tmp", "run", "proc", "sys", "dev", "root"]) {
      mkdirSync(join(folder, name), { recursive: true });
    }
    writeFileSync(join(folder, "etc/hosts"), "127.0.0.1 localhost\n");
    unpackDeno(join(folder, "opt"));
  });
  const library = "dist/vm/libpcnk_bpf.so";
  run("sh", ["src/build/libbpf.sh", library], {
    env: { CROSS: "aarch64-linux-gnu-", SYSROOT: folder },
  });
  const deno = "/opt/deno";
  return {
    folder,
    busybox: join(folder, "bin/busybox"),
    large: [deno],
    deno,
    pcnk: `${deno} run -A --quiet main.ts`,
    prepare: `mount --bind ${library} dist/artifacts/libpcnk_bpf.so`,
  };
}

function unpackDeno(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const [made] = JSON.parse(
    run("npm", ["pack", "--json", "--pack-destination", folder, DENO.name]),
  );
  const archive = join(folder, made.filename);
  const hash = createHash("sha512").update(readFileSync(archive)).digest("base64");
  if (`sha512-${hash}` !== DENO.integrity) {
    throw new Error(`${DENO.name}: integrity sha512-${hash}`);
  }
  run("tar", ["-xzf", archive, "-C", folder, "--strip-components=1", "package/deno"]);
  Deno.removeSync(archive);
}
