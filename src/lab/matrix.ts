/**
 * The connectivity matrix: which rows there are, which probes fill them, and whether what a probe saw is right (pure).
 */
import type { PodAddress } from "./manifests.ts";
import { type LabService, SERVICE_PORT } from "./manifests.ts";
import type { LabPlan } from "./plan.ts";
import { SERVER_PORT } from "./plan.ts";
import type { Probe, ProbeKind, ProbeResult } from "./probe.ts";

/** A row: the same question asked by several sources. */
export interface Row {
  title: string;
  kind: ProbeKind;
  /** Not tried: a later version of pcnk answers it. */
  notYet?: boolean;
}

/** One question of one source. */
export interface Check {
  row: Row;
  /** The name of the pod or node that asks. */
  source: string;
  /** What is asked, for people. */
  target: string;
  probe: Probe;
  /** The pods that may answer; `refused` when nobody must. */
  expect: string[] | "refused";
}

/** An answered question. */
export interface Cell {
  source: string;
  target: string;
  ok: boolean;
  /** The fastest round trip, or the time until the refusal, in milliseconds. */
  ms?: number;
  /** Why not, in a word or two for the table and in a sentence for below it. */
  short?: string;
  reason?: string;
  hint?: string;
}

/** A filled row. */
export interface RowResult {
  title: string;
  protocol: "TCP" | "UDP" | "ping";
  /** `no pair`: the lab is too small to ask. */
  status: "ok" | "failed" | "not yet" | "no pair";
  cells: Cell[];
}

/** What runs and what does not, for hints. */
export interface Health {
  /** Names of nodes whose agent does not run. */
  deadAgents: string[];
  /** Names of pods whose server does not run. */
  deadServers: string[];
}

/** A refusal that takes longer than this is not prompt. */
const PROMPT_MS = 500;
const TIMEOUT_MS = 1000;

const both: ProbeKind[] = ["tcp", "udp"];
const all: ProbeKind[] = ["tcp", "udp", "ping"];

function rows(title: string, kinds: ProbeKind[], notYet = false): Row[] {
  return kinds.map((kind) => ({ title, kind, ...(notYet && { notYet }) }));
}

const ROWS = {
  nodeToPod: rows("node → pod", ["tcp", "ping"]),
  podToNode: rows("pod → node", ["ping"]),
  podToGateway: rows("pod → gateway", ["ping"]),
  podToPod: rows("pod → pod, same node", all),
  podToService: rows("pod → ClusterIP", all),
  podToItself: rows("pod → itself through its service", both),
  podToNothing: rows("pod → service with no backends", both),
  later: [
    ...rows("pod → pod, other node", ["tcp"], true),
    ...rows("pod → ClusterIP, other node", ["tcp"], true),
    ...rows("pod → outside", ["tcp"], true),
    ...rows("host → ClusterIP", ["tcp"], true),
    ...rows("outside → NodePort", ["tcp"], true),
  ],
};

/** All rows, in the order of the table. */
export const ALL_ROWS: Row[] = Object.values(ROWS).flat();

/** Every check that a lab with these pods and services calls for. */
export function planChecks(plan: LabPlan, pods: PodAddress[], services: LabService[]): Check[] {
  const service = (name: string) => services.filter((each) => each.name === name);
  return plan.nodes.flatMap((node) => {
    const here = pods.filter((pod) => pod.node === node.name);
    return [
      ...here.flatMap((pod) => ask(ROWS.nodeToPod, node.name, toPod(pod))),
      ...here.flatMap((pod) => [
        ...ask(ROWS.podToNode, pod.name, { target: node.name, address: node.address }),
        ...ask(ROWS.podToGateway, pod.name, { target: "gateway", address: node.gateway }),
        ...here.filter((other) => other !== pod)
          .flatMap((other) => ask(ROWS.podToPod, pod.name, toPod(other))),
        ...service(`echo-${node.name}`).flatMap((to) =>
          ask(ROWS.podToService, pod.name, toService(to))
        ),
        ...service(`self-${pod.name}`)
          .flatMap((to) => ask(ROWS.podToItself, pod.name, toService(to))),
        ...service("empty").flatMap((to) => ask(ROWS.podToNothing, pod.name, toService(to))),
      ]),
    ];
  });
}

