/** Which probes fill the rows of the connectivity matrix, and what they are to see (pure). */
import { type LabService, type PodAddress, SERVICE_PORT } from "./manifests.ts";
import { type LabPlan, type NodePlan, SERVER_PORT } from "./plan.ts";
import type { Probe } from "./probe.ts";
import { type Row, ROWS } from "./rows.ts";

/** One question of one source. */
export interface Check {
  row: Row;
  /** The name of the pod or node that asks, or `outside`. */
  source: string;
  /** What is asked, for people. */
  target: string;
  probe: Probe;
  /** The servers that may answer; `refused` when none must. */
  expect: string[] | "refused";
  /** The address by which a server has to see the client, where that is not the client's own. By the server's name. */
  seenAs?: ReadonlyMap<string, string>;
}

const TIMEOUT_MS = 10_000;
const LOOPBACK = "127.0.0.1";

/** Every check that a lab with these pods and services calls for. */
export function planChecks(plan: LabPlan, pods: PodAddress[], services: LabService[]): Check[] {
  const lab = { plan, pods, services };
  return [
    ...plan.nodes.flatMap((node) => [
      ...hostChecks(lab, node),
      ...podsOn(lab, node).flatMap((pod, place) => podChecks(lab, node, pod, place)),
    ]),
    ...plan.nodes.flatMap((node) => outsideChecks(lab, node)),
  ];
}

interface Lab {
  plan: LabPlan;
  pods: PodAddress[];
  services: LabService[];
}

function podsOn({ pods }: Lab, node: NodePlan): PodAddress[] {
  return pods.filter((pod) => pod.node === node.name);
}

/** The service of that name, if it has backends. */
function service({ services }: Lab, name: string): LabService[] {
  return services.filter((each) => each.name === name && each.backends.length > 0);
}

function others({ plan }: Lab, node: NodePlan): NodePlan[] {
  return plan.nodes.filter((other) => other !== node);
}

/** Other nodes' pods at the same place in their node's list: one a node, so that a lab of 512 pods does not ask all pairs. */
function counterparts(lab: Lab, node: NodePlan, place: number): PodAddress[] {
  return others(lab, node).flatMap((other) => {
    const there = podsOn(lab, other);
    return there.length === 0 ? [] : [there[place % there.length]!];
  });
}

function hostChecks(lab: Lab, node: NodePlan): Check[] {
  const from = node.name;
  return [
    ...podsOn(lab, node).flatMap((pod) => ask(ROWS.hostToPod, from, toPod(pod))),
    ...counterparts(lab, node, 0)
      .flatMap((pod) => ask(ROWS.hostToPodElsewhere, from, toPod(pod))),
    ...lab.plan.nodes.flatMap((other) => service(lab, `echo-${other.name}`))
      .flatMap((to) => ask(ROWS.hostToService, from, toService(to))),
    ...service(lab, "nodeport").flatMap((to) => [
      ...ask(ROWS.hostToNodePort, from, toNodePort(to, LOOPBACK, "loopback")),
      ...lab.plan.nodes.flatMap(({ address, name }) =>
        ask(ROWS.hostToNodePort, from, toNodePort(to, address, name))
      ),
    ]),
  ];
}

function podChecks(lab: Lab, node: NodePlan, pod: PodAddress, place: number): Check[] {
  const { plan } = lab;
  const from = pod.name;
  return [
    ...ask(ROWS.podToHost, from, { target: node.name, address: node.address }),
    ...ask(ROWS.podToGateway, from, { target: "gateway", address: node.gateway }),
    ...podsOn(lab, node).filter((other) => other !== pod)
      .flatMap((other) => ask(ROWS.podToPod, from, toPod(other))),
    ...counterparts(lab, node, place)
      .flatMap((other) => ask(ROWS.podToPodElsewhere, from, toPod(other))),
    ...service(lab, `echo-${node.name}`)
      .flatMap((to) => ask(ROWS.podToService, from, toService(to))),
    ...others(lab, node).flatMap((other) => service(lab, `echo-${other.name}`))
      .flatMap((to) => ask(ROWS.podToServiceElsewhere, from, toService(to))),
    ...service(lab, `self-${pod.name}`)
      .flatMap((to) => ask(ROWS.podToItself, from, toService(to))),
    ...lab.services.filter(({ name }) => name === "empty")
      .flatMap((to) => ask(ROWS.podToNothing, from, toService(to))),
    ...service(lab, "nodeport").flatMap((to) =>
      [node, ...others(lab, node).slice(0, 1)].flatMap(({ address, name }) =>
        ask(ROWS.podToNodePort, from, toNodePort(to, address, name))
      )
    ),
    ...ask(ROWS.podToOutside, from, {
      target: plan.outside.name,
      address: plan.outside.address,
      port: SERVER_PORT,
      expect: [plan.outside.name],
      seenAs: new Map([[plan.outside.name, node.address]]),
    }),
  ];
}

/** From outside by one node's address, to backends there and elsewhere. */
function outsideChecks(lab: Lab, node: NodePlan): Check[] {
  const { name: from } = lab.plan.outside;
  // The node that was asked stands in for the client, so that the answer comes back by it.
  const seenAs = new Map(
    lab.pods.filter((pod) => pod.node !== node.name).map((pod) => [pod.name, node.gateway]),
  );
  const here = podsOn(lab, node).map((pod) => pod.name);
  return [
    ...lab.plan.nodes.flatMap((other) => service(lab, `echo-${other.name}`)).flatMap((to) =>
      ask(ROWS.outsideToNodePort, from, {
        ...toNodePort(to, node.address, node.name),
        seenAs,
      })
    ),
    // With the policy Local a node without backends drops: nothing to ask it.
    ...service(lab, "nodeport-local").filter(() => here.length > 0).flatMap((to) =>
      ask(ROWS.outsideToLocalNodePort, from, {
        ...toNodePort(to, node.address, node.name),
        expect: here,
      })
    ),
  ];
}

type Target = Pick<Check, "target" | "seenAs"> & Partial<Pick<Check, "expect">> & {
  address: string;
  port?: number;
  connections?: number;
};

function toPod(pod: PodAddress): Target {
  return { target: pod.name, address: pod.address, port: SERVER_PORT, expect: [pod.name] };
}

function toService({ name, address, backends }: LabService): Target {
  return {
    target: `service ${name}`,
    address,
    port: SERVICE_PORT,
    // Enough that each of a few backends gets its turn, most probably.
    connections: Math.min(8, backends.length * 2),
    expect: backends.length === 0 ? "refused" : backends.map((pod) => pod.name),
  };
}

function toNodePort(to: LabService, address: string, where: string): Target {
  return {
    ...toService(to),
    target: `service ${to.name} by ${where}`,
    address,
    port: to.nodePort ?? 0,
  };
}

function ask(rows: Row[], source: string, to: Target): Check[] {
  return rows.map((row) => ({
    row,
    source,
    target: to.target,
    probe: {
      kind: row.kind,
      address: to.address,
      port: row.kind === "ping" ? 0 : to.port ?? 0,
      connections: row.kind === "ping" ? 1 : Math.max(1, to.connections ?? 1),
      timeoutMs: TIMEOUT_MS,
    },
    expect: to.expect ?? [],
    seenAs: to.seenAs,
  }));
}
