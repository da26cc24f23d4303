/**
 * Checks the cluster's Node objects: those that packets can be sent to, and for the others the reason why not. One broken
 * Node never keeps the others from being reached.
 *
 * Who keeps a disputed podCIDR: this node's own podCIDR is never given away; of two others the older Node keeps what it has, so that
 * a newcomer's mistake (or ill will) cannot draw a running node's traffic to itself.
 */
import { addressValue } from "../net/address.ts";
import { AddressError, quote } from "../net/error.ts";
import { isIpv4 } from "../net/ipv4.ts";
import { parseNetwork, Prefix } from "../net/prefix.ts";
import { isUnicast } from "../net/scope.ts";
import { firstAtLeast, PrefixMap } from "./prefix_map.ts";
import type { Problem, ProblemCode, RoutingNode, Uplink } from "./types.ts";

/** A Node whose addresses can be used. */
export interface CheckedNode {
  name: string;
  /** The first InternalIP: what all others know this node by. */
  address: string;
  publicIP?: string;
  podCIDRs: Prefix[];
  directRouting?: boolean;
  vpcMode?: "aws";
}

/** What became of the Nodes. */
interface CheckedNodes {
  /** Undefined: there is no usable Node object of this node. It may have no podCIDRs. */
  own?: CheckedNode;
  /** By name. */
  peers: CheckedNode[];
  problems: Problem[];
}

/** Checks all Nodes against each other and against the uplinks. */
export function checkNodes(
  own: string,
  nodes: Iterable<RoutingNode>,
  uplinks: readonly Uplink[],
): CheckedNodes {
  return new Checker(own, uplinks).check([...nodes]);
}

class Checker {
  readonly #problems: Problem[] = [];
  readonly #subnets: { subnet: Prefix; device: string }[];

  readonly #own: string;

  constructor(own: string, uplinks: readonly Uplink[]) {
    this.#own = own;
    this.#subnets = uplinks.flatMap(({ name, addresses }) =>
      addresses.map(({ address, prefixLength }) => ({
        subnet: new Prefix(address, prefixLength),
        device: name,
      }))
    );
  }

  check(nodes: RoutingNode[]): CheckedNodes {
    // This node first, then by age: the older one keeps what both claim.
    nodes.sort((a, b) =>
      Number(b.name === this.#own) - Number(a.name === this.#own) ||
      compare(a.createdAt ?? Infinity, b.createdAt ?? Infinity) || compare(a.name, b.name)
    );
    const read = nodes.map((node) => this.#read(node)).filter((node) => node !== undefined);
    const own = read[0]?.name === this.#own ? read[0] : undefined;
    if (own === undefined && nodes[0]?.name !== this.#own) {
      this.#report("own-node-missing", this.#own, "there is no Node object of this node yet");
    }
    const addressed = this.#disputedAddresses(read, own);
    this.#disputedPrefixes(addressed);
    const peers = addressed.filter((node) => node !== own && node.podCIDRs.length > 0);
    peers.sort((a, b) => compare(a.name, b.name));
    return { own, peers, problems: this.#problems };
  }

  #report(code: ProblemCode, node: string, message: string) {
    this.#problems.push({ code, node, message });
  }

  /** The Node alone, without a look at the others. */
  #read({ name, internalIPs, podCIDRs, publicIP, directRouting, vpcMode }: RoutingNode) {
    const address = internalIPs.find(isHost);
    if (address === undefined) {
      const given = internalIPs.length > 0 ? `, only ${internalIPs.join(", ")}` : "";
      this.#report("no-address", name, `node ${name} has no usable IPv4 InternalIP${given}`);
      return undefined;
    }
    const node: CheckedNode = { name, address, podCIDRs: this.#readPrefixes(name, podCIDRs) };
    if (directRouting !== undefined) node.directRouting = directRouting;
    if (vpcMode !== undefined) node.vpcMode = vpcMode;
    if (publicIP !== undefined) {
      if (isHost(publicIP)) node.publicIP = publicIP;
      else {
        const message = `node ${name}: pcnk.io/public-ip ${quote(publicIP)} is no IPv4 address ` +
          `of a host; its InternalIP ${address} is used`;
        this.#report("bad-public-ip", name, message);
      }
    }
    return node;
  }

  #readPrefixes(name: string, podCIDRs: readonly string[]): Prefix[] {
    if (podCIDRs.length === 0) {
      this.#report("no-pod-cidr", name, `node ${name} has no podCIDR yet`);
    }
    return podCIDRs.flatMap((text) => {
      try {
        return [podPrefix(text)];
      } catch (error) {
        if (!(error instanceof AddressError)) throw error;
        this.#report("bad-pod-cidr", name, `node ${name}: podCIDR ${error.message}`);
        return [];
      }
    });
  }

  /** Says which addresses occur twice. Another node with this node's address is left out: packets would come back. */
  #disputedAddresses(nodes: CheckedNode[], own: CheckedNode | undefined): CheckedNode[] {
    const addresses = new Map<string, string>();
    const publics = new Map<string, string>();
    return nodes.filter((node) => {
      const { name, address, publicIP } = node;
      const first = addresses.get(address);
      if (first !== undefined && address === own?.address) {
        const message = `node ${name} claims ${address}, the address of this node; not routed to`;
        this.#report("own-address-taken", name, message);
        return false;
      }
      if (first !== undefined) {
        const message = `nodes ${first} and ${name} have the same InternalIP ${address}; ` +
          "if one of them is gone, delete its Node object";
        this.#report("address-twice", name, message);
      } else addresses.set(address, name);
      if (publicIP === undefined || publicIP === own?.publicIP) return true;
      const other = publics.get(publicIP);
      if (other !== undefined) {
        const message = `nodes ${other} and ${name} have the same pcnk.io/public-ip ` +
          `${publicIP}: the NAT can forward the tunnel's port to one of them only`;
        this.#report("public-ip-twice", name, message);
      } else publics.set(publicIP, name);
      return true;
    });
  }

  /** Takes away podCIDRs that meet another node's, or that would swallow the tunnels themselves. */
  #disputedPrefixes(nodes: CheckedNode[]) {
    const ends = nodes.flatMap(({ name, address, publicIP }) =>
      [address, publicIP].flatMap((end) =>
        end === undefined ? [] : [{ end, value: addressValue(end), name }]
      )
    ).sort((a, b) => compare(a.value, b.value));
    const taken = new PrefixMap<string>();
    for (const node of nodes) {
      node.podCIDRs = node.podCIDRs.filter((prefix) => {
        const { text } = prefix;
        const inside = ends[firstAtLeast(ends, prefix.first, ({ value }) => value)];
        if (inside !== undefined && inside.value <= prefix.last) {
          const message = `node ${node.name}: podCIDR ${text} holds ${inside.end}, ` +
            `an address of node ${inside.name}; not routed`;
          this.#report("pod-cidr-holds-node", node.name, message);
          return false;
        }
        const met = taken.add(prefix, node.name);
        if (met !== undefined) {
          const message = `node ${node.name}: podCIDR ${text} overlaps ${met.prefix.text} ` +
            `of node ${met.owner}, which keeps it`;
          this.#report("pod-cidr-taken", node.name, message);
          return false;
        }
        this.#inUplink(node.name, prefix);
        return true;
      });
    }
  }

  #inUplink(name: string, prefix: Prefix) {
    const met = this.#subnets.find(({ subnet }) => subnet.overlaps(prefix));
    if (met === undefined) return;
    const message = `node ${name}: podCIDR ${prefix.text} overlaps ` +
      `${met.subnet.text}, the network of ${met.device}; hosts there are hidden`;
    this.#report("pod-cidr-in-uplink", name, message);
  }
}