interface Target {
  target: string;
  address: string;
  port?: number;
  connections?: number;
  expect?: string[] | "refused";
}

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
  }));
}

/** Whether a probe saw what was to be seen, and if not, why. */
export function judge(check: Check, result: ProbeResult): Cell {
  const verdict = check.expect === "refused"
    ? judgeRefusal(check, result)
    : judgeAnswer(check, check.expect, result);
  return {
    source: check.source,
    target: check.target,
    ok: verdict.short === undefined,
    ...verdict,
  };
}

type Verdict = Pick<Cell, "ms" | "short" | "reason">;

function judgeRefusal({ probe }: Check, { error, answers }: ProbeResult): Verdict {
  const wanted = probe.kind === "tcp" ? "a reset" : "a port unreachable";
  if (error?.code === "ECONNREFUSED") {
    const ms = error.afterMs;
    if (ms <= PROMPT_MS) return { ms };
    return { ms, short: "late", reason: `${wanted} came only after ${ms.toFixed(0)} ms` };
  }
  if (error === undefined) {
    return {
      short: "answered",
      reason: `${answers[0]?.name ?? "something"} answered instead of ${wanted}`,
    };
  }
  const { short, reason } = explain(error, probe);
  return { short, reason: `${reason}, instead of ${wanted}` };
}

function judgeAnswer(check: Check, expect: string[], result: ProbeResult): Verdict {
  const { ms, answers, error } = result;
  if (error) return explain(error, check.probe);
  const wrong = answers.find(({ name }) => !expect.includes(name));
  if (wrong !== undefined) {
    const reason = `wrong backend answered: ${wrong.name}, not ${expect.join(" or ")}`;
    return { ms, short: "wrong", reason };
  }
  // Only a pod that talks to itself may be seen under another address: an answer to its own would not leave it.
  const masked = answers.find(({ name, seenAs }) => seenAs !== undefined && name !== check.source);
  if (masked !== undefined) {
    const seen = masked.seenAs!.replace(/:\d+$/, "");
    return { ms, short: "address", reason: `${masked.name} saw the client as ${seen}` };
  }
  return { ms };
}

const SHORT: Record<string, string> = {
  TIMEOUT: "timeout",
  ECONNREFUSED: "refused",
  ECONNRESET: "reset",
  EHOSTUNREACH: "no route",
  ENETUNREACH: "no route",
  UNREACHABLE: "no route",
  BAD_ANSWER: "stranger",
};

function explain(error: NonNullable<ProbeResult["error"]>, probe: Probe): Verdict {
  const ms = error.afterMs.toFixed(0);
  const reasons: Record<string, string> = {
    TIMEOUT: `timeout after ${probe.timeoutMs / 1000} s`,
    ECONNREFUSED: probe.kind === "tcp" ? "refused (TCP reset)" : "refused (ICMP port unreachable)",
    ECONNRESET: `connection reset after ${ms} ms`,
    EHOSTUNREACH: "no route to host",
    ENETUNREACH: "network is unreachable",
  };
  return { short: SHORT[error.code] ?? "failed", reason: reasons[error.code] ?? error.text };
}

/** What may be behind a red cell; undefined when nothing comes to mind. */
export function hint(check: Check, pods: PodAddress[], health: Health): string | undefined {
  const expected = check.expect === "refused" ? [] : check.expect;
  const silent = expected.find((name) => health.deadServers.includes(name));
  if (silent !== undefined) return `the server in ${silent} is not running`;
  const node = pods.find((pod) => pod.name === check.source)?.node ?? check.source;
  if (check.target.startsWith("service ") && health.deadAgents.includes(node)) {
    return `the agent of ${node} is not running, so its services are not kept up to date`;
  }
  return undefined;
}

const PROTOCOLS = { tcp: "TCP", udp: "UDP", ping: "ping" } as const;

/** Sorts answered checks into rows. */
export function fillRows(answered: { check: Check; cell: Cell }[]): RowResult[] {
  return ALL_ROWS.map((row) => {
    const cells = answered.filter(({ check }) => check.row === row).map(({ cell }) => cell);
    const status = row.notYet
      ? "not yet"
      : cells.length === 0
      ? "no pair"
      : cells.every((cell) => cell.ok)
      ? "ok"
      : "failed";
    return { title: row.title, protocol: PROTOCOLS[row.kind], status, cells };
  });
}
