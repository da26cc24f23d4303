/**
 * What other programs' netfilter rules do to pods' packets. Rules are evaluated for representative packets: a rule that
 * certainly drops what pods need is a warning, one that drops other traffic, or may, is a note.
 */
import { BACKEND_FLAG, NODE_FLAG, REMOTE_MODE, SERVICE_FLAG } from "../bpf/layout.ts";
import { SyscallError } from "../linux/libc.ts";
import { addressBytes, addressOf } from "../net/address.ts";
import type { Bits } from "../netfilter/bits.ts";
import { type Chain, type Culprit, Evaluation, type Point } from "../netfilter/chain.ts";
import { legacyChains } from "../netfilter/legacy.ts";
import { Nftables } from "../netfilter/nftables.ts";
import {
  addresses,
  type Device,
  type Devices,
  ipv4,
  PROTOCOL,
  ROUTE_TYPE,
} from "../netfilter/packet.ts";
import type { Finding } from "./finding.ts";
import { type Flow, flowsOf, type NodeNetwork } from "./netfilter_flows.ts";
import type { NodeReader } from "./node.ts";

const part = "netfilter";
const MOST_FINDINGS = 8;
const WORD: Readonly<Record<Culprit["which"], string>> = {
  all: "drops",
  left: "drops, where no rule ahead of it accepts them,",
  some: "may drop",
};
const PROTOCOL_NAME: Readonly<Record<number, string>> = {
  [PROTOCOL.ICMP]: "ICMP",
  [PROTOCOL.TCP]: "TCP",
  [PROTOCOL.UDP]: "UDP",
};

/** What a rule, or a chain's policy, does to a kind of traffic. */
interface Hit {
  culprit: Culprit;
  flow: Flow;
  protocols: Set<number>;
  /** What accepts these packets there. */
  accept: Set<string>;
}

/** Findings about chains, of which only base chains are listed. */
export function netfilterFindings(chains: readonly Chain[], node: NodeNetwork): Finding[] {
  const byCulprit = Map.groupBy(hitsOf(chains, flowsOf(node)), ({ culprit }) => nameOf(culprit));
  const findings = [...byCulprit.values()].map(finding)
    .sort((a, b) => Number(a.health === "note") - Number(b.health === "note"));
  const more = findings.length - MOST_FINDINGS;
  if (more <= 0) return findings;
  const text = `${more} more rules drop pods' packets`;
  return [...findings.slice(0, MOST_FINDINGS), { part, health: "note", text }];
}

function hitsOf(chains: readonly Chain[], flows: readonly Flow[]): Hit[] {
  const hits = new Map<string, Hit>();
  for (const flow of flows) {
    for (const { packet, points } of flow.ways) {
      const evaluation = new Evaluation(packet);
      for (const point of points) {
        for (const culprit of evaluation.at(point, chains)) {
          const key = `${nameOf(culprit)} ${culprit.which} ${flow.traffic}`;
          const hit = hits.get(key) ??
            { culprit, flow, protocols: new Set(), accept: new Set<string>() };
          hits.set(key, hit);
          hit.protocols.add(packet.protocol);
          for (const text of acceptance(culprit.chain, point, flow)) hit.accept.add(text);
        }
      }
    }
  }
  return [...hits.values()];
}

function nameOf({ chain, rule }: Culprit): string {
  return `${chain.name} ${rule?.name ?? "(policy drop)"}`;
}

function finding(hits: Hit[]): Finding {
  const { culprit } = hits[0]!;
  const surely = hits.some(({ culprit, flow, protocols }) =>
    culprit.which === "all" && flow.needed &&
    [...protocols].some((protocol) => protocol !== PROTOCOL.ICMP)
  );
  const does = [...Map.groupBy(hits, ({ culprit }) => culprit.which)].map(([which, those]) =>
    `${WORD[which]} ${those.map(trafficOf).join("; ")}`
  );
  const accept = [...new Set(hits.flatMap(({ accept }) => [...accept]))]
    .map((text) => `\`${text}\``).join(" and ");
  const ahead = culprit.rule
    ? `delete it, or accept ${accept} ahead of it`
    : `accept ${accept} there`;
  return {
    part,
    health: surely ? "warn" : "note",
    text: `${nameOf(culprit)} ${does.join("; ")}`,
    next: `${frontEnd(culprit.chain, hits) ?? ahead} (\`${culprit.chain.shown}\`)`,
  };
}

