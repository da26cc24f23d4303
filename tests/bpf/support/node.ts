/** The node among others and the world: its addresses, its uplink, another node, and who is outside. */
import { NODE_ADDR_FLAG, NODE_FLAG, REMOTE_MODE, SCOPE } from "../../../src/bpf/layout.ts";
import type { Addr, IpOptions } from "./packet.ts";
import { GATEWAY } from "./scene.ts";
import { type BackendSpec, UPLINK, type World } from "./world.ts";

/** This node, and another one. */
export const NODE = "192.0.2.11";
export const OTHER_NODE = "192.0.2.12";
/** A host outside the cluster. */
export const OUTSIDE = "198.51.100.7";
export const ROUTER_MAC = "02:00:00:00:00:fe";
/** Of the uplink. Tests run on the loopback device. */
export const UPLINK_MAC = "00:00:00:00:00:00";
/** Of the other node's overlay device. */
export const PEER_MAC = "02:70:c0:00:02:0c";
const UPLINK_MTU = 1500;
export const OVERLAY_MTU = 1450;
export const VNI = 42;
export const OVERLAY_PORT = 4789;
/** Source ports that tests let the node take. */
export const PORTS = { snat_first: 20000, snat_last: 20999 };

/** A frame from the world, as the uplink gets it. */
export const IN: IpOptions = { ethSrc: ROUTER_MAC, ethDst: UPLINK_MAC };
/** The same turned around: an answer. */
export const BACK: IpOptions = { ethSrc: UPLINK_MAC, ethDst: ROUTER_MAC };
/** How a frame from the uplink looks in a pod of this node; give it the pod's MAC. */
export function into(mac: string): IpOptions {
  return { ethSrc: UPLINK_MAC, ethDst: mac };
}
/** How a frame from the uplink looks that goes to the other node's pods through the overlay. */
export const TO_PEER: IpOptions = { ethSrc: UPLINK_MAC, ethDst: PEER_MAC, ttl: 63 };
/** A frame of a pod's reply that leaves the node: its MAC addresses are the kernel's business. */
export const LEAVING: IpOptions = { ttl: 63 };
/** The same that came in by the uplink or the overlay. */
export const FORWARDED: IpOptions = { ...IN, ttl: 63 };

/** The pods of the other node are behind the overlay. */
export function overlay(w: World): void {
  w.remote("10.2.0.0/16", {
    via: OTHER_NODE,
    ifindex: UPLINK,
    vni: VNI,
    mtu: OVERLAY_MTU,
    mode: REMOTE_MODE.OVERLAY,
    mac: PEER_MAC,
  });
}

/** The pods of the other node are reached directly. */
export function direct(w: World): void {
  w.remote("10.2.0.0/16", {
    via: OTHER_NODE,
    ifindex: UPLINK,
    vni: 0,
    mtu: UPLINK_MTU,
    mode: REMOTE_MODE.DIRECT,
    mac: "00:00:00:00:00:00",
  });
}

/** What an agent writes for this node: addresses, uplink, masquerade, the overlay. */
export function node(w: World): void {
  w.configure({
    flags: NODE_FLAG.MASQUERADE,
    node_addr: NODE,
    pod_cidr: "10.1.0.0",
    pod_mask: "255.255.0.0",
    snat_addr: GATEWAY,
    ...PORTS,
    overlay_port: OVERLAY_PORT,
  });
  w.maps.uplinks.set({ ifindex: UPLINK }, { addr: NODE, mtu: UPLINK_MTU });
  w.maps.node_addrs.set({ addr: NODE }, { flags: NODE_ADDR_FLAG.LOCAL });
  w.maps.node_addrs.set({ addr: OTHER_NODE }, { flags: 0 });
  for (const addr of ["10.1.0.0", "10.2.0.0"]) {
    w.maps.no_masquerade.set({ prefixlen: 16, addr }, 0);
  }
  overlay(w);
}

/** A service that clients outside may use. Address 0.0.0.0: a NodePort, at every address of this node. */
export function external(
  w: World,
  addr: Addr,
  backends: BackendSpec[],
  options: Parameters<World["service"]>[2] = {},
): void {
  w.service(addr, backends, { scope: SCOPE.EXTERNAL, addressEntry: false, ...options });
}

export { GATEWAY };
