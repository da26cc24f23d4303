/**
 * `deno task image`: makes pcnk's container image out of dist/pcnk and files of Debian packages, without a container
 * engine and without network.
 *
 *   image.ts [--tag NAME:TAG] [--out FILE.tar] [--tree DIR]
 *
 * The archive is an OCI image layout with Docker's manifest.json beside it: `ctr images import`, `docker load`, `podman
 * load` and `skopeo` all take it. `--tree` also writes the image's files into a folder, for install/Containerfile.
 *
 * It prints the image's digest, which names these bytes and no others: `ctr images import --digests`, skopeo and crane keep
 * it. Beside it: FILE.digest, FILE.cdx.json, a bill of materials (sbom.ts), and SHA256SUMS of FILE.tar, of that and of dist/pcnk.
 *
 * In it: pcnk, the reference plugins (for nodes that have none), and the C library that both need. No shell.
 * Limitation: for the architecture of the machine that it runs on.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { type DebianPackage, sbom } from "./sbom.ts";
import { PLUGIN_FOLDERS, SHIPPED_PLUGINS } from "../src/node/conflist.ts";
import { tar, type TarEntry } from "./tar.ts";

const root = new URL("../", import.meta.url).pathname.replace(/\/$/, "");

/** Where pcnk lies in the image, and the plugins. */
const EXECUTABLE = "usr/bin/pcnk";
const PLUGINS = "usr/lib/cni";

/** Folders that something is mounted on, and those that programs expect. */
const FOLDERS = ["etc/pcnk", "opt/cni/bin", "run", "var/lib/cni", "proc", "sys", "dev"];

class ImageError extends Error {}

/** All files of the image. @throws {ImageError} telling which package is missing */
function imageFiles(executable: string): TarEntry[] {
  if (!existsSync(executable)) throw new ImageError(`${executable} is not there: deno task build`);
  const folder = PLUGIN_FOLDERS.find((one) => existsSync(join(one, "bridge")));
  if (folder === undefined) {
    throw new ImageError(
      "the reference plugins are missing: apt install containernetworking-plugins",
    );
  }
  const programs = [
    { from: executable, to: EXECUTABLE },
    ...SHIPPED_PLUGINS.map((name) => ({ from: join(folder, name), to: `${PLUGINS}/${name}` })),
  ];
  const libraries = new Set(programs.flatMap(({ from }) => librariesOf(from)));
  const files = [
    ...programs,
    ...[...libraries].sort().map((path) => ({ from: path, to: path.slice(1) })),
  ].map(({ from, to }): TarEntry => ({
    path: to,
    mode: 0o755,
    content: readFileSync(realpathSync(from)),
  }));
  const texts = Object.entries({
    "etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
  }).map(([path, text]): TarEntry => ({
    path,
    mode: 0o644,
    content: new TextEncoder().encode(text),
  }));
  return withFolders([...files, ...texts]);
}

/** Shared libraries of a program and the loader, by the paths under which it looks for them. */
function librariesOf(program: string): string[] {
  const { success, stdout } = new Deno.Command("ldd", {
    args: [program],
    env: { LC_ALL: "C" },
    stderr: "null",
  }).outputSync();
  if (!success) return []; // linked statically
  return [...new TextDecoder().decode(stdout).matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path!);
}

function withFolders(files: TarEntry[]): TarEntry[] {
  const folders = new Set<string>(["tmp"]);
  for (const path of [...FOLDERS.map((one) => `${one}/x`), ...files.map((file) => file.path)]) {
    for (let at = dirname(path); at !== "."; at = dirname(at)) folders.add(at);
  }
  const entries = [...folders].sort().map((path): TarEntry => ({
    path,
    mode: path === "tmp" ? 0o1777 : 0o755,
    directory: true,
  }));
  return [...entries, ...files.sort((a, b) => (a.path < b.path ? -1 : 1))];
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The image as an archive. */
function imageArchive(
  files: readonly TarEntry[],
  tag: string,
): { archive: Uint8Array; digest: string } {
  const layer = tar(files);
  const packed = gzipSync(layer, { level: 6 });
  const architecture = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
  const config = json({
    architecture,
    os: "linux",
    created: "1970-01-01T00:00:00Z",
    config: {
      Env: ["PATH=/usr/bin"],
      Entrypoint: ["pcnk"],
      Labels: { "org.opencontainers.image.licenses": "Apache-2.0" },
    },
    rootfs: { type: "layers", diff_ids: [`sha256:${sha256(layer)}`] },
    history: [{ created: "1970-01-01T00:00:00Z", created_by: "install/image.ts" }],
  });
  const oci = "application/vnd.oci.image";
  const manifest = json({
    schemaVersion: 2,
    mediaType: `${oci}.manifest.v1+json`,
    config: descriptor(`${oci}.config.v1+json`, config),
    layers: [descriptor(`${oci}.layer.v1.tar+gzip`, packed)],
  });
  const index = json({
    schemaVersion: 2,
    mediaType: `${oci}.index.v1+json`,
    manifests: [{
      ...descriptor(`${oci}.manifest.v1+json`, manifest),
      platform: { architecture, os: "linux" },
      annotations: {
        "io.containerd.image.name": tag,
        "org.opencontainers.image.ref.name": tag.split(":").at(-1),
      },
    }],
  });
  const docker = json([{ Config: blob(config), RepoTags: [tag], Layers: [blob(packed)] }]);
  const file = (path: string, content: Uint8Array): TarEntry => ({ path, mode: 0o644, content });
  const archive = tar([
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    file("index.json", index),
    file("manifest.json", docker),
    ...[config, manifest, packed].map((bytes) => file(blob(bytes), bytes)),
  ]);
  return { archive, digest: `sha256:${sha256(manifest)}` };
}

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const blob = (bytes: Uint8Array) => `blobs/sha256/${sha256(bytes)}`;

function descriptor(mediaType: string, bytes: Uint8Array) {
  return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length };
}

