/** `lab demo`: a lab from up to down with everything tried in between; what a newcomer sees first. */
import { sourcesOf } from "./connectivity.ts";
import { downLab } from "./down.ts";
import { spokenCommand } from "./executable.ts";
import type { LabHandle } from "./lab.ts";
import { leftovers } from "./leftovers.ts";
import type { Progress } from "./progress.ts";
import { renderReport, type TestReport } from "./report.ts";
import { LabStore } from "./state.ts";
import { labStatus, renderStatus } from "./status.ts";
import { columns, type Paint } from "../view/terminal.ts";
import { upLab, type UpOptions } from "./up.ts";

/** Where a demo shows what it found. */
interface DemoOutput {
  write(text: string): void;
  paint: Paint;
  /** In columns. */
  width: number;
}

/**
 * Up, test, down; whatever happens, nothing stays behind.
 *
 * @throws what `upLab` and `downLab` throw; red cells are in the report.
 */
export async function runDemo(
  options: UpOptions & { name: string; progress: Progress },
  output: DemoOutput,
): Promise<TestReport> {
  const { name, progress, signal } = options;
  await clearCrashed(name, progress);
  const lab = await upLab(options);
  let report: TestReport;
  try {
    output.write("\n" + renderStatus(labStatus(lab.store), output.paint));
    report = await lab.test(progress, signal);
    output.write("\n" + render(lab, report, output) + "\n");
  } finally {
    await downLab(name, progress);
  }
  output.write("\n" + ending(report, output.paint));
  return report;
}

/** Removes what a crashed demo left; a lab that its user keeps stays, and upLab reports that it is there. */
async function clearCrashed(name: string, progress: Progress): Promise<void> {
  if (leftovers(name).length === 0) return;
  try {
    const store = LabStore.open(name);
    if (store.busy || store.state.phase === "up") return;
  } catch {
    // Its state cannot be read: that too is a crash.
  }
  progress.note(`removing what an earlier ${name} left behind`);
  await downLab(name, progress);
}

function render(lab: LabHandle, report: TestReport, { width, paint }: DemoOutput): string {
  return renderReport(report, sourcesOf(lab.store), width, paint);
}

function ending(report: TestReport, paint: Paint): string {
  const pcnk = spokenCommand();
  if (report.failed > 0) {
    return `${
      paint("red", `${report.failed} checks failed.`)
    } The lab is gone; to look into it keep one up:

  ${pcnk} lab up && ${pcnk} lab test
`;
  }
  const verdict = report.passed > 0 ? "All green" : "Without pods there is nothing to check";
  return `${paint("green", `${verdict}, and nothing is left behind.`)}

What you saw: a cluster of network namespaces; pods wired by the bridge
and host-local plugins, with pcnk chained behind them; nodes joined
by pcnk; services translated by eBPF, at each pod's own veth and where
processes of a node connect.

Next:
${columns(NEXT.map(([args, what]) => [`  ${pcnk} ${args}`, what])).join("\n")}
`;
}

const NEXT = [
  ["lab up", "keep one, to play with"],
  ["lab exec pod1-1 -- curl 10.96.1.1", "ask a service"],
  ["lab status", "see nodes and pods"],
  ["lab down", "remove it"],
] as const;