/** An address that other nodes can send to. */
function isHost(address: string): boolean {
  return isIpv4(address) && isUnicast(address);
}

/** @throws {AddressError} also for a prefix that spans what no host may have */
function podPrefix(text: string): Prefix {
  const prefix = parseNetwork(text, 4);
  // With 8 bits in common all its addresses are unicast, or none is.
  if (prefix.length >= 8 && isUnicast(prefix.address)) return prefix;
  throw new AddressError(text, "a prefix for pods", "it holds addresses that no host may have");
}

function compare<T extends string | number | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Who sends tunnel packets from an outer address. */
export interface TunnelSource {
  /** Its pods' network; undefined: several nodes or networks are behind the address, and any may be. */
  podCIDR: string | undefined;
  /** The node's own address. */
  nodeAddr: string;
}

function isIpv4Network(text: string): boolean {
  try {
    return parseNetwork(text, 4).length > 0;
  } catch {
    return false;
  }
}

/** Of a node without pods. */
const NO_PODS = "0.0.0.0/32";

/**
 * The outer source addresses of tunnel packets from nodes other than `own`: their InternalIPs, and their public IPs, which a
 * NAT in front of them puts in. What is no IPv4 address is left out; the plan reports it.
 */
export function tunnelSources(
  nodes: Iterable<RoutingNode>,
  own: string,
): Map<string, TunnelSource> {
  const sources = new Map<string, TunnelSource>();
  for (const { name, internalIPs, publicIP, podCIDRs } of nodes) {
    if (name === own) continue;
    const networks = podCIDRs.filter(isIpv4Network);
    const podCIDR = networks.length > 1 ? undefined : networks[0] ?? NO_PODS;
    const nodeAddr = internalIPs.find(isIpv4) ?? "0.0.0.0";
    for (const address of [...internalIPs, publicIP ?? ""]) {
      if (!isIpv4(address)) continue;
      const shared = sources.has(address) && sources.get(address)!.nodeAddr !== nodeAddr;
      sources.set(address, { podCIDR: shared ? undefined : podCIDR, nodeAddr });
    }
  }
  return sources;
}