/** Writes the image's files into a folder, which it replaces. */
function writeTree(files: readonly TarEntry[], folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  for (const entry of files) {
    const path = join(folder, entry.path);
    if ("directory" in entry) mkdirSync(path, { recursive: true });
    else if ("target" in entry) symlinkSync(entry.target, path);
    else writeFileSync(path, entry.content);
    if ("mode" in entry) chmodSync(path, entry.mode); // whatever umask says
  }
}

/** The Debian packages that files come from. */
function packagesOf(paths: readonly string[]): DebianPackage[] {
  const owners = new Set(paths.flatMap((path) => {
    // Where /lib is a link to /usr/lib, dpkg knows the one or the other name.
    const names = [path, path.replace(/^\/usr/, ""), `/usr${path}`];
    const owner = names.map((one) => ask("dpkg-query", "-S", one)).find((text) => text !== "");
    return owner?.split(/:? /)[0]?.split(":")[0] ?? [];
  }));
  return [...owners].sort().map((name) => {
    const [version = "", architecture = ""] = ask(
      "dpkg-query",
      "-W",
      "-f",
      "${Version} ${Architecture}\n",
      name,
    ).split("\n")[0]!.split(" ");
    return { name, version, architecture };
  });
}

function ask(command: string, ...args: string[]): string {
  const { success, stdout } = new Deno.Command(command, { args, stderr: "null" }).outputSync();
  return success ? new TextDecoder().decode(stdout) : "";
}

/** The bill of materials of an image with this executable. */
function materials(executable: string): string {
  const { packages: locked } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const folder = PLUGIN_FOLDERS.find((one) => existsSync(join(one, "bridge")))!;
  const plugins = SHIPPED_PLUGINS.map((name) => join(folder, name));
  const libraries = [executable, ...plugins].flatMap(librariesOf);
  return sbom({
    build: JSON.parse(ask(executable, "version", "--json")),
    sha256: sha256(readFileSync(executable)),
    locked,
    debian: packagesOf([...plugins, ...libraries].map((path) => realpathSync(path))),
  });
}

function main(): void {
  const { values } = parseArgs({
    options: {
      tag: { type: "string" },
      out: { type: "string" },
      tree: { type: "string" },
    },
  });
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const tag = values.tag ?? `localhost/pcnk:${version}`;
  const out = values.out ?? join(root, "dist", "pcnk-image.tar");
  const executable = join(root, "dist", "pcnk");
  const files = imageFiles(executable);
  if (values.tree !== undefined) writeTree(files, values.tree);
  const { archive, digest } = imageArchive(files, tag);
  writeFileSync(out, archive);
  const bill = `${out.replace(/\.tar$/, "")}.cdx.json`;
  writeFileSync(bill, materials(executable));
  const sums = [executable, out, bill].map((path) =>
    `${sha256(readFileSync(path))}  ${basename(path)}\n`
  );
  writeFileSync(join(dirname(out), "SHA256SUMS"), sums.join(""));
  writeFileSync(`${out.replace(/\.tar$/, "")}.digest`, `${digest}\n`);
  const name = tag.replace(/:[^/]*$/, "");
  const size = (archive.length / 1e6).toFixed(0);
  console.error(
    `  image      ${tag}, ${size} MB: ${out.replace(`${root}/`, "")} (${basename(out)})`,
  );
  console.error(`  digest     ${name}@${digest}`);
}

try {
  main();
} catch (error) {
  if (!(error instanceof ImageError)) throw error;
  console.error(`image: ${error.message}`);
  process.exitCode = 1;
}
