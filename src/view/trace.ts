/**
 * What would happen to the first packet of a flow: it runs through copies of the node's programs (replica.ts), hop by hop,
 * until it leaves the node or ends.
 */
import { podAttachPoints } from "../bpf/attach_points.ts";
import { SCOPE } from "../bpf/layout.ts";
import { TC_ACT } from "../bpf/testrun.ts";
import type { ReasonInfo } from "../bpf/reasons.ts";
import { parsePortName, protocolName } from "./names.ts";
import type { NodeReader } from "./node.ts";
import { buildPacket, type Flow, formatEnd, PROTOCOL_NUMBER, readPacket } from "./packet.ts";
import { readServices } from "./services.ts";
import { type Passage, Replica } from "./replica.ts";

/** A hop of the packet. */
interface Hop {
  /** A program and its device, `lbrp_from_pod on veth1`, or `routes`. */
  at: string;
  /** Names of reasons, the packet's own first; empty where no program decided. */
  reasons: string[];
  /** What happened, for people. */
  text: string;
}

/** The hops, and how the packet ends. */
export interface Trace {
  flow: Flow;
  hops: Hop[];
  outcome: "delivered" | "sent" | "replied" | "rejected" | "dropped" | "stack";
  /** One line. */
  text: string;
}

/** Follows the packet. `flow.src` is a local pod, or an address outside whose packet enters by an uplink. */
export function trace(node: NodeReader, flow: Flow): Trace {
  using replica = new Replica(node);
  return new Tracer(node, replica, flow).run();
}

const LOCAL_MAC = "02:00:00:00:00:01";

/** The trace of one flow on copies of the programs. */
export class Tracer {
  readonly #hops: Hop[] = [];
  readonly #node: NodeReader;
  readonly #replica: Replica;
  readonly #flow: Flow;

  constructor(
    node: NodeReader,
    replica: Replica,
    flow: Flow,
  ) {
    this.#node = node;
    this.#replica = replica;
    this.#flow = flow;
  }

  run(): Trace {
    const pod = this.#node.maps.endpoints.get({ addr: this.#flow.src });
    return pod === undefined ? this.#fromOutside() : this.#fromPod(pod.ifindex, pod.mac);
  }

