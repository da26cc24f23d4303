/** The agent dies and comes back while traffic flows through a service: the data plane does not notice. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { LabHandle } from "../../src/lab/lab.ts";
import { endpointSliceManifests, serviceManifests } from "../../src/lab/manifests.ts";
import { settle } from "../../src/lab/services.ts";
import { Listener } from "../support/pcnk.ts";
import { LAB_TEST, withLab } from "./support/lab.ts";
import type { TrafficReport } from "./support/traffic.ts";

/** Traffic from a pod to a service; `stop` ends it and tells what came of it. */
async function startTraffic(lab: LabHandle, pod: string, address: string) {
  const script = fileURLToPath(new URL("support/traffic.ts", import.meta.url));
  const argv = [Deno.execPath(), "run", "-A", "--no-check", script, address, "80"];
  const child = lab.command(pod, argv, { stdin: "piped", stdout: "piped" }).spawn();
  const said = new Listener(child.stdout);
  await said.line(/^started$/);
  return async (): Promise<TrafficReport> => {
    await child.stdin.close();
    const lines = (await said.all()).trim().split("\n");
    await child.status;
    return JSON.parse(lines.at(-1)!);
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

for (const attach of ["tcx", "clsact"] as const) {
  Deno.test(
    `kill -9 of the agent loses no packet of a service's traffic (${attach})`,
    LAB_TEST,
    () =>
      withLab({ name: "tkill", nodes: 1, pods: 2, attach }, async (lab) => {
        const [service] = lab.services().filter(({ name }) => name === "echo-node1");
        const stop = await startTraffic(lab, "pod1-1", service!.address);
        // The traffic itself is the clock here: some of it before, between and after.
        await pause(200);
        assert.equal(await lab.stopAgent("node1", true), "killed");
        await pause(200);

        // What happens while it is away, it finds when it is back.
        const late = { name: "late", address: "10.96.0.99", backends: [lab.pod("pod1-2")] };
        lab.writeManifest("late", [...serviceManifests([late]), ...endpointSliceManifests([late])]);
        await lab.startAgent("node1");
        await settle(lab.store, [...lab.services(), late]);
        await pause(200);

        const { tcp, udp } = await stop();
        assert.equal(tcp.error, undefined);
        assert.equal(tcp.answered, tcp.sent);
        assert.ok(tcp.sent > 500, `only ${tcp.sent} round trips`);
        assert.equal(udp.answered, udp.sent);
        assert.ok(udp.sent > 100, `only ${udp.sent} datagrams`);
        assert.equal(udp.backends.length, 1);

        const { failed, rows } = await lab.test();
        assert.equal(failed, 0, JSON.stringify(rows.filter((row) => row.status === "failed")));
      }),
  );
}

Deno.test(
  "addPod() and deletePod() change a service's backends",
  LAB_TEST,
  () =>
    withLab({ name: "tpods", nodes: 1, pods: 1 }, async (lab) => {
      const client = await lab.addPod("node1", "extra");
      assert.match(client.address, /^10\.244\.1\.\d+$/);
      await lab.publish();
      assert.equal((await lab.test()).failed, 0);
      await lab.deletePod("extra");
      await lab.publish();
      assert.equal((await lab.test()).failed, 0);
      assert.deepEqual(lab.pods.map((pod) => pod.name), ["pod1-1"]);
    }),
);
