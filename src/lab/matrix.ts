/** The connectivity matrix: whether what a probe saw is right, and answers sorted into rows (pure). */
import type { Check } from "./checks.ts";
import type { PodAddress } from "./manifests.ts";
import { type Answer, type Probe, type ProbeResult, PROMPT_MS } from "./probe.ts";
import { ALL_ROWS } from "./rows.ts";

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
  status: "ok" | "failed" | "no pair";
  cells: Cell[];
}

/** What runs and what does not, for hints. */
export interface Health {
  /** Names of nodes whose agent does not run. */
  deadAgents: string[];
  /** Names of pods whose server does not run. */
  deadServers: string[];
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
  for (const seen of answers) {
    const reason = mistaken(check, seen);
    if (reason !== undefined) return { ms, short: "address", reason };
  }
  return { ms };
}

/** What is wrong with the address by which a server saw the client. */
function mistaken({ source, seenAs }: Check, answer: Answer): string | undefined {
  // Only a pod that talks to itself may be seen under any address: an answer to its own would not leave it.
  if (answer.name === source) return undefined;
  const wanted = seenAs?.get(answer.name);
  const seen = answer.seenAs?.replace(/:\d+$/, "");
  if (seen === wanted) return undefined;
  const found = `${answer.name} saw the client as ${seen ?? "itself"}`;
  return wanted === undefined ? found : `${found}, not as ${wanted}`;
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
    const status = cells.length === 0
      ? "no pair"
      : cells.every((cell) => cell.ok)
      ? "ok"
      : "failed";
    return { title: row.title, protocol: PROTOCOLS[row.kind], status, cells };
  });
}