  #fromPod(ifindex: number, mac: string): Trace {
    const host = this.#node.links.get(ifindex);
    if (host === undefined) return this.#end("dropped", `the device of ${this.#flow.src} is gone`);
    const gateway = host.master === undefined ? host : this.#node.links.get(host.master) ?? host;
    const [, from] = podAttachPoints(this.#node.place.bpffs, this.#node.nl, host);
    const packet = buildPacket(this.#flow, { src: mac, dst: gateway.mac || LOCAL_MAC });
    const passage = this.#pass(from!.name, host.name, ifindex, packet);
    const leaves = ["world_sent", "forward_sent"].includes(passage.reasons[0]?.name ?? "") &&
      this.#remote(readPacket(passage.packet) ?? this.#flow) === undefined;
    return (leaves ? undefined : this.#judge(passage)) ?? this.#stack(passage);
  }

  #fromOutside(): Trace {
    const [uplink] = this.#node.maps.uplinks.entries();
    const link = uplink && this.#node.links.get(uplink[0].ifindex);
    if (link === undefined) return this.#end("dropped", "this node has no uplink to come in by");
    const packet = buildPacket(this.#flow, { src: LOCAL_MAC, dst: link.mac || LOCAL_MAC });
    const passage = this.#pass("k8sd_from_uplink", link.name, link.index, packet);
    return this.#judge(passage) ?? this.#stack(passage, link.index);
  }

  /** Runs a program and writes down what it did. */
  #pass(
    program: string,
    device: string,
    ifindex: number,
    packet: Uint8Array<ArrayBuffer>,
  ): Passage {
    const passage = this.#replica.run(program, packet, ifindex);
    const [before, after] = [readPacket(packet), readPacket(passage.packet)];
    const [reason] = passage.reasons;
    const text = [reason?.help ?? "passed on", ...changes(before, after)].join("; ");
    this.#hops.push({
      at: `${program} on ${device}`,
      reasons: passage.reasons.map(({ name }) => name),
      text,
    });
    return passage;
  }

  /** The end, when the program has decided on it; undefined when the packet goes on to the stack. */
  #judge({ verdict, packet, reasons: [reason] }: Passage): Trace | undefined {
    const now = readPacket(packet) ?? this.#flow;
    if (verdict === TC_ACT.SHOT) {
      return this.#end("dropped", `dropped: ${reason?.help ?? "no reason given"}`);
    }
    if (verdict !== TC_ACT.REDIRECT) return undefined;
    if (reason !== undefined) {
      const reply = replyOf(reason);
      if (reply?.[0] === "rejected") {
        return this.#end(reply[0], reply[1] + nextStep(this.#node, this.#flow));
      }
      if (reply !== undefined) return this.#end(...reply);
    }
    return this.#arrive(now);
  }

  /** Past the stack: to a local pod, or to another node. */
  #arrive(now: Flow): Trace {
    const to = formatEnd(now, now.dst, now.dport);
    if (this.#node.maps.endpoints.get({ addr: now.dst })) {
      const pod = this.#node.pods.get(now.dst)?.pod;
      return this.#end("delivered", `delivered to ${to}${pod ? `, pod ${pod}` : ""}, on this node`);
    }
    const remote = this.#remote(now);
    if (remote === undefined) return this.#end("sent", `sent to ${to}`);
    const name = this.#node.nodeName(remote.via) ?? remote.via;
    const device = remote.ifindex === 0 ? "the node's routes" : this.#node.device(remote.ifindex);
    return this.#end("sent", `sent to ${to} on node ${name} (${remote.via}) by ${device}`);
  }

  #remote({ dst }: Flow) {
    return this.#node.maps.remotes.get({ prefixlen: 32, addr: dst });
  }

  /** The node's own routes decide, whether a program or the stack looks them up. */
  #stack({ packet }: Passage, cameBy?: number): Trace {
    const now = readPacket(packet) ?? this.#flow;
    if (this.#node.maps.endpoints.get({ addr: now.dst })) return this.#arrive(now);
    let route;
    try {
      route = this.#node.nl.routeTo(now.dst);
    } catch (error) {
      const reason = (error as Error).message;
      this.#hops.push({ at: "routes", reasons: [], text: `no route to ${now.dst}: ${reason}` });
      return this.#end("dropped", `the node has no route to ${now.dst}`);
    }
    if (route.type === "local") {
      this.#hops.push({ at: "routes", reasons: [], text: `${now.dst} is an address of this node` });
      return this.#end(
        "stack",
        `up to the node's own sockets: ${formatEnd(now, now.dst, now.dport)}`,
      );
    }
    const device = this.#node.device(route.ifindex ?? 0);
    const via = route.gateway ? ` via ${route.gateway}` : "";
    this.#hops.push({ at: "routes", reasons: [], text: `to ${now.dst}${via} by ${device}` });
    return this.#leave(packet, route.ifindex ?? 0, cameBy);
  }

  /** Out by a device: through the dispatcher when that is an uplink. */
  #leave(packet: Uint8Array<ArrayBuffer>, ifindex: number, cameBy?: number): Trace {
    const now = readPacket(packet) ?? this.#flow;
    const device = this.#node.device(ifindex);
    if (!this.#node.maps.uplinks.get({ ifindex })) {
      const back = cameBy === ifindex ? ", where it came from" : "";
      return this.#end("stack", `left to the node's stack, by ${device}${back}`);
    }
    const passage = this.#pass("k8sd_to_uplink", device, ifindex, packet);
    const judged = passage.verdict === TC_ACT.SHOT ? this.#judge(passage) : undefined;
    if (judged !== undefined) return judged;
    const out = readPacket(passage.packet) ?? now;
    const as = formatEnd(out, out.src, out.sport);
    return this.#end(
      "sent",
      `sent to ${formatEnd(out, out.dst, out.dport)} by ${device}, as ${as}`,
    );
  }

  #end(outcome: Trace["outcome"], text: string): Trace {
    return { flow: this.#flow, hops: this.#hops, outcome, text };
  }
}

