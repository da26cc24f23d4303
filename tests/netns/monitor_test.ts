/** `pcnk monitor` in a lab: what it tells, what the kernel filters for it, and that nothing stays when it is killed. */
import assert from "node:assert/strict";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { monotonicNow } from "../../src/linux/clock.ts";
import { listening, startMonitor } from "./support/monitor.ts";
import { labTest } from "./support/lab.ts";

interface Told {
  reason: string;
  kind: string;
  service?: string;
  from?: string;
  to?: string;
  flow: { protocol: string; src: string; dst: string; dport: number };
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** What a monitor with `args` tells while `traffic` flows; it ends by itself after `--count`. */
async function told(
  lab: LabHandle,
  args: string[],
  traffic: () => Promise<unknown>,
): Promise<Told[]> {
  const child = startMonitor(lab, args);
  await listening(lab);
  await traffic();
  const timer = setTimeout(() => child.kill("SIGINT"), 10_000);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  assert.equal(code, 0, text(stderr));
  return text(stdout).trim().split("\n").map((line) => JSON.parse(line));
}

async function connect(lab: LabHandle, pod: string, address: string, port: number) {
  const url = `http://${address}:${port}/`;
  const io = { stdin: "null", stdout: "null", stderr: "null" } as const;
  await lab.command(pod, ["curl", "-s", "-m", "2", url], io).output();
}

labTest(
  "pcnk monitor tells of refusals and flows, filtered in the kernel, one listener at a time",
  { name: "tmonitor", nodes: 1, pods: 2 },
  async (lab) => {
    const [own, other] = ["10.244.1.2", "10.244.1.3"];
    // By itself only what is dropped or refused; the flow that works is not told of.
    const [refused] = await told(lab, ["-c", "1"], async () => {
      await connect(lab, "pod1-1", other, 8080);
      await connect(lab, "pod1-1", "10.96.0.11", 80);
    });
    assert.deepEqual([refused!.reason, refused!.kind], ["rejected_no_backend", "handled"]);
    assert.deepEqual([refused!.flow.src, refused!.to], ["10.96.0.11", "default/pod1-1"]);

    // A pod's and a Service's packets together: others' go by unseen.
    const both = [
      "--flows",
      "--service",
      "default/echo-node1",
      "--pod",
      "default/pod1-1",
      "-c",
      "2",
    ];
    const flows = await told(lab, both, async () => {
      await connect(lab, "pod1-2", "10.96.1.1", 80);
      await connect(lab, "pod1-1", "10.96.0.11", 80);
      await connect(lab, "pod1-1", "10.96.1.1", 80);
    });
    for (const { from, to } of flows) {
      assert.ok(from === "default/pod1-1" || to === "default/pod1-1");
    }
    assert.equal(flows[0]!.reason, "forward_delivered");
    assert.equal(flows[0]!.service, "10.96.1.1:80");

    const masked = await told(lab, ["--reason", "direct_delivered", "-c", "1"], async () => {
      await connect(lab, "pod1-1", "10.96.0.11", 80);
      await connect(lab, "pod1-1", other, 8080);
    });
    assert.deepEqual([masked[0]!.flow.src, masked[0]!.flow.dst].sort(), [own, other]);

    const first = startMonitor(lab, []);
    await listening(lab);
    const second = await startMonitor(lab, []).output();
    assert.equal(second.code, 1);
    assert.match(text(second.stderr), /this node has a listener already/);

    // Killed, it cannot take back what it asked for; the kernel forgets it by its lease.
    first.kill("SIGKILL");
    await first.output();
    using plane = openDataPlane(lab.store.plan.nodes[0]!.bpffs);
    const { until } = plane.maps.monitor.get(0)!;
    assert.ok(until < monotonicNow() + 3_000_000_000n, "asked for longer than its lease");
  },
);
