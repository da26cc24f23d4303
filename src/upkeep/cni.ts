/** What the container runtime needs to add a pod: the CNI configuration, and the plugins that it names. */
import { basename } from "node:path";
import { RATE_FLAG } from "../abi/enums.ts";
import { tcxSupported } from "../bpf/attach.ts";
import {
  configurationFiles,
  CONFLIST_NAME,
  earlierFiles,
  PLUGIN_FOLDERS,
  SHIPPED_PLUGINS,
} from "../node/conflist.ts";
import { isObject, parseObject, readIfThere } from "../node/files.ts";
import { readState, writeState } from "../node/state_files.ts";
import { fileSystem } from "../linux/mount.ts";
import type { Fault, NodeState } from "./fault.ts";

/** Absent configuration: the agent writes it again (agent/node/conflist_file.ts). */
export function conflistFaults({ objects: { cniConfDir: dir, podCIDR } }: NodeState): Fault[] {
  if (dir === undefined || podCIDR === undefined) return []; // not written yet
  const earlier = earlierFiles(dir).filter((name) => !namesPcnk(`${dir}/${name}`)).join(", ");
  if (earlier !== "") {
    return [{
      object: "CNI configuration first",
      event: "OtherNetwork",
      text:
        `${earlier} in ${dir} sorts before ${CONFLIST_NAME}: the runtime takes that network, and ` +
        "pods do not get pcnk",
      next: `remove it, or what writes it`,
    }];
  }
  if (isFile(`${dir}/${CONFLIST_NAME}`)) return [];
  return [{
    object: "CNI configuration",
    text: `${dir}/${CONFLIST_NAME} is not there: no pod can be added`,
    next: "start the agent, which writes it; see its log",
    refuses: true,
  }];
}

/**
 * Lists in which `bandwidth` comes after pcnk: it needs the ingress qdisc of pods' devices for itself, so CNI calls attach pcnk by
 * TCX, and they know the list's rates from `<stateDir>/datapath.json`.
 */
export function chainFaults({ objects: { cniConfDir }, stateDir }: NodeState): Fault[] {
  const found = limitsAfterPcnk(cniConfDir ?? DEFAULT_DIR);
  const names = Object.keys(found).join(", ");
  if (names !== "" && !tcxSupported()) {
    return [{
      object: "order of CNI plugins",
      ofPod: true,
      text: `bandwidth comes after pcnk in the network ${names}: before Linux 6.6 no pod with an ` +
        "egress rate can be added",
      next: "put bandwidth before pcnk in its list",
    }];
  }
  const datapath = readState(stateDir, "datapath");
  if (datapath === undefined || same(datapath.limits ?? {}, found)) return [];
  return [{
    object: "limits of CNI lists",
    text: `the order of plugins in ${names || "the CNI configuration"} is not known to CNI calls`,
    next: "start the agent, which reads it",
    fresh: true,
    mend: () => writeState(stateDir, "datapath", { ...datapath, limits: found }),
  }];
}

const DEFAULT_DIR = "/etc/cni/net.d";

/** By network: RATE_FLAG of the rates in the entry of a `bandwidth` behind pcnk's; it may get others from the runtime. */
function limitsAfterPcnk(dir: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const file of configurationFiles(dir)) {
    const { name, plugins } = parseObject(readIfThere(`${dir}/${file}`) ?? "") ?? {};
    if (typeof name !== "string" || !Array.isArray(plugins)) continue;
    const entries = plugins.filter(isObject);
    const own = entries.findIndex(({ type }) => type === "pcnk");
    const limiter = entries.slice(own + 1).find(({ type }) => type === "bandwidth");
    if (own < 0 || limiter === undefined) continue;
    const has = (rate: string) =>
      // as Go reads keys
      Object.entries(limiter).some(([key, value]) =>
        key.toLowerCase() === rate && Number(value) > 0
      );
    found[name] = (has("ingressrate") ? RATE_FLAG.INGRESS : 0) |
      (has("egressrate") ? RATE_FLAG.EGRESS : 0);
  }
  return found;
}

function same(a: Record<string, number>, b: Record<string, number>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

/** Where ADD writes records and host-local its reservations. */
export function diskFaults({ stateDir }: NodeState): Fault[] {
  const { readOnly, full } = fileSystem(stateDir) ?? {};
  if (!readOnly && !full) return [];
  return [{
    object: `file system of ${stateDir}`,
    text: `the file system of ${stateDir} is ${
      readOnly ? "read-only" : "full"
    }: no pod can be added`,
    next: readOnly
      ? `mount -o remount,rw; see dmesg for why`
      : `free space or inodes: df -h ${stateDir}; df -i ${stateDir}`,
    refuses: true,
  }];
}

/** Another plugin's file may delegate to pcnk, as Multus' does. */
function namesPcnk(path: string): boolean {
  try {
    return /"pcnk"/.test(Deno.readTextFileSync(path));
  } catch {
    return false;
  }
}

/** Plugins in the runtime's folder: pcnk comes out of the running executable, others from another folder that has them. */
export function pluginFaults({ objects: { cniBinDir: dir }, agent }: NodeState): Fault[] {
  if (dir === undefined) return [];
  return ["pcnk", ...SHIPPED_PLUGINS].filter((name) => !isExecutable(`${dir}/${name}`))
    .map((name): Fault => {
      const from = name === "pcnk" ? ownExecutable() : folderWith(name, dir);
      return {
        object: `plugin ${name}`,
        text: `the CNI plugin ${dir}/${name} is not there or not executable: no pod can be added`,
        next: name === "pcnk"
          ? "pcnk install, or delete the agent's Pod, whose init container installs it"
          : "install the reference CNI plugins: apt install containernetworking-plugins, or the package " +
            "kubernetes-cni",
        refuses: true,
        mend: agent && from !== undefined ? () => copyPlugin(from, `${dir}/${name}`) : undefined,
      };
    });
}

/** Also after its file was deleted; undefined when pcnk runs from its source. */
function ownExecutable(): string | undefined {
  return basename(Deno.execPath()).startsWith("deno") ? undefined : "/proc/self/exe";
}

function folderWith(name: string, except: string): string | undefined {
  const folder = PLUGIN_FOLDERS.find((one) => one !== except && isExecutable(`${one}/${name}`));
  return folder && `${folder}/${name}`;
}

async function copyPlugin(from: string, to: string): Promise<void> {
  const fresh = `${to}.new`;
  await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
  await Deno.copyFile(from, fresh);
  await Deno.chmod(fresh, 0o755);
  await Deno.rename(fresh, to);
}

function isExecutable(path: string): boolean {
  try {
    const { isFile, mode, size } = Deno.statSync(path);
    return isFile && size > 0 && (mode! & 0o111) !== 0;
  } catch {
    return false;
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
