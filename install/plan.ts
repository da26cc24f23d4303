/**
 * Plans `pcnk install`: the difference between the machine and what should be on it. Pure but for what it reads through
 * `Machine`. A second installation has nothing to do.
 */
import { Builder, parent, type SourceFile } from "./builder.ts";
import { cleanSteps, foreignNetworks } from "./clean.ts";
import { configText } from "./config_file.ts";
import { PLUGIN_FOLDERS, SHIPPED_PLUGINS } from "../src/node/conflist.ts";
import { parseConfig, type Values } from "../src/config/load.ts";
import { hashText, type Machine } from "./machine.ts";
import { type InstallRecord, RECORD } from "./record.ts";
import { settingValue } from "./set_options.ts";
import type { Plan } from "./steps.ts";
import {
  CONFIG_PATH,
  deviceFiles,
  SYSCTL_PATH,
  SYSCTL_TEXT,
  UNIT,
  UNIT_PATH,
  unitText,
} from "./texts.ts";

export interface InstallOptions {
  /** The executable that is to be installed. */
  executable: SourceFile;
  /** The folder in which the container runtime looks for plugins. */
  cniBinDir: string;
  /** Plugins only: a DaemonSet runs the agent. */
  noAgent: boolean;
  /** Remove what kube-proxy and other networks left. */
  clean?: boolean;
  /** Settings for the configuration file, as they were written. */
  settings: ReadonlyMap<string, string>;
}

/** How to get the reference plugins. */
const PLUGINS_HINT =
  "install the reference CNI plugins: apt install containernetworking-plugins (Debian, Ubuntu), " +
  "dnf install containernetworking-plugins (Fedora), or the package kubernetes-cni";

export const DEFAULT_BIN_DIR = "/opt/cni/bin";

/** `pcnk` for the shell. */
export const COMMAND_LINK = "/usr/local/bin/pcnk";

/** The plan of an installation. */
export function planInstall(
  machine: Machine,
  record: InstallRecord,
  options: InstallOptions,
): Plan {
  const { cniBinDir, noAgent, settings } = options;
  const executable = `${cniBinDir}/pcnk`;
  const builder = new Builder(machine);
  const path = (key: string) => configuredPath(builder, settings, key);
  const newer = machine.newerState(path("bpffs"), path("stateDir"));
  if (newer !== undefined) builder.plan.problems.push(newer);
  builder.directory(parent(RECORD));
  const upgraded = builder.copy(options.executable, executable, "the CNI plugin and the agent");
  planPlugins(builder, record, options);
  builder.sysctl("net/ipv4/ip_forward", "1", "pods' packets are forwarded");
  if (options.clean) builder.plan.steps.push(...cleanSteps(machine));
  else builder.plan.notes.push(...foreignNetworks(machine));
  if (noAgent) return builder.plan;
  planRuntimeFolder(builder, cniBinDir);
  builder.link(COMMAND_LINK, executable, "the command line");
  builder.write(SYSCTL_PATH, SYSCTL_TEXT, "the same after a reboot");
  for (const { path, text, needs, why } of deviceFiles(settings)) {
    if (machine.find(needs).kind === "directory") builder.write(path, text, why);
  }
  const configured = planConfig(builder, record, settings);
  planService(builder, executable, upgraded || configured || record.restart === true);
  return builder.plan;
}

/** A path as set now, else as the configuration file has it. A file that cannot be read is reported elsewhere. */
function configuredPath(
  builder: Builder,
  settings: ReadonlyMap<string, string>,
  key: string,
): string {
  try {
    const configured = parseConfig(builder.machine.text(CONFIG_PATH) ?? "", CONFIG_PATH).get(key);
    return settings.get(key) ?? String(configured ?? settingValue(settings, key));
  } catch {
    return settingValue(settings, key);
  }
}

