/** `pcnk monitor` while a pod sends more than can be told of: it lives, stays small, counts, and is forgotten when killed. */
import assert from "node:assert/strict";
import { attach } from "../../src/bpf/attach.ts";
import type { DataPlane } from "../../src/bpf/dataplane.ts";
import { installDataPlane } from "../../src/bpf/install.ts";
import { SCOPE, SERVICE_FLAG } from "../../src/bpf/layout.ts";
import { type Reason, reasonIndex } from "../../src/bpf/reasons.ts";
import { monotonicNow } from "../../src/linux/clock.ts";
import { withNetns } from "../../src/linux/netns.ts";
import { startFlood } from "../support/flood.ts";
import { Listener, startPcnk } from "../support/pcnk.ts";
import * as needs from "../support/needs.ts";
import { Sandbox } from "../support/sandbox.ts";

const UDP = 17;
const SINK = "10.96.0.9";
const REASON = "drop_no_local_backend";

/** A device with lbrp on it, behind which every packet to SINK is dropped: a policy Local without a backend here. */
function dropper(sandbox: Sandbox) {
  const [pod, peer] = [sandbox.netns(), sandbox.netns()];
  const [ifindex] = sandbox.veth(pod, peer);
  pod.nl.addAddr({ ifindex, address: "10.96.0.1", prefixLength: 24 });
  pod.nl.replaceNeigh({ ifindex, address: SINK, mac: "02:00:00:00:00:02" });
  const bpffs = sandbox.bpffs();
  const plane = installDataPlane({ bpffs, nl: pod.nl });
  sandbox.defer(() => plane.close());
  plane.maps.services.set({ addr: SINK, port: 9, proto: UDP, scope: SCOPE.CLUSTER }, {
    id: 1,
    first: 0,
    count: 0,
    total_weight: 0,
    affinity_seconds: 0,
    flags: SERVICE_FLAG.LOCAL_ONLY,
    table: 0,
  });
  // Egress: the program runs on the sender's own thread, no queue that could overflow comes first.
  const programFd = plane.programFd("lbrp_from_pod");
  const hook = { bpffs, ifindex, direction: "egress", nl: pod.nl, name: "lbrp_from_pod" } as const;
  withNetns(pod.path, () => attach({ ...hook, programFd, mode: "clsact" }));
  const stateDir = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
  sandbox.defer(() => Deno.removeSync(stateDir, { recursive: true }));
  return { pod, plane, place: ["--bpffs", bpffs, "--state-dir", stateDir] };
}

function counted({ maps }: DataPlane, reason: Reason): number {
  const cpus = maps.counters.get(reasonIndex(reason)) ?? [];
  return Number(cpus.reduce((sum, { packets }) => sum + packets, 0n));
}

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!done()) {
    assert.ok(performance.now() < deadline, `not within 30 s: ${what}`);
    await new Promise((next) => setTimeout(next, 10));
  }
}

const listening = (plane: DataPlane) =>
  until("a listener", () => (plane.maps.monitor.get(0)?.until ?? 0n) > monotonicNow());

/** Kilobytes. */
function resident(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1]);
}

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name, ignore: !needs.root(), fn });
}

test("pcnk monitor in a flood tells of some packets, counts all the others, and does not grow", async () => {
  using sandbox = new Sandbox();
  const { pod, plane, place } = dropper(sandbox);
  const child = startPcnk("monitor", ...place, "-o", "json", "--rate", "200");
  const [out, err] = [new Listener(child.stdout), new Listener(child.stderr)];
  const [lines, words] = [out.all(), err.all()];
  await listening(plane);
  const began = performance.now();
  const flood = await startFlood(pod.path, SINK);
  try {
    await until("100,000 drops", () => counted(plane, REASON) > 100_000);
    const before = resident(child.pid);
    await until("500,000 drops", () => counted(plane, REASON) > 500_000);
    const grown = resident(child.pid) - before;
    assert.ok(grown < 20_000, `grew by ${grown} KB`);
  } finally {
    await flood.stop();
    child.kill("SIGINT");
  }
  const { code } = await child.status;
  const seconds = (performance.now() - began) / 1000;
  assert.equal(code, 0, await words);
  const told = (await lines).trim().split("\n").map((line) => JSON.parse(line));
  assert.ok(told.every(({ reason }) => reason === REASON));
  const [, shown, more] = /(\d+) packets shown, (\d+) more were not/.exec(await words) ??
    [];
  assert.equal(Number(shown), told.length);
  // Every packet is an event or counted as lost.
  assert.equal(told.length + Number(more), counted(plane, REASON));
  assert.equal(Number(more), counted(plane, "event_monitor_lost"));
  const cpus = navigator.hardwareConcurrency;
  assert.ok(
    told.length >= 200 && told.length < 200 * (seconds + 1 + cpus),
    `${told.length} lines`,
  );
});

test("monitor_listens() silences the kernel when a listener was killed in a flood", async () => {
  using sandbox = new Sandbox();
  const { pod, plane, place } = dropper(sandbox);
  const child = startPcnk("monitor", ...place);
  await listening(plane);
  child.kill("SIGKILL");
  await child.output();
  assert.ok(plane.maps.monitor.get(0)!.reasons.some((bits) => bits !== 0n));
  const flood = await startFlood(pod.path, SINK);
  try {
    await until(
      "nothing is asked for",
      () => plane.maps.monitor.get(0)!.reasons.every((bits) => bits === 0n),
    );
    const [lost, drops] = [counted(plane, "event_monitor_lost"), counted(plane, REASON)];
    await until("more drops", () => counted(plane, REASON) > drops + 10_000);
    // One packet on another CPU may have been about to be counted.
    assert.ok(counted(plane, "event_monitor_lost") - lost <= 1);
  } finally {
    await flood.stop();
  }
});
