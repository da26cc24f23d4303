/**
 * Finds pcnk's files on the machine, as steps that remove them: what the installation has on record and is unchanged since,
 * what carries pcnk's mark, and files that only pcnk makes.
 */
import { CONFLIST_NAME } from "../src/node/conflist.ts";
import { freshName } from "../src/node/files.ts";
import { type StateName, stateNames, type SysctlChange } from "../src/node/state_files.ts";
import { parent } from "./builder.ts";
import type { Machine } from "./machine.ts";
import { COMMAND_LINK } from "./plan.ts";
import { type InstallRecord, RECORD } from "./record.ts";
import type { RemovalStep } from "./removal.ts";
import { CONFIG_PATH, deviceFiles, MARK, SYSCTL_PATH, UNIT, UNIT_PATH } from "./texts.ts";

export interface FileOptions {
  stateDir: string;
  cniConfDir: string;
  /** The running executable; removed, too, when it is an installed one. */
  executable: string;
  /** Also remove what an operator wrote for pcnk. */
  all: boolean;
}

/** Steps, and notes on what stays. */
interface FileSteps {
  /** Before anything else. */
  first: RemovalStep[];
  steps: RemovalStep[];
  notes: string[];
}

export function findFiles(
  machine: Machine,
  record: InstallRecord,
  options: FileOptions,
): FileSteps {
  const found: FileSteps = { first: [], steps: [], notes: [] };
  planService(machine, found);
  planConflist(machine, options.cniConfDir, found);
  planState(machine, options.stateDir, found);
  planInstalled(machine, record, options, found);
  if (options.all && machine.find(parent(CONFIG_PATH)).kind === "directory") {
    const why = "settings, and other files for pcnk (--all)";
    found.steps.push({ do: "remove-tree", path: parent(CONFIG_PATH), why });
  }
  if (found.steps.some((step) => "path" in step && step.path === UNIT_PATH) && machine.systemd) {
    const command = ["systemctl", "daemon-reload"];
    found.steps.push({ do: "run", command, why: "systemd drops the unit" });
  }
  planRecord(machine, record, found);
  return found;
}

function planService(machine: Machine, { first }: FileSteps): void {
  if (!machine.systemd || machine.find(UNIT_PATH).kind === "nothing") return;
  const command = ["systemctl", "disable", "--now", UNIT];
  first.push({ do: "run", command, why: "the agent ends and does not start again" });
}

/** Without it the kubelet starts no pods here. */
function planConflist(machine: Machine, folder: string, { first, notes }: FileSteps): void {
  for (const name of machine.list(folder)) {
    const path = `${folder}/${name}`;
    const half = name === freshName(CONFLIST_NAME) || /^10-pcnk\.conflist\.\d+$/.test(name);
    const own = half || name === CONFLIST_NAME;
    const named = namesPcnk(machine.text(path) ?? "");
    if (own && (named || half)) {
      first.push({ do: "remove-file", path, why: "new pods do not get pcnk's network" });
    } else if (named) notes.push(`${path} names pcnk and is not its own file: remove it`);
  }
}

function namesPcnk(text: string): boolean {
  try {
    const list = JSON.parse(text);
    const plugins: unknown = Array.isArray(list?.plugins) ? list.plugins : [list];
    return (plugins as { type?: unknown }[]).some((one) => one?.type === "pcnk");
  } catch {
    return false;
  }
}

/** Records of things that are removed with them. */
const RECORDS: StateName[] = ["vpc", "reserved-ports"];

/** Also what an agent that was killed had written by half, by this release or the one before. */
function isStateFile(name: string): boolean {
  if (name === "lock" || name === "agent.lock") return true;
  return stateNames.some((known) => {
    const file = `${known}.json`;
    if (name === file) return !RECORDS.includes(known);
    return name === freshName(file) || name.startsWith(file) && /\.json\.\d+$/.test(name);
  });
}