/** Keeps existing plugins, and links missing ones from another folder, or copies them where that is a container's. */
function planPlugins(builder: Builder, record: InstallRecord, options: InstallOptions): void {
  const { machine, plan } = builder;
  const missing: string[] = [];
  for (const name of SHIPPED_PLUGINS) {
    const path = `${options.cniBinDir}/${name}`;
    const { kind } = machine.find(path);
    const own = record.files[path];
    const folder = PLUGIN_FOLDERS.find((one) =>
      one !== options.cniBinDir && ["file", "link"].includes(machine.find(`${one}/${name}`).kind)
    );
    const from = `${folder}/${name}`;
    if (kind !== "nothing") {
      // A newer image replaces only plugins that an installation has put there.
      const ours = options.noAgent && folder !== undefined && own !== undefined &&
        machine.hash(path) === own && machine.hash(from) !== own;
      if (ours) builder.copyFrom(from, path, "a newer reference plugin");
    } else if (folder === undefined) missing.push(name);
    else if (options.noAgent) builder.copyFrom(from, path, "a reference plugin that was missing");
    else builder.link(path, from, "a reference plugin that was missing");
  }
  if (missing.length > 0) {
    plan.problems.push(`${missing.join(", ")} not in ${options.cniBinDir}: ${PLUGINS_HINT}`);
  }
}

/** containerd may look for plugins elsewhere, as Debian's does. */
function planRuntimeFolder(builder: Builder, cniBinDir: string): void {
  const folders = containerdFolders(builder.machine.text("/etc/containerd/config.toml") ?? "");
  for (const folder of folders) {
    if (folder === cniBinDir) continue;
    builder.link(`${folder}/pcnk`, `${cniBinDir}/pcnk`, "containerd is configured to look there");
  }
}

/** `bin_dir` (containerd 1) and `bin_dirs` (2) of a configuration. */
export function containerdFolders(toml: string): string[] {
  const lines = toml.split("\n").filter((line) => /^\s*bin_dirs?\s*=/.test(line));
  return [
    ...new Set(
      lines.flatMap((line) => [...line.matchAll(/["'](\/[^"']+)["']/g)].map((m) => m[1]!)),
    ),
  ];
}

function planConfig(
  builder: Builder,
  record: InstallRecord,
  settings: ReadonlyMap<string, string>,
): boolean {
  const { machine, plan } = builder;
  const present = machine.text(CONFIG_PATH);
  const shared = present !== undefined && hashText(present) !== record.files[CONFIG_PATH];
  try {
    const text = configText(present, settings);
    plan.notes.push(...sourceNotes(machine, parseConfig(text, CONFIG_PATH)));
    return builder.write(CONFIG_PATH, text, "settings of the agent", 0o600, shared);
  } catch (error) {
    const { message } = error as Error;
    plan.problems.push(message.startsWith(CONFIG_PATH) ? message : `${CONFIG_PATH}: ${message}`);
    return false;
  }
}

/** What an agent with these settings lacks. */
function sourceNotes(machine: Machine, values: Values): string[] {
  const kubeconfig = values.get("kubeconfig");
  if (kubeconfig === undefined && !values.has("manifests")) {
    return [
      "the agent has no source of cluster objects: pcnk install --kubeconfig FILE, " +
      "or --set manifests=DIR",
    ];
  }
  if (typeof kubeconfig !== "string" || machine.find(kubeconfig).kind !== "nothing") return [];
  return [`${kubeconfig} is not there: the agent cannot start without it`];
}

/** A restart interrupts nothing: programs and maps stay in the kernel until the new agent replaces them. */
function planService(builder: Builder, executable: string, changed: boolean): void {
  const { machine, plan } = builder;
  const start = `${executable} agent --config ${CONFIG_PATH}`;
  if (machine.live && !machine.systemd) {
    plan.notes.push(`systemd does not run here: have your supervisor run  ${start}`);
    return;
  }
  const unit = builder.write(UNIT_PATH, unitText(executable), "the agent as a service");
  const wants = `/etc/systemd/system/multi-user.target.wants/${UNIT}`;
  if (!machine.live) {
    builder.link(wants, UNIT_PATH, "it starts with the system");
    return;
  }
  const command = (...words: string[]) => ["systemctl", ...words];
  if (unit || changed) builder.run(command("daemon-reload"), "systemd reads the unit");
  if (machine.find(wants).kind === "nothing") {
    builder.run(command("enable", UNIT), "it starts with the system");
  }
  if (unit || changed) {
    const why = "the agent starts, or restarts";
    plan.steps.push({ do: "run", command: command("restart", UNIT), why, restart: true });
  } else if (!machine.active(UNIT)) {
    builder.run(command("start", UNIT), "the agent does not run");
  }
}