/** Where only some of the protocols are hit, it says which. */
function trafficOf({ flow, protocols }: Hit): string {
  const all = new Set(flow.ways.map(({ packet }) => packet.protocol));
  const names = [...protocols].map((protocol) => PROTOCOL_NAME[protocol]).join(", ");
  return protocols.size === all.size ? flow.traffic : `${flow.traffic} (${names})`;
}

/** What to do where a program owns the chain and would write it anew. */
function frontEnd({ name }: Chain, hits: Hit[]): string | undefined {
  if (/^inet firewalld .*_(deny|pre|post)$/.test(name)) {
    return "remove the rich rule that `firewall-cmd --list-all-zones` shows";
  }
  const ports = [...new Set(hits.flatMap(({ flow }) => flow.match ? [flow.match] : []))]
    .map(({ protocol, port }) => `${port}/${PROTOCOL_NAME[protocol]!.toLowerCase()}`);
  const device = hits.flatMap(({ accept }) => [...accept])
    .map((text) => /iifname "([^"]+)"/.exec(text)?.[1]).find((name) => name !== undefined);
  const commands = name.startsWith("inet firewalld ")
    ? [
      ...(device ? [`firewall-cmd --permanent --zone=trusted --add-interface=${device}`] : []),
      ...ports.map((port) => `firewall-cmd --permanent --add-port=${port}`),
      "firewall-cmd --reload",
    ]
    : name.includes(" ufw-")
    ? [
      ...(device ? [`ufw allow in on ${device}`] : []),
      ...ports.map((port) => `ufw allow ${port}`),
    ]
    : [];
  return commands.length > 1 ? commands.join(" && ") : undefined;
}

/** Conditions that accept a flow's packets at a point, in the words of the chain's program. */
function acceptance(chain: Chain, { layer, hook, iif, oif }: Point, { match }: Flow): string[] {
  const legacy = chain.name.startsWith("iptables-legacy");
  const replies = ["output", "postrouting", "egress"].includes(hook);
  if (match && layer === "ip") {
    const protocol = PROTOCOL_NAME[match.protocol]!.toLowerCase();
    const port = `${replies && !match.symmetric ? "sport" : "dport"} ${match.port}`;
    return [legacy ? `-p ${protocol} --${port}` : `${protocol} ${port}`];
  }
  return ([["iif", iif], ["oif", oif]] as const).flatMap(([side, devices]) => {
    const name = commonName(devices);
    if (name === undefined) return [];
    return [legacy ? `-${side[0]} ${name}` : `${side}name "${name}"`];
  });
}

/** `veth*` for several; undefined: none, or any. */
function commonName(devices: Devices): string | undefined {
  if (devices === "any" || devices.length === 0) return undefined;
  const [first, ...rest] = devices.map(({ name }) => name) as [string, ...string[]];
  let length = first.length;
  for (const name of rest) {
    while (!name.startsWith(first.slice(0, length))) length--;
  }
  return length === first.length && rest.every((name) => name === first)
    ? first
    : `${first.slice(0, length)}*`;
}

/** Of this node. @throws {SyscallError} */
export function nodeNetfilter(node: NodeReader): Finding[] {
  return readFindings(networkOf(node));
}

/** Of the present network namespace. @throws {SyscallError} */
export function readFindings(network: NodeNetwork): Finding[] {
  return withChains((chains, nftables) => [
    ...netfilterFindings(chains, network),
    ...kubeProxyFindings(nftables?.has("KUBE-SERVICES") ?? false),
  ]);
}

/** Runs `work` on all base chains of the present network namespace. @throws {SyscallError} */
function withChains<T>(work: (chains: readonly Chain[], nftables?: Nftables) => T): T {
  const legacy = legacyChains();
  using nftables = openNftables();
  return work([...nftables?.chains ?? [], ...legacy], nftables);
}

/** undefined: the kernel has none. */
function openNftables(): Nftables | undefined {
  try {
    return new Nftables();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (!["EPROTONOSUPPORT", "EINVAL"].includes(error.code)) throw error;
    return undefined;
  }
}

