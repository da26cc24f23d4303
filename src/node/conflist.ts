/**
 * The CNI configuration list of a node: the reference plugins do the plumbing, pcnk comes last and adds eBPF services.
 *
 * Limitation: IPv4 only, as pcnk's data plane.
 */
import { isObject, parseObject, readIfThere } from "./files.ts";

/** What differs from node to node. */
export interface ConflistOptions {
  /** The node's pods, e.g. `10.244.1.0/24`. */
  podCIDR: string;
  /** pcnk's pinned maps and programs; pcnk's default when absent. */
  bpffs?: string;
  /** pcnk's attachments; pcnk's default when absent. */
  stateDir?: string;
  /** pcnk's log level; pcnk's default when absent. */
  logLevel?: string;
  /** Where host-local keeps its leases; host-local's default (/var/lib/cni/networks) when absent. */
  ipamDataDir?: string;
  /** MTU of bridge and veth pairs in bytes; the bridge plugin's choice when absent. */
  mtu?: number;
  /** Default `pcnk0`. */
  bridge?: string;
  /** Default `pcnk`. */
  name?: string;
  /** Default NEWEST_VERSION. */
  cniVersion?: string;
  /** Leave hostPorts to the plugin portmap. */
  portmap?: boolean;
  /** Leave pcnk out: the same plumbing without it, as a base line for measurements. */
  withoutPcnk?: boolean;
}

/** A network configuration list (CNI SPEC 1.1, section 1). */
export interface Conflist {
  cniVersion: string;
  name: string;
  plugins: ({ type: string } & Record<string, unknown>)[];
}

/** The newest version that the plugins of Debian 12 (1.1.1) support, and that container runtimes have taken since 2022. */
export const NEWEST_VERSION = "1.0.0";

/** The name of pcnk's file in the runtime's folder; libcni takes the first by name. */
export const CONFLIST_NAME = "10-pcnk.conflist";

/** Where distributions and Kubernetes packages put the reference plugins, the customary place first. */
export const PLUGIN_FOLDERS = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

/** The reference plugins that the list below names. */
export const REFERENCE_PLUGINS = ["bridge", "host-local"];

/** All that must be in the runtime's folder: runtimes call `loopback` by themselves. */
export const SHIPPED_PLUGINS = [...REFERENCE_PLUGINS, "loopback"];

/** The record of `pcnk install`: beside the state of the reference plugins, so that it survives a reboot. */
export const INSTALL_RECORD = "/var/lib/cni/pcnk-install.json";

/** Where an installation put pcnk for the runtime; undefined: there is none on record. */
export function installedPluginFolder(): string | undefined {
  const files = parseObject(readIfThere(INSTALL_RECORD) ?? "")?.files;
  const path = isObject(files)
    ? Object.keys(files).find((one) => one.endsWith("/pcnk"))
    : undefined;
  return path?.slice(0, -"/pcnk".length);
}

/**
 * The list `bridge → host-local → pcnk` for a podCIDR. Keys that are not given are undefined: JSON leaves them out, so
 * that each plugin's own default holds.
 */
export function conflist(options: ConflistOptions): Conflist {
  const { cniVersion = NEWEST_VERSION, name = "pcnk", portmap, withoutPcnk } = options;
  const plugins: Conflist["plugins"] = [bridgePlugin(options)];
  // The runtime passes hostPorts to each plugin that declares the capability: one of them must.
  const capabilities = { portMappings: true };
  if (portmap) plugins.push({ type: "portmap", capabilities, snat: true });
  if (!withoutPcnk) {
    plugins.push({ ...pcnkPlugin(options), capabilities: portmap ? undefined : capabilities });
  }
  return { cniVersion, name, plugins };
}

function bridgePlugin(options: ConflistOptions) {
  return {
    type: "bridge",
    bridge: options.bridge ?? "pcnk0",
    isDefaultGateway: true,
    mtu: options.mtu,
    ipam: {
      type: "host-local",
      ranges: [[{ subnet: options.podCIDR }]],
      dataDir: options.ipamDataDir,
    },
  };
}

function pcnkPlugin({ bpffs, stateDir, logLevel }: ConflistOptions) {
  return { type: "pcnk", bpffs, stateDir, logLevel };
}

/** Configurations that a runtime would take before pcnk's. */
export function earlierFiles(dir: string): string[] {
  return configurationFiles(dir).filter((name) => name < CONFLIST_NAME);
}

/** The configurations in a folder (libcni's ConfFiles(): these endings, in order of name). */
export function configurationFiles(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)]
      .filter(({ name, isDirectory }) => !isDirectory && /\.(conf|conflist|json)$/.test(name))
      .map(({ name }) => name)
      .sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
