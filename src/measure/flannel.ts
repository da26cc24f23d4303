/**
 * Plain kernel VXLAN between nodes with static entries, as flannel's vxlan backend sets it up: one device a node, VNI 1, port
 * 8472, no learning; for each other node one neighbour, one forwarding entry, one route through the other's VTEP.
 */
import type { NodePlan } from "../lab/plan.ts";
import { UPLINK } from "../lab/network.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { type Cleanup, runIn, type Variant } from "./variants.ts";

const DEVICE = "flannel.1";
const VNI = "1", PORT = "8472", MTU = "1450";

/** Makes the devices on all nodes; its routes are there while the variant is on. */
export function flannelVariant(cleanup: Cleanup, nodes: readonly NodePlan[]): Variant {
  const ways = nodes.map((node) => {
    const nl = RtNetlink.open(node.netnsPath);
    cleanup.defer(() => nl.close());
    const others = nodes.filter(({ name }) => name !== node.name);
    return { nl, routes: addDevice(nl, node, others) };
  });
  return {
    on: () => ways.forEach(({ nl, routes }) => routes.forEach((route) => nl.addRoute(route))),
    off: () => ways.forEach(({ nl, routes }) => routes.forEach((route) => nl.delRoute(route))),
  };
}

function addDevice(nl: RtNetlink, node: NodePlan, others: readonly NodePlan[]) {
  runIn(node.netnsPath, [
    ...["ip", "link", "add", DEVICE, "address", macOf(node), "mtu", MTU, "type", "vxlan"],
    ...["id", VNI, "dstport", PORT, "local", node.address, "dev", UPLINK],
    ...["nolearning", "noudpcsum"], // flannel leaves out the outer checksum too
  ]);
  const ifindex = nl.link(DEVICE)!.index;
  nl.setLink(ifindex, { up: true });
  nl.addAddr({ ifindex, address: vtepOf(node), prefixLength: 32 });
  for (const other of others) {
    nl.replaceNeigh({ ifindex, address: vtepOf(other), mac: macOf(other) });
    nl.replaceFdb({ ifindex, mac: macOf(other), destination: other.address });
  }
  // Halves of the podCIDR: they win over pcnk's route, which stays.
  return others.flatMap((other) => {
    const gateway = vtepOf(other);
    return [gateway, gateway.replace(/\.0$/, ".128")]
      .map((half) => ({ destination: `${half}/25`, gateway, ifindex, onlink: true }));
  });
}

/** A VTEP has the first address of its node's podCIDR. */
function vtepOf({ podCIDR }: NodePlan): string {
  return podCIDR.replace(/\/24$/, "");
}

function macOf({ index }: NodePlan): string {
  return `02:f1:00:00:00:${index.toString(16).padStart(2, "0")}`;
}
