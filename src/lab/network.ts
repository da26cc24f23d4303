/**
 * The lab's physical network and the nodes' namespaces. The fabric is a bridge in a namespace of its own, so that nothing
 * of the lab appears among the machine's own devices; its own address is the nodes' default gateway.
 */
import { closeFd, openFile } from "../linux/libc.ts";
import { createNetns } from "../linux/netns.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { writeSysctl } from "../linux/sysctl.ts";
import type { FabricPlan, NodePlan, OutsidePlan } from "./plan.ts";

/** The uplink's name in every node. */
export const UPLINK = "eth0";

/** The outside machine's device. */
const OUTSIDE_DEVICE = "eth0";

/** Makes the fabric: namespace, bridge, gateway address. */
export function createFabric(fabric: FabricPlan): void {
  createNetns(fabric.netns);
  using rt = RtNetlink.open(fabric.netnsPath);
  setUp(rt, "lo");
  rt.addLink({ kind: "bridge", name: fabric.bridge, forwardDelay: 0 });
  const { index } = setUp(rt, fabric.bridge);
  rt.addAddr({ ifindex: index, address: fabric.gateway, prefixLength: fabric.prefixLength });
  forward(fabric.netnsPath);
}

/** Makes a node's namespace and plugs its uplink into the fabric. */
export function createNode(fabric: FabricPlan, node: NodePlan): void {
  createNetns(node.netns);
  plugIn(fabric, node);
  using rt = RtNetlink.open(node.netnsPath);
  setUp(rt, "lo");
  const { index } = setUp(rt, UPLINK);
  rt.addAddr({ ifindex: index, address: node.address, prefixLength: fabric.prefixLength });
  rt.addRoute({ destination: "0.0.0.0/0", gateway: fabric.gateway, ifindex: index });
  forward(node.netnsPath);
}

/** Makes the machine outside: the fabric routes to it, so its subnet is not the nodes'. */
export function createOutside(fabric: FabricPlan, outside: OutsidePlan): void {
  const { prefixLength } = outside;
  createNetns(outside.netns);
  using router = RtNetlink.open(fabric.netnsPath);
  addPair(router, outside.port, { name: OUTSIDE_DEVICE, netnsPath: outside.netnsPath });
  const port = setUp(router, outside.port);
  router.addAddr({ ifindex: port.index, address: outside.gateway, prefixLength });
  using rt = RtNetlink.open(outside.netnsPath);
  setUp(rt, "lo");
  const { index } = setUp(rt, OUTSIDE_DEVICE);
  rt.addAddr({ ifindex: index, address: outside.address, prefixLength });
  rt.addRoute({ destination: "0.0.0.0/0", gateway: outside.gateway, ifindex: index });
}

/** A veth pair: one end is a port of the fabric's bridge, the other the node's uplink. */
function plugIn(fabric: FabricPlan, node: NodePlan): void {
  using rt = RtNetlink.open(fabric.netnsPath);
  addPair(rt, node.port, { name: UPLINK, netnsPath: node.netnsPath });
  const bridge = rt.link(fabric.bridge)!;
  rt.setLink(rt.link(node.port)!.index, { master: bridge.index, up: true });
}

/** A veth pair with its peer in another namespace. */
function addPair(rt: RtNetlink, name: string, peer: { name: string; netnsPath: string }): void {
  const netnsFd = openFile(peer.netnsPath);
  try {
    rt.addLink({ kind: "veth", name, peer: { name: peer.name, netnsFd } });
  } finally {
    closeFd(netnsFd);
  }
}

/** Makes a pod's namespace, as a container runtime does before it calls CNI ADD. */
export function createPodNetns(netns: string, path: string): void {
  createNetns(netns);
  using rt = RtNetlink.open(path);
  setUp(rt, "lo");
}

function setUp(rt: RtNetlink, name: string) {
  const link = rt.link(name);
  if (link === undefined) throw new Error(`no device ${name} in the namespace just made`);
  rt.setLink(link.index, { up: true });
  return link;
}

/** A router forwards, and takes packets by whichever way they come. */
function forward(netnsPath: string): void {
  writeSysctl("net.ipv4.ip_forward", "1", netnsPath);
  writeSysctl("net.ipv4.conf.all.rp_filter", "0", netnsPath);
  writeSysctl("net.ipv4.conf.default.rp_filter", "0", netnsPath);
}
