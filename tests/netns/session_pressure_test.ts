/**
 * Connections of a pod to a Service and to the world, idle and busy, while its neighbour opens more UDP flows, and machines
 * outside more half-open connections, than the table of sessions holds. `SESSION_FLOWS=1000000` is issue 10's bar.
 */
import assert from "node:assert/strict";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { reasonIndex } from "../../src/bpf/reasons.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { NODE_PORT } from "../../src/lab/manifests.ts";
import { SERVER_PORT } from "../../src/lab/plan.ts";
import { Listener } from "../support/pcnk.ts";
import * as needs from "../support/needs.ts";
import { LAB_TEST, withLab } from "./support/lab.ts";

const FLOWS = Number(Deno.env.get("SESSION_FLOWS") ?? 300_000);
const [IDLE, BUSY] = FLOWS >= 1_000_000 ? [1000, 100] : [200, 20];
const PYTHON = "/usr/bin/python3";
const script = new URL("support/session_flood.py", import.meta.url).pathname;

function start(lab: LabHandle, where: string, ...args: (string | number)[]) {
  const io = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const child = lab.command(where, [PYTHON, script, ...args.map(String)], io).spawn();
  return { child, said: new Listener(child.stdout) };
}

/** Runs one of the script's floods to its end. */
async function flood(lab: LabHandle, where: string, ...args: (string | number)[]) {
  const { child, said } = start(lab, where, ...args);
  await child.stdin.close();
  assert.equal(await said.all(), "sent\n");
  assert.equal((await child.status).code, 0);
}

Deno.test({
  ...LAB_TEST,
  name: "floods of UDP flows and of half-open connections end no connection of others",
  ignore: LAB_TEST.ignore || !needs.file(PYTHON),
  fn: () =>
    withLab({ name: "tpress", nodes: 2, pods: 2, attach: "clsact" }, async (lab) => {
      const { outside } = lab.store.plan;
      const echo = lab.services().find(({ name }) => name === "echo")!;
      const ends = [`${echo.address}:80`, `${outside.address}:${SERVER_PORT}`];
      const { child, said } = start(lab, "pod1-2", "hold", IDLE, BUSY, ...ends);
      await said.line(/^ready$/);
      using plane = openDataPlane(lab.node("node1").bpffs);
      const { assured, counters, sessions } = plane.maps;
      assert.ok(assured.count() >= 2 * (IDLE + BUSY), "both entries of each connection");
      const pod = lab.pod("pod1-1").address;
      await flood(lab, "pod1-1", "udp", pod, outside.address, FLOWS);
      const own = sessions.entries().filter(([key]) => key.src === pod).length;
      assert.ok(own <= 0.51 * sessions.maxEntries / 2, `${own} flows of one pod`);
      const recycled = counters.get(reasonIndex("event_session_recycled"))!;
      assert.ok(recycled.some(({ packets }) => packets > 0n));
      await flood(
        lab,
        outside.name,
        "syn",
        lab.node("node1").address,
        NODE_PORT,
        Math.min(FLOWS, 100_000),
      );
      await child.stdin.close();
      const report = JSON.parse((await said.all()).trim().split("\n").at(-1)!);
      console.log(JSON.stringify(report));
      assert.deepEqual({ idle: report.idle, busy: report.busy, errors: report.errors }, {
        idle: 0,
        busy: 0,
        errors: [],
      });
      assert.ok(report.asked > BUSY);
    }),
});
