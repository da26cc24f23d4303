/**
 * Where the node's packets go: routes and rules of other programs may come before pcnk's, and a default route or an address may be
 * taken away. All of them are others' to mend.
 */
import { REMOTE_MODE } from "../bpf/layout.ts";
import { SyscallError } from "../linux/libc.ts";
import type { Route, RtNetlink } from "../linux/rtnetlink.ts";
import { parseInterface, Prefix } from "../net/prefix.ts";
import type { Fault, NodeState } from "./fault.ts";

/** Reserved (RFC 1112, section 4): no route leads there but a default route. */
const BEYOND = "240.0.0.1";

/** Prefixes of other nodes to look up at most: a rule that comes first hits all of them. */
const MOST_LOOKED_UP = 64;

/** `via 192.0.2.1 dev eth0`; undefined: no route leads out of the node. */
export function defaultRoute(nl: RtNetlink): string | undefined {
  const route = lookUp(nl, BEYOND);
  if (route?.ifindex === undefined) return undefined;
  const device = `dev ${nl.link(route.ifindex)?.name}`;
  return route.gateway === undefined ? device : `via ${route.gateway} ${device}`;
}

/** What the agent has seen the node have: a default route, and its own address. A node may do without the former. */
export function outsideFaults({ nl, dataPlane, objects }: NodeState): Fault[] {
  const faults: Fault[] = [];
  if (objects.defaultRoute !== undefined && defaultRoute(nl) === undefined) {
    faults.push({
      object: "default route",
      text: "the default route is gone: pods and the node reach nothing outside of their networks",
      next:
        `ip route add default ${objects.defaultRoute}; if it is gone on purpose, restart the agent`,
    });
  }
  const address = dataPlane.maps.config.get(0)?.node_addr;
  const known = address === objects.nodeAddress && address !== undefined;
  if (known && !nl.addrs().some((one) => one.address === address)) {
    faults.push({
      object: "node address",
      text: `the node's address ${address} is on no device: no other node reaches this one`,
      next: "ip addr; see what configures the node's network, or delete the Node if it has moved",
    });
  }
  return faults;
}

/** Which way packets to pods and to the node's own addresses take, as the kernel decides it for all rules and tables. */
export function pathFaults(node: NodeState): Fault[] {
  const { nl, dataPlane, objects } = node;
  const bridge = nl.link(objects.bridge);
  const wrong: string[] = [];
  const expect = (address: string, ifindex: number | undefined) => {
    if (ifindex === undefined || nl.link(ifindex) === undefined) return;
    const found = lookUp(nl, address);
    if (found?.ifindex !== ifindex) wrong.push(`${address} ${describe(nl, found)}`);
  };
  if (bridge?.up) {
    const own = objects.bridgeAddresses[0]?.split("/")[0];
    const found = own === undefined ? undefined : lookUp(nl, own);
    if (own !== undefined && found?.type !== "local") wrong.push(`${own} ${describe(nl, found)}`);
    const pod = localPod(node);
    if (pod !== undefined) expect(pod, bridge.index);
  }
  for (const [{ addr }, remote] of dataPlane.maps.remotes.entries(MOST_LOOKED_UP)) {
    if (remote.mode !== REMOTE_MODE.ROUTED && remote.ifindex !== 0) expect(addr, remote.ifindex);
  }
  if (wrong.length === 0) return [];
  const rest = wrong.length > 1 ? ` (and ${wrong.length - 1} more)` : "";
  return [{
    object: "paths",
    text: `the node's packets to ${wrong[0]}${rest}: a route or rule of another program decides`,
    next: "ip rule; ip route get ADDRESS; take that rule or route away",
  }];
}

/** A pod in the bridge's own networks: in a CNI configuration of the user's the bridge may have no address. */
function localPod(
  { records, objects: { bridge, bridgeAddresses } }: NodeState,
): string | undefined {
  const networks = bridgeAddresses.map((one) => {
    const { address, length } = parseInterface(one, 4);
    return new Prefix(address, length);
  });
  return records.filter((one) => one.bridge === bridge)
    .flatMap(({ addresses }) => addresses.map(({ address }) => address))
    .find((address) => networks.some((network) => network.contains(address)));
}

function lookUp(
  nl: RtNetlink,
  address: string,
): Pick<Route, "type" | "ifindex" | "gateway"> | undefined {
  try {
    return nl.routeTo(address);
  } catch (error) {
    if (error instanceof SyscallError) return undefined; // unreachable, prohibited or a blackhole
    throw error;
  }
}

function describe(nl: RtNetlink, route: Pick<Route, "ifindex"> | undefined): string {
  if (route?.ifindex === undefined) return "find no route";
  return `leave by ${nl.link(route.ifindex)?.name ?? route.ifindex}`;
}