/** Removes what pcnk names so, and keeps other files of a shared state directory. */
function planState(machine: Machine, stateDir: string, { steps, notes }: FileSteps): void {
  const names = machine.list(stateDir);
  if (names.includes("attachments")) {
    const why = "records of pods";
    steps.push({ do: "remove-tree", path: `${stateDir}/attachments`, why });
  }
  if (names.includes("ipam")) {
    steps.push({ do: "remove-tree", path: `${stateDir}/ipam`, why: "leases of pods' addresses" });
  }
  for (const name of names.filter(isStateFile)) {
    steps.push({ do: "remove-file", path: `${stateDir}/${name}`, why: "the agent's state" });
  }
  const others = names.filter((name) =>
    !isStateFile(name) &&
    !["attachments", "ipam", ...RECORDS.map((one) => `${one}.json`)].includes(name)
  );
  if (others.length > 0) notes.push(`${stateDir} holds what is not pcnk's: ${others.join(", ")}`);
  if (machine.find(stateDir).kind === "directory") {
    steps.push({ do: "remove-directory", path: stateDir });
  }
  // host-local's default, for a conflist written by hand.
  const leases = "/var/lib/cni/networks/pcnk";
  if (machine.find(leases).kind === "directory") {
    steps.push({ do: "remove-tree", path: leases, why: "leases of pods' addresses" });
  }
}

function planInstalled(
  machine: Machine,
  record: InstallRecord,
  { executable, all }: FileOptions,
  { steps, notes }: FileSteps,
): void {
  const known = [SYSCTL_PATH, UNIT_PATH, ...deviceFiles(new Map()).map(({ path }) => path)];
  const binaries = Object.keys(record.files).filter((path) => path.endsWith("/pcnk"));
  if (isInstalled(executable)) binaries.push(executable);
  for (const [path, target] of Object.entries({ [COMMAND_LINK]: binaries[0], ...record.links })) {
    const there = machine.find(path);
    if (there.kind !== "link" || there.target !== target) continue;
    steps.push({ do: "remove-file", path, why: "made by the installation" });
  }
  for (const path of new Set([...known, ...Object.keys(record.files)])) {
    if (path.endsWith("/pcnk") || machine.find(path).kind !== "file") continue;
    const own = machine.hash(path) === record.files[path] || machine.text(path)?.startsWith(MARK);
    if (own) steps.push({ do: "remove-file", path, why: "written by the installation" });
    else if (path !== CONFIG_PATH || !all) notes.push(`${path} was changed since and stays`);
  }
  if (!(CONFIG_PATH in record.files) && machine.find(CONFIG_PATH).kind === "file" && !all) {
    notes.push(`${CONFIG_PATH} was edited and stays; --all removes it`);
  }
  for (const path of new Set(binaries)) {
    if (machine.find(path).kind !== "file") continue;
    steps.push({ do: "remove-file", path, why: "the executable" });
  }
}

/** A copy in a runtime's folder, not one in a build tree or an image. */
function isInstalled(executable: string): boolean {
  return /^\/(opt\/cni\/bin|usr\/lib\/cni|usr\/libexec\/cni)\/pcnk$/.test(executable);
}

/** Removes the record last but for the directories: until then a second call knows what is left. */
function planRecord(machine: Machine, record: InstallRecord, { steps }: FileSteps): void {
  if (machine.find(RECORD).kind !== "nothing") {
    steps.push({ do: "remove-file", path: RECORD, why: "all that it lists is removed" });
  }
  for (const path of record.directories.toReversed()) {
    if (machine.find(path).kind === "directory") steps.push({ do: "remove-directory", path });
  }
}

/** Parameters that still have pcnk's value get the value that they had before. */
export function findSysctls(
  machine: Machine,
  ...records: Record<string, SysctlChange>[]
): RemovalStep[] {
  const before = new Map<string, SysctlChange>();
  // The first record is the older one.
  for (const record of records) {
    for (const [name, change] of Object.entries(record)) {
      if (!before.has(name)) before.set(name, change);
    }
  }
  return [...before].filter(([name, change]) =>
    change.before !== change.after && machine.sysctl(name) === change.after
  ).map(([name, change]) => ({
    do: "set-sysctl",
    name,
    value: change.before,
    why: "as it was before",
  }));
}
