/** A conflist run as a container runtime does, each plugin's process timed by load.c. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Conflist, PLUGIN_FOLDERS } from "../../src/node/conflist.ts";
import { timeProcess } from "./load.ts";
import { pcnk } from "./subject.ts";

const IFNAME = "eth0";

interface ChainPlace {
  /** The node's network namespace. */
  node: string;
  /** The pod's. */
  pod: string;
  containerId: string;
  /** For files in passing. */
  dir: string;
  signal?: AbortSignal;
}

interface ChainResult {
  /** Of all processes of the chain. */
  ms: number;
  /** By the plugin's type. */
  each: Record<string, number>;
  /** The last plugin's result. */
  result: CniResult;
}

/** The parts of a result (CNI SPEC 1.0.0, section 5) that are used here. */
interface CniResult {
  interfaces?: { name: string; mac?: string; sandbox?: string }[];
  ips?: { address: string }[];
}

/** The folder with the reference plugins. */
function pluginFolder(): string {
  const found = PLUGIN_FOLDERS.find((folder) => existsSync(join(folder, "bridge")));
  if (!found) throw new Error(`no reference CNI plugins in ${PLUGIN_FOLDERS.join(", ")}`);
  return found;
}

/** ADD: the plugins in order, each with the result of the one before. */
export function addChain(list: Conflist, place: ChainPlace): Promise<ChainResult> {
  return runChain("ADD", list, place);
}

/** DEL: in reverse order, each with the result of ADD. */
export function delChain(list: Conflist, place: ChainPlace, added: CniResult) {
  return runChain("DEL", list, place, added);
}

async function runChain(
  verb: "ADD" | "DEL",
  { cniVersion, name, plugins }: Conflist,
  place: ChainPlace,
  previous?: CniResult,
): Promise<ChainResult> {
  const each: Record<string, number> = {};
  const reference = pluginFolder();
  let result = previous;
  for (const { capabilities: _, ...plugin } of verb === "ADD" ? plugins : plugins.toReversed()) {
    const program = plugin.type === "pcnk" ? pcnk() : join(reference, plugin.type);
    const { ms, stdout } = await timeProcess([program], {
      dir: place.dir,
      netns: place.node,
      signal: place.signal,
      stdin: JSON.stringify({ ...plugin, cniVersion, name, prevResult: result }),
      env: {
        CNI_COMMAND: verb,
        CNI_CONTAINERID: place.containerId,
        CNI_NETNS: place.pod,
        CNI_IFNAME: IFNAME,
        CNI_PATH: `${dirname(pcnk())}:${reference}`,
      },
    });
    each[plugin.type as string] = ms;
    if (verb === "ADD") result = JSON.parse(stdout);
  }
  const ms = Object.values(each).reduce((sum, value) => sum + value, 0);
  return { ms, each, result: result ?? {} };
}
