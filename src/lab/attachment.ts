/** A pod's way in and out of the network: CNI ADD and DEL of the node's conflist, called within the node as a runtime does. */
import { parseInterface } from "../net/prefix.ts";
import type { NodePlan, PodPlan } from "./plan.ts";
import { type CniResult, feed, type PluginCall, runConflist } from "./runtime.ts";
import { commandAt } from "./spawn.ts";
import type { LabStore, PortMapping, Wiring } from "./state.ts";

/**
 * CNI ADD.
 *
 * @throws CniError with the plugin's own words; Error when the result has no address or no veth.
 */
export async function attachPod(
  store: LabStore,
  node: NodePlan,
  pod: PodPlan,
  portMappings: PortMapping[],
): Promise<Wiring> {
  const result = await runConflist({ ...call(store, node, pod, portMappings), verb: "ADD" });
  const given = result.ips?.[0]?.address;
  // Of the devices outside the pod, one is the bridge.
  const veth = result.interfaces?.find(({ name, sandbox }) => !sandbox && name.startsWith("veth"));
  if (!given || !veth) {
    throw new Error(
      `CNI ADD of ${pod.name} names no address or no veth: ${JSON.stringify(result)}`,
    );
  }
  return { address: parseInterface(given).address, veth: veth.name, result };
}

/**
 * CNI DEL.
 *
 * @throws CniError with the plugin's own words.
 */
export async function detachPod(
  store: LabStore,
  node: NodePlan,
  pod: PodPlan,
  { portMappings = [], result }: { portMappings?: PortMapping[]; result?: CniResult },
): Promise<void> {
  const ready = call(store, node, pod, portMappings);
  await runConflist({ ...ready, verb: "DEL", prevResult: result });
}

function call(store: LabStore, node: NodePlan, pod: PodPlan, portMappings: PortMapping[]) {
  return {
    conflist: JSON.parse(Deno.readTextFileSync(node.conflist)),
    pluginDirs: [store.plan.bin, store.state.plugins],
    containerID: pod.containerId,
    netns: pod.netnsPath,
    ifname: "eth0",
    args: { IgnoreUnknown: "1", K8S_POD_NAMESPACE: "default", K8S_POD_NAME: pod.name },
    capabilityArgs: portMappings.length > 0 ? { portMappings } : {},
    exec: ({ path, env, stdin }: PluginCall) => {
      // No cgroup: a short-lived plugin has no sockets of its own, and moving it there costs more than it does.
      const place = { netnsPath: node.netnsPath, cgroup: null };
      const pipes = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
      return feed(commandAt(place, [path], { env, ...pipes }).spawn(), stdin);
    },
    onStderr: (type: string, text: string) => {
      Deno.writeTextFileSync(`${node.dir}/cni.log`, `${type}: ${text}`, { append: true });
    },
  };
}
