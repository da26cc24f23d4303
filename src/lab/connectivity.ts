/** `lab test`: one probe process in every node and pod, all their checks at once, judged and sorted into rows. */
import { agentStatus, nodePlace } from "./agents.ts";
import { labServices } from "./manifests.ts";
import { type Check, planChecks } from "./checks.ts";
import { type Cell, fillRows, type Health, hint, judge } from "./matrix.ts";
import { outsidePlace, outsideServer } from "./outside.ts";
import { podPlace } from "./pods.ts";
import type { ProbeResult } from "./probe.ts";
import type { Progress } from "./progress.ts";
import { isAlive } from "./process.ts";
import { type Sources, summarize, type TestReport } from "./report.ts";
import { wiredPods } from "./services.ts";
import { commandAt, type Place } from "./spawn.ts";
import type { LabStore } from "./state.ts";
import { inParallel, within } from "./wait.ts";

/** Probe processes at a time; more would only measure each other. */
const PARALLEL = 2;

/** A probe process ends by itself long before: each probe has its own time limit. */
const PROBE_PROCESS_MS = 180_000;

/** Nodes and pods of a lab and the machine outside as columns of the table. */
export function sourcesOf(store: LabStore): Sources {
  const { nodes, outside } = store.plan;
  return { nodes: nodes.map(({ name }) => name), pods: wiredPods(store), others: [outside.name] };
}

/**
 * Runs the connectivity matrix. Red cells are part of the report, not errors.
 *
 * @throws Error when a probe process itself fails.
 */
export function testLab(store: LabStore, progress: Progress, signal?: AbortSignal) {
  return progress.step("test", async (step) => {
    // All pods, also one whose server has died: its silence is what a test is to find.
    const pods = wiredPods(store);
    const checks = planChecks(store.plan, pods, labServices(store.plan, pods));
    const bySource = Map.groupBy(checks, (check) => check.source);
    const health = healthOf(store);
    const cells = new Map<Check, Cell>();
    let done = 0;
    await inParallel([...bySource], PARALLEL, async ([source, own]) => {
      const results = await probeFrom(store, placeOf(store, source), own, signal);
      own.forEach((check, i) => {
        const cell = judge(check, results[i]!);
        cells.set(check, cell.ok ? cell : { ...cell, hint: hint(check, pods, health) });
      });
      step.update(`${++done}/${bySource.size}`);
    });
    return summarize(fillRows(checks.map((check) => ({ check, cell: cells.get(check)! }))));
  }, ({ passed, failed }: TestReport) => `${passed + failed} checks`);
}

function healthOf(store: LabStore): Health {
  return {
    deadAgents: store.plan.nodes.filter((node) => agentStatus(store, node).pid === undefined)
      .map((node) => node.name),
    deadServers: [
      ...Object.values(store.state.pods)
        .filter(({ server }) => server === undefined || !isAlive(server)).map((pod) => pod.name),
      ...outsideServer(store) === undefined ? [store.plan.outside.name] : [],
    ],
  };
}

/**
 * Where the processes of a node, of a pod or of the machine outside run.
 *
 * @throws Error naming what there is when `name` is none of them.
 */
export function placeOf(store: LabStore, name: string): Place {
  const node = store.plan.nodes.find((each) => each.name === name);
  if (node) return nodePlace(store, node);
  const pod = store.state.pods[name];
  if (pod) return podPlace(store, pod);
  const { nodes, outside } = store.plan;
  if (name === outside.name) return outsidePlace(store);
  const names = [
    ...nodes.map((each) => each.name),
    ...Object.keys(store.state.pods),
    outside.name,
  ];
  throw new Error(
    `no node or pod ${JSON.stringify(name)} in lab ${store.plan.options.name}; there are ${
      names.join(", ")
    }`,
  );
}

async function probeFrom(store: LabStore, place: Place, checks: Check[], signal?: AbortSignal) {
  const child = commandAt(place, [...store.state.command, "lab", "probe"], {
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    signal,
  }).spawn();
  const input = new Blob([JSON.stringify(checks.map((check) => check.probe))]).stream();
  const [output] = await Promise.all([
    within(PROBE_PROCESS_MS, "a probe process did not end", child.output()),
    input.pipeTo(child.stdin).catch(() => {}), // It ended early; its exit code is reported.
  ]);
  signal?.throwIfAborted();
  if (!output.success) {
    const text = new TextDecoder().decode(output.stderr).trim();
    throw new Error(`a probe process ended with code ${output.code}: ${text}`);
  }
  return JSON.parse(new TextDecoder().decode(output.stdout)) as ProbeResult[];
}
