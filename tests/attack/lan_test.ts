/**
 * A machine on the nodes' network against connections of a client that it can name but not hear: resets, FINs, SYNs and data
 * with the client's address, in tens of thousands, also while the Service has the backends no more.
 */
import assert from "node:assert/strict";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { SCOPE, SESSION_FLAG, SESSION_STATE, type SessionKey } from "../../src/bpf/layout.ts";
import { reasonIndex } from "../../src/bpf/reasons.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { NODE_PORT } from "../../src/lab/manifests.ts";
import { LAB_TEST, pcnkOn, withLab } from "../netns/support/lab.ts";
import { until } from "../cluster/support/poll.ts";
import { Listener } from "../support/pcnk.ts";
import * as needs from "../support/needs.ts";
import { forgeFlows, forgeSources } from "./lan_sources.ts";

const PYTHON = "/usr/bin/python3";
const script = new URL("forge.py", import.meta.url).pathname;
const [IDLE, BUSY, FORGED] = [60, 20, 56_000];

function start(lab: LabHandle, where: string, ...args: (string | number)[]) {
  const io = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const child = lab.command(where, [PYTHON, script, ...args.map(String)], io).spawn();
  return { child, said: new Listener(child.stdout) };
}

Deno.test({
  ...LAB_TEST,
  name:
    "sources that only pods have reach none; 56,000 forged segments reset, end and move none of 80 connections",
  ignore: LAB_TEST.ignore || !needs.file(PYTHON),
  fn: () =>
    withLab({ name: "tlan", nodes: 2, pods: 2, attach: "clsact" }, async (lab) => {
      await forgeSources(lab);
      await forgeFlows(lab);
      const { outside } = lab.store.plan;
      const node = lab.node("node1");
      const { child, said } = start(
        lab,
        outside.name,
        "hold",
        ...[IDLE, BUSY, node.address, NODE_PORT],
      );
      await said.line(/^ready$/);
      using plane = openDataPlane(node.bpffs);
      const { sessions, counters, services } = plane.maps;
      const flows = () =>
        new Map(
          sessions.entries().filter(([key, value]) =>
            key.src === outside.address && key.dport === NODE_PORT &&
            !(value.flags & SESSION_FLAG.REPLY)
          ).map(([key, value]) => [key.sport, [key, value] as const]),
        );
      const places = () =>
        [...flows()].map(([port, [, { dst, dport, state }]]) => `${port} ${dst}:${dport} ${state}`)
          .sort();
      const before = places();
      assert.equal(before.length, IDLE + BUSY);
      assert.ok(before.every((place) => place.endsWith(` ${SESSION_STATE.ESTABLISHED}`)));

      // A session that moves finds no backend.
      const key = { addr: "0.0.0.0", port: NODE_PORT, proto: 6, scope: SCOPE.EXTERNAL };
      const service = services.get(key)!;
      services.set(key, { ...service, count: 0 });
      const clients = [...flows()].map(([port, [key, value]]) =>
        `${port}:${sessions.get(replyOf(key, value))!.ack}`
      );
      const { child: attacker, said: sent } = start(
        lab,
        "node2",
        "forge",
        ...[outside.address, node.address, NODE_PORT, FORGED, ...clients],
      );
      await attacker.stdin.close();
      assert.equal(await sent.all(), "sent\n");
      await attacker.status;
      assert.deepEqual(places(), before);
      const ignored = counters.get(reasonIndex("event_segment_ignored"))!
        .reduce((sum, { packets }) => sum + packets, 0n);
      assert.ok(ignored > BigInt(FORGED) / 2n, `${ignored} ignored`);
      services.set(key, service);

      await child.stdin.close();
      const report = JSON.parse((await said.all()).trim().split("\n").at(-1)!);
      const { lost, ports } = report;
      assert.deepEqual(lost, []);
      assert.ok(report.asked > BUSY);
      await child.status;
      // Its process has ended: every connection is closed, one by a reset.
      await until(
        "every session is over",
        30_000,
        // deno-lint-ignore require-await
        async () => [...flows().values()].every(([, { state }]) => state === SESSION_STATE.CLOSED),
      );
      const both = SESSION_FLAG.FIN_FORWARD | SESSION_FLAG.FIN_REPLY;
      assert.notEqual(flows().get(ports[0])![1].flags & both, both);
      assert.equal(flows().get(ports[1])![1].flags & both, both);
      const { stdout } = await pcnkOn(lab, "get", "sessions");
      assert.match(stdout, new RegExp(`${outside.address}:${ports[0]}\\b.*closed`, "i"));
    }),
});

function replyOf(
  key: SessionKey,
  value: { src: string; dst: string; sport: number; dport: number },
) {
  const { src: dst, dst: src, sport: dport, dport: sport } = value;
  return { ...key, src, dst, sport, dport };
}
