/**
 * One node with two pods, wired by the reference plugins: a bridge, a client, a server. What differs between the
 * variants that are compared is put on and taken off again (variants.ts); pods, bridge and processes stay the same.
 */
import { conflist } from "../../src/node/conflist.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { writeSysctl } from "../../src/linux/sysctl.ts";
import { tuneForManyConnections } from "../../src/measure/tune.ts";
import { addChain, delChain } from "./chain.ts";
import { type Place, startServer } from "./load.ts";
import type { Stage } from "./stage.ts";

export const CLUSTER_CIDR = "10.244.0.0/16";
const POD_CIDR = "10.244.1.0/24";
export const BRIDGE = "pcnk0";
/** Echo on TCP and UDP; what is sent to the next port is counted. */
export const PORT = 8080;

export interface BenchPod {
  netns: string;
  addr: string;
  mac: string;
  /** Host end of its veth pair. */
  ifindex: number;
}

export interface Topology {
  node: string;
  /** A connection in the node's namespace. */
  nl: RtNetlink;
  bridge: { ifindex: number; addr: string };
  client: BenchPod;
  server: BenchPod;
}

/**
 * Makes node and pods. The server's process is started apart.
 * @param prefix of the namespaces' names, where a stage has several topologies; all have the same addresses
 */
export async function buildTopology(stage: Stage, prefix = ""): Promise<Topology> {
  const node = stage.netns(`${prefix}node`);
  const nl = RtNetlink.open(node);
  stage.defer(() => nl.close());
  nl.setLink(nl.link("lo")!.index, { up: true });
  writeSysctl("net.ipv4.ip_forward", "1", node);
  const client = await addPod(stage, node, nl, prefix, "client");
  const server = await addPod(stage, node, nl, prefix, "server");
  tuneForManyConnections(client.netns);
  tuneForManyConnections(server.netns);
  return {
    node,
    nl,
    bridge: { ifindex: nl.link(BRIDGE)!.index, addr: "10.244.1.1" },
    client,
    server,
  };
}

async function addPod(
  stage: Stage,
  node: string,
  nl: RtNetlink,
  prefix: string,
  name: string,
): Promise<BenchPod> {
  const netns = stage.netns(prefix + name);
  const list = conflist({
    podCIDR: POD_CIDR,
    ipamDataDir: `${stage.dir}/${prefix}ipam`,
    withoutPcnk: true,
  });
  const place = { node, pod: netns, containerId: `bench-${prefix}${name}`, dir: stage.dir };
  const { result } = await addChain(list, { ...place, signal: stage.signal });
  stage.defer(async () => void await delChain(list, place, result));
  const veth = result.interfaces?.find(({ name, sandbox }) => name.startsWith("veth") && !sandbox);
  const inside = result.interfaces?.find(({ sandbox }) => sandbox === netns);
  const addr = result.ips?.[0]?.address.split("/")[0];
  const ifindex = nl.link(veth?.name ?? "")?.index;
  if (!addr || !ifindex || !inside?.mac) {
    throw new Error(`unexpected result of ADD: ${JSON.stringify(result)}`);
  }
  return { netns, addr, mac: inside.mac, ifindex };
}

/** Starts the server in its pod. */
export async function serve(stage: Stage, { server }: Topology, cpu: number): Promise<void> {
  const place: Place = { netns: server.netns, cpu };
  const process = await startServer(place, PORT);
  stage.defer(() => process.stop());
}
