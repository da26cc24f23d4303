/**
 * The machine as plans read it, behind an interface, so that tests plan for machines that do not exist.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { refuseNewer } from "../src/bpf/map_versions.ts";
import { SchemaError } from "../src/bpf/schema.ts";
import { NewerRecordError } from "../src/node/schema.ts";
import { refuseNewerState } from "../src/node/state_files.ts";

/** What is at a path. */
type Found =
  | { kind: "nothing" }
  | { kind: "file"; size: number; mode: number }
  | { kind: "link"; target: string }
  | { kind: "directory" }
  | { kind: "other" };

/** Rules as iptables-save writes them, and the command that takes changes to them. */
export interface RuleSet {
  restore: string;
  text: string;
}

/** What plans read. Paths are without the prefix of `--root`. */
export interface Machine {
  find(path: string): Found;
  /** Names in a directory, sorted; none when there is no such directory. */
  list(path: string): string[];
  /** A file's text; undefined when there is no such file. */
  text(path: string): string | undefined;
  /** SHA-256 of a file's content; undefined when there is no such file. */
  hash(path: string): string | undefined;
  /** A kernel parameter (with slashes) as it is now; undefined when the kernel has none of that name, or it is not running. */
  sysctl(name: string): string | undefined;
  /** Rules of netfilter, by each of its two kernels' interfaces that has a command here; none when the system does not run. */
  rules(): RuleSet[];
  /** `table ip kube-proxy`: tables of nftables. */
  nftTables(): string[];
  /** Why this pcnk cannot take over what is pinned on a bpffs and kept in a state directory: a newer one made it. */
  newerState(bpffs: string, stateDir: string): string | undefined;
  /** This is the running system: devices, processes and services can be read. */
  readonly live: boolean;
  /** systemd runs it (sd_booted(3)). */
  readonly systemd: boolean;
  /** Whether a service of systemd runs. */
  active(unit: string): boolean;
}

/** This machine, or with `root` one that lies below a folder and does not run. */
export function realMachine(root = ""): Machine {
  const at = (path: string) => root === "" ? path : join(root, path);
  const live = root === "";
  return {
    live,
    systemd: live && existsSync("/run/systemd/system"),
    active: (unit) => spawnSync("systemctl", ["is-active", "--quiet", unit]).status === 0,
    find: (path) => findAt(at(path)),
    list: (path) => ifThere(() => readdirSync(at(path)).sort()) ?? [],
    text: (path) => ifThere(() => readFileSync(at(path), "utf8")),
    hash: (path) => ifThere(() => hashFile(at(path))),
    newerState: (bpffs, stateDir) =>
      live && process.getuid?.() === 0 ? newerState(bpffs, stateDir) : undefined,
    rules: () => live ? ruleSets() : [],
    nftTables: () => live ? outputOf("nft", ["list", "tables"])?.trim().split("\n") ?? [] : [],
    sysctl: (name) =>
      live ? ifThere(() => readFileSync(`/proc/sys/${name}`, "utf8").trim()) : undefined,
  };
}

function newerState(bpffs: string, stateDir: string): string | undefined {
  try {
    refuseNewer(bpffs);
    refuseNewerState(stateDir);
    return undefined;
  } catch (error) {
    if (error instanceof SchemaError || error instanceof NewerRecordError) return error.message;
    throw error;
  }
}

/** Where a distribution has both commands, `iptables` is one of them. */
function ruleSets(): RuleSet[] {
  const kinds = ["iptables-nft", "iptables-legacy", "iptables"];
  const found = kinds.flatMap((kind) => {
    const text = outputOf(`${kind}-save`, []);
    return text === undefined ? [] : [{ restore: `${kind}-restore`, text }];
  });
  return found.length > 1 ? found.filter(({ restore }) => restore !== "iptables-restore") : found;
}

/** A command's standard output; undefined when there is no such command, or it fails. */
function outputOf(command: string, args: string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 30 });
  return status === 0 ? stdout : undefined;
}

function findAt(path: string): Found {
  const stat = ifThere(() => lstatSync(path));
  if (stat === undefined) return { kind: "nothing" };
  if (stat.isSymbolicLink()) return { kind: "link", target: readlinkSync(path) };
  if (stat.isFile()) return { kind: "file", size: stat.size, mode: stat.mode & 0o7777 };
  return { kind: stat.isDirectory() ? "directory" : "other" };
}

/** SHA-256 of a file, hexadecimal; an executable of 90 MB is not held in memory. */
export function hashFile(path: string): string {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(1 << 20);
  const fd = openSync(path, "r");
  try {
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) {
      hash.update(buffer.subarray(0, n));
    }
  } finally {
    closeSync(fd);
  }
  return hash.digest("hex");
}

/** SHA-256 of a text, hexadecimal. */
export function hashText(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return undefined;
    throw error;
  }
}