/** What drops a process' packets to a TCP port of 127.0.0.1, as rules or policies of chains. @throws {SyscallError} */
export function loopbackCulprits(port: number): string[] {
  const lo = [{ index: 1, name: "lo" }], addr = addresses(["127.0.0.1"]);
  const place = { addr, type: ROUTE_TYPE.LOCAL };
  const packet = ipv4({ src: place, dst: { ...place, port }, protocol: PROTOCOL.TCP });
  return withChains((chains) => {
    const evaluation = new Evaluation(packet);
    const found = [
      ...evaluation.at({ layer: "ip", hook: "output", iif: [], oif: lo }, chains),
      ...evaluation.at({ layer: "ip", hook: "input", iif: lo, oif: [] }, chains),
    ];
    return found.map(nameOf);
  });
}

function kubeProxyFindings(present: boolean): Finding[] {
  if (!present) return [];
  return [{
    part,
    health: "note",
    text:
      "kube-proxy's rules are here: they decide on what pcnk leaves to the stack, with the endpoints of when they were written",
    next: "stop kube-proxy on this node, then: kube-proxy --cleanup",
  }];
}

function networkOf(node: NodeReader): NodeNetwork {
  const { maps } = node;
  const config = maps.config.get(0);
  const device = (index: number): Device => ({ index, name: node.device(index) });
  const remotes = maps.remotes.entries();
  const overlay = remotes.find(([, { mode }]) => mode === REMOTE_MODE.OVERLAY)?.[1];
  const own = config?.node_addr ?? "0.0.0.0";
  const gateway = config?.snat_addr ?? "0.0.0.0";
  return {
    own,
    ownDevice: node.nl.addrs().find(({ address }) => address === own)?.ifindex,
    gateway: gateway === "0.0.0.0" ? own : gateway,
    pods: networks(config ? [{ addr: config.pod_cidr, mask: config.pod_mask }] : []),
    remotePods: networks(
      remotes.map(([{ addr, prefixlen }]) => ({ addr, mask: maskOf(prefixlen) })),
    ),
    podDevices: [...new Set(maps.endpoints.entries().map(([, { ifindex }]) => ifindex))].map(
      device,
    ),
    bridge: config?.pods_ifindex ? device(config.pods_ifindex) : undefined,
    uplinks: maps.uplinks.entries().map(([{ ifindex }]) => device(ifindex)),
    overlay: overlay && {
      device: device(overlay.ifindex),
      port: config?.overlay_port ?? 0,
      peers: remotes.filter(([, { mode }]) => mode === REMOTE_MODE.OVERLAY).map(([, { via }]) =>
        via
      ),
    },
    stack: ((config?.flags ?? 0) & NODE_FLAG.EGRESS_STACK) !== 0,
    endpoints: ownEndpoints(node, own),
  };
}

/** What the addresses of these networks have in common. */
function networks(nets: readonly { addr: string; mask: string }[]): Bits {
  const bits = addresses(nets.map(({ addr }) => addr));
  const masks = nets.map(({ mask }) => addressBytes(mask));
  return {
    value: bits.value,
    known: bits.known.map((byte, i) => masks.reduce((all, mask) => all & mask[i]!, byte)),
  };
}

const maskOf = (length: number) => addressOf(2 ** 32 - 2 ** (32 - length));

/** Bounds the look-ups on a node with very many Services. */
const MOST_SERVICES = 5000, MOST_ENDPOINTS = 5;

/** Endpoints of Services at the node's own addresses: the API server on a control plane's node. */
function ownEndpoints({ maps }: NodeReader, own: string): NodeNetwork["endpoints"] {
  const found = new Map<string, NodeNetwork["endpoints"][number]>();
  const services = maps.services.entries(MOST_SERVICES);
  for (const [{ proto }, { first, count, flags }] of services) {
    if (flags & SERVICE_FLAG.ADDRESS || count === 0) continue;
    for (const { addr, port, flags } of maps.backends.range(first, Math.min(count, 64))) {
      if (addr !== own || flags & BACKEND_FLAG.TERMINATING) continue;
      found.set(`${addr} ${port} ${proto}`, { addr, port, protocol: proto });
    }
  }
  return [...found.values()].slice(0, MOST_ENDPOINTS);
}