/** What to do about a Service that rejects, if one is the reason. */
function nextStep(node: NodeReader, { dst, dport }: Flow): string {
  const of = readServices(node, { names: [] }).find(({ address, frontendPort }) =>
    address === dst && frontendPort === dport
  );
  return of === undefined ? "" : `; pcnk describe service ${of.name} explains it`;
}

/** The outcome when the reason means that a program replied to the sender. */
function replyOf({ name, help }: ReasonInfo): [Trace["outcome"], string] | undefined {
  if (name.startsWith("rejected_")) return ["rejected", help];
  if (name === "echo_replied") return ["replied", `this node replied: ${help}`];
  if (name.startsWith("replied_")) return ["replied", help];
  return undefined;
}

function changes(before: Flow | undefined, after: Flow | undefined): string[] {
  if (before === undefined || after === undefined) return [];
  // A reply has its addresses swapped: nothing was translated.
  if (after.dst === before.src && after.src === before.dst) return [];
  const end = (which: "src" | "dst", flow: Flow) =>
    formatEnd(flow, flow[which], which === "src" ? flow.sport : flow.dport);
  return (["src", "dst"] as const).flatMap((which) => {
    const [old, now] = [end(which, before), end(which, after)];
    return old === now ? [] : [`${old} became ${now}`];
  });
}

/** The frontend that a name of a Service stands for: `default/web`, `web:80`, `default/web:53/UDP`. */
interface NamedTarget {
  address: string;
  port: number;
  protocol: "TCP" | "UDP";
}

/** The frontend of a Service by its name; its ClusterIP before other addresses. @throws Error naming choices */
export function findService(
  node: NodeReader,
  text: string,
  fromOutside = false,
): NamedTarget | undefined {
  const [, namespace = "default", name, port, protocol] =
    /^(?:([a-z0-9.-]+)\/)?([a-z][a-z0-9-]*)(?::(\d+)(?:\/(tcp|udp))?)?$/i.exec(text) ?? [];
  if (name === undefined) return undefined;
  const scope = fromOutside ? SCOPE.EXTERNAL : SCOPE.CLUSTER;
  const all = node.maps.services.entries().flatMap(([key, { id }]) => {
    const named = parsePortName(node.portName(id));
    const same = named.service === name && named.namespace === namespace && key.port > 0 &&
      key.addr !== "0.0.0.0" && (port === undefined || named.port === Number(port)) &&
      (protocol === undefined || named.protocol === protocol.toUpperCase());
    if (!same || (key.proto !== PROTOCOL_NUMBER.TCP && key.proto !== PROTOCOL_NUMBER.UDP)) {
      return [];
    }
    return [{
      address: key.addr,
      port: key.port,
      protocol: protocolName(key.proto) as "TCP" | "UDP",
      scope: key.scope,
    }];
  });
  const found = all.filter((one) => one.scope === scope);
  if (found.length === 0 && all.length > 0 && fromOutside) {
    throw new Error(
      `${namespace}/${name} has no address for clients outside the cluster: no load balancer's and no external one; of its NodePort give the node's address and that port`,
    );
  }
  const tcpFirst = found.sort((a, b) =>
    a.protocol < b.protocol ? -1 : a.protocol > b.protocol ? 1 : a.port - b.port
  );
  const ports = new Set(tcpFirst.map((one) => `${one.port}/${one.protocol}`));
  const sorts = new Set(tcpFirst.map((one) => one.port));
  if (sorts.size > 1) {
    throw new Error(`${namespace}/${name} has several ports: ${[...ports].join(", ")}; name one`);
  }
  return tcpFirst[0];
}
