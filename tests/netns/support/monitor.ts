/** A `pcnk monitor` on node 1 of a lab. */
import assert from "node:assert/strict";
import { openDataPlane } from "../../../src/bpf/dataplane.ts";
import type { LabHandle } from "../../../src/lab/lab.ts";
import { monotonicNow } from "../../../src/linux/clock.ts";
import { pcnk } from "../../support/pcnk.ts";

/** Starts one that prints JSON; its standard error goes to `stderr`. */
export function startMonitor(
  lab: LabHandle,
  args: string[],
  stderr: "piped" | "inherit" = "piped",
): Deno.ChildProcess {
  const { bpffs, dir } = lab.store.plan.nodes[0]!;
  const argv = [...pcnk, "monitor", "--bpffs", bpffs, "--state-dir", dir, "-o", "json", ...args];
  return lab.command("node1", argv, { stdin: "null", stdout: "piped", stderr }).spawn();
}

/** Waits until the kernel knows of a listener. */
export async function listening(lab: LabHandle): Promise<void> {
  using plane = openDataPlane(lab.store.plan.nodes[0]!.bpffs);
  const deadline = performance.now() + 10_000;
  while ((plane.maps.monitor.get(0)?.until ?? 0n) <= monotonicNow()) {
    assert.ok(performance.now() < deadline, "no listener");
    await new Promise((done) => setTimeout(done, 10));
  }
}
