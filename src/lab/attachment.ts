/** A pod's way in and out of the network: CNI ADD and DEL of the node's conflist, called within the node. */
import type { NodePlan, PodPlan } from "./plan.ts";
import type { PortMapping } from "./pods.ts";
import { commandAt } from "./spawn.ts";
import { nodePlace } from "./agents.ts";
import type { LabStore } from "./state.ts";

const IFNAME = "eth0";

interface CniResult {
  interfaces?: { name: string; sandbox?: string }[];
  ips?: { address: string }[];
}

export async function attachPod(
  store: LabStore,
  node: NodePlan,
  pod: PodPlan,
  portMappings: PortMapping[],
) {
  const result = await runConflist("ADD", store, node, pod, portMappings) as CniResult;
  const address = result.ips?.[0]?.address.split("/")[0];
  const veth = result.interfaces?.find(({ name, sandbox }) => !sandbox && name.startsWith("veth"))
    ?.name;
  if (!address || !veth) {
    throw new Error(`CNI ADD of ${pod.name} gave no address or no veth: ${JSON.stringify(result)}`);
  }
  return { address, veth };
}

export async function detachPod(store: LabStore, node: NodePlan, pod: PodPlan): Promise<void> {
  await runConflist("DEL", store, node, pod, []);
}

async function runConflist(
  verb: "ADD" | "DEL",
  store: LabStore,
  node: NodePlan,
  pod: PodPlan,
  portMappings: PortMapping[],
) {
  const list = JSON.parse(Deno.readTextFileSync(node.conflist));
  let prev: unknown;
  const plugins = verb === "DEL" ? list.plugins.toReversed() : list.plugins;
  for (const plugin of plugins) {
    const conf = {
      ...plugin,
      cniVersion: list.cniVersion,
      name: list.name,
      ...(prev ? { prevResult: prev } : {}),
      ...(plugin.capabilities ? { runtimeConfig: { portMappings } } : {}),
    };
    delete conf.capabilities;
    const folder = plugin.type === "pcnk" ? store.plan.bin : store.state.plugins;
    const child = commandAt(nodePlace(store, node), [`${folder}/${plugin.type}`], {
      env: {
        CNI_COMMAND: verb,
        CNI_CONTAINERID: pod.containerId,
        CNI_NETNS: pod.netnsPath,
        CNI_IFNAME: IFNAME,
        CNI_PATH: `${store.plan.bin}:${store.state.plugins}`,
      },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(JSON.stringify(conf)));
    await writer.close();
    const { success, stdout, stderr } = await child.output();
    const text = new TextDecoder().decode(stdout);
    if (!success) {
      throw new Error(
        `CNI ${verb} of ${pod.name} by ${plugin.type}: ${text}${new TextDecoder().decode(stderr)}`,
      );
    }
    if (verb === "ADD") prev = JSON.parse(text);
  }
  return prev;
}
