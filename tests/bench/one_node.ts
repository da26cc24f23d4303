/**
 * The testbed of one node with two pods, wired by the reference plugins: a bridge, a client, a server. What differs between
 * contenders is put on and taken off again; pods, bridge and processes stay the same.
 */
import { conflist } from "../../src/node/conflist.ts";
import { attach, type AttachMode, detach } from "../../src/bpf/attach.ts";
import type { DataPlane } from "../../src/bpf/dataplane.ts";
import { zero } from "../../src/bpf/codec.ts";
import { NODE_FLAG, nodeConfig } from "../../src/bpf/layout.ts";
import { installDataPlane } from "../../src/bpf/install.ts";
import { withNetns } from "../../src/linux/netns.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { writeSysctl } from "../../src/linux/sysctl.ts";
import { fillServices } from "../../src/measure/fill.ts";
import type { ServicePort } from "../../src/measure/kubeproxy.ts";
import { tuneForManyConnections, type Variant } from "../../src/measure/variants.ts";
import { addChain, delChain } from "./chain.ts";
import { pinnedAt, startServer } from "./load.ts";
import type { Stage } from "./stage.ts";

const POD_CIDR = "10.244.1.0/24", GATEWAY = "10.244.1.1";
/** Echo on TCP and UDP; what is sent to the next port is counted. */
export const PORT = 8080;
/** A service's address. */
export const VIP = "10.96.0.1";

interface BenchPod {
  netns: string;
  addr: string;
  mac: string;
  /** Host end of its veth pair. */
  ifindex: number;
}

export interface OneNode {
  node: string;
  /** A connection in the node's namespace. */
  nl: RtNetlink;
  bridge: { ifindex: number; addr: string };
  client: BenchPod;
  server: BenchPod;
}

/**
 * Makes node and pods, and starts the server.
 * @param prefix of the namespaces' names, where a stage has several nodes; all have the same addresses
 */
export async function oneNode(stage: Stage, prefix = ""): Promise<OneNode> {
  const node = stage.netns(`${prefix}node`);
  const nl = stage.use(RtNetlink.open(node));
  writeSysctl("net.ipv4.ip_forward", "1", node);
  const client = await addPod(stage, node, nl, prefix, "client");
  const server = await addPod(stage, node, nl, prefix, "server");
  for (const { netns } of [client, server]) tuneForManyConnections(netns);
  stage.use(await startServer(pinnedAt(server.netns), PORT, "serve", stage.signal));
  const bridge = { ifindex: nl.link("pcnk0")!.index, addr: GATEWAY };
  return { node, nl, bridge, client, server };
}

async function addPod(
  stage: Stage,
  node: string,
  nl: RtNetlink,
  prefix: string,
  name: string,
): Promise<BenchPod> {
  const netns = stage.netns(prefix + name);
  const ipamDataDir = `${stage.dir}/${prefix}ipam`;
  const list = conflist({ podCIDR: POD_CIDR, ipamDataDir, withoutPcnk: true });
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

/** pcnk on a node: on both veths and the bridge while it is on. */
export interface Pcnk extends Variant {
  plane: DataPlane;
}

/**
 * Installs a data plane with these services, as `name` below the stage's folder.
 * @param more addresses of the server's pod beside its own
 */
export function installPcnk(
  stage: Stage,
  { node, nl, client, server, bridge }: OneNode,
  mode: AttachMode,
  services: readonly ServicePort[],
  { name = "bpf", more = [] as readonly string[] } = {},
): Pcnk {
  const plane = stage.use(installDataPlane({ bpffs: `${stage.dir}/${name}`, nl }));
  for (const { addr, ...pod } of [client, server, ...more.map((addr) => ({ ...server, addr }))]) {
    plane.maps.endpoints.set({ addr }, {
      ifindex: pod.ifindex,
      mac: pod.mac,
      gateway: bridge.addr,
    });
  }
  const config = zero(nodeConfig);
  plane.maps.config.set(0, { ...config, flags: NODE_FLAG.SOURCE_CHECK }); // as an agent does
  fillServices(plane, services);
  const hooks = ([
    [client, "ingress", "lbrp_from_pod"],
    [server, "ingress", "lbrp_from_pod"],
    [bridge, "egress", "lbrp_to_pod"],
  ] as const).map(([{ ifindex }, direction, name]) => (
    { ifindex, direction, name, bpffs: plane.bpffs, nl }
  ));
  return {
    plane,
    on: () =>
      withNetns(node, () => {
        for (const hook of hooks) attach({ ...hook, programFd: plane.programFd(hook.name), mode });
      }),
    off: () => withNetns(node, () => hooks.forEach((hook) => detach(hook))),
  };
}
