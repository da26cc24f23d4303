/** What changes while it is in use: scale, roll-outs, servers that are replaced. No request is lost. */
import assert from "node:assert/strict";
import { Everywhere } from "../support/everywhere.ts";
import { assertNoneFailed } from "../support/load.ts";
import { until } from "../support/poll.ts";
import type { Test } from "../support/suite.ts";
import { service, web } from "../support/workload.ts";

/** Serves on for two seconds after it was taken out of the service: what the end of a pod is announced for. */
const DRAINS = {
  container: { lifecycle: { preStop: { exec: { command: ["sleep", "2"] } } } },
  pod: { terminationGracePeriodSeconds: 10 },
};

export function changes(test: Test): void {
  test(
    "scaling up adds backends, scaling down takes them away without a lost request",
    async (world) => {
      const ns = await world.namespace();
      await ns.apply(web({ name: "scaled", replicas: 1, ...DRAINS }), service("scaled"));
      await ns.rolledOut("scaled");
      const ip = await ns.clusterIP("scaled");
      await world.client(1).eventually(ip);
      const load = await world.loadFromNode(1, { protocol: "http", address: ip, port: 80 });
      await ns.kubectl(["scale", "deployment/scaled", "--replicas=4"]);
      await ns.rolledOut("scaled");
      const four = (await ns.pods("scaled")).map(({ name }) => name);
      assert.equal(four.length, 4);
      await world.client(2).reachesAll(ip, four, 200);
      await ns.kubectl(["scale", "deployment/scaled", "--replicas=1"]);
      const [left] = await until("one pod is left", 90_000, async () => {
        const pods = await ns.pods("scaled");
        return pods.length === 1 && pods;
      });
      await until("the others are gone", 90_000, async () => {
        return (await ns.kubectl(["get", "pods", "-o", "name"])).trim().split("\n").length === 1;
      });
      for (let i = 0; i < 10; i++) assert.equal(await world.client(2).get(ip), left!.name);
      assertNoneFailed(await load.end(), 200, "scaling");
    },
    180_000,
  );

  test(
    "a rolling update under load fails no request from pods, nodes or outside",
    async (world) => {
      const ns = await world.namespace();
      const deploy = (version: string) => web({ name: "rolled", replicas: 3, version, ...DRAINS });
      await ns.apply(deploy("1"), service("rolled", { type: "NodePort" }));
      await ns.rolledOut("rolled");
      const before = (await ns.pods("rolled")).map(({ name }) => name);
      await using load = await Everywhere.start(world, {
        clusterIP: await ns.clusterIP("rolled"),
        nodePort: await ns.nodePort("rolled"),
      });
      await ns.apply(deploy("2"));
      await ns.rolledOut("rolled");
      await until("the old pods are gone", 90_000, async () => {
        const names = await ns.kubectl(["get", "pods", "-o", "name"]);
        return !before.some((name) => names.includes(name));
      });
      const after = (await ns.pods("rolled")).map(({ name }) => name);
      for (const [from, { servers }] of await load.noneFailed("rolling update")) {
        assert.ok(before.some((name) => servers[name]), `${from} saw no old pod`);
        assert.deepEqual(after.filter((name) => !servers[name]), [], `${from} missed new pods`);
      }
    },
    180_000,
  );

  test("a UDP client finds the next server when its own is replaced", async (world) => {
    const ns = await world.namespace();
    const deploy = (version: string) => {
      return web({ name: "udp", replicas: 1, version, ...DRAINS });
    };
    await ns.apply(deploy("1"), service("udp", { type: "NodePort" }));
    await ns.rolledOut("udp");
    const ip = await ns.clusterIP("udp");
    const port = await ns.nodePort("udp", "udp");
    await until("the server answers", 10_000, () => world.client(1).udp(ip, 81));
    await using load = await world.loadFromPod(await world.clientPod(1), {
      protocol: "udp",
      address: ip,
      port: 81,
      rate: 20,
    });
    // One source port that goes on sending: a session that outlives its backend would hold it for ever.
    await using talker = await world.loadFromOutside({
      protocol: "udp-one",
      address: world.kit.nodeAddress(1),
      port,
      rate: 10,
    });
    const [old] = await ns.pods("udp");
    await ns.apply(deploy("2"));
    await ns.rolledOut("udp");
    await until("the old pod is gone", 90_000, async () => {
      return !(await ns.kubectl(["get", "pods", "-o", "name"])).includes(old!.name);
    });
    const [now] = await ns.pods("udp");
    assert.equal(await world.client(2).udp(ip, 81), now!.name);
    // An answer that is on its way when its session ends is lost: UDP promises no more. What hangs loses many.
    const counted = await talker.end();
    for (const { sent, failed, errors } of [await load.end(), counted]) {
      assert.ok(failed <= 1 && sent >= 20, `${failed} of ${sent} lost: ${JSON.stringify(errors)}`);
    }
    assert.ok(
      counted.servers[now!.name],
      `the talker never saw the new server: ${JSON.stringify(counted)}`,
    );
  }, 180_000);
}
