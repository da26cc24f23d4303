/** Nodes come, go and boot anew. */
import assert from "node:assert/strict";
import { agentPod, rolledOut } from "../support/pcnk.ts";
import { until } from "../support/poll.ts";
import type { Test } from "../support/suite.ts";
import { HTTP, webPod } from "../support/workload.ts";
import { NODES, type World } from "../support/world.ts";

const NEW = 3;

/** Pods that no test takes away: those of the shared namespace, and the agents. */
const LASTING = /^(?:t1|kube-system)\//;

export function nodes(test: Test): void {
  test(
    "a node joins and is part of the network; it leaves and no node keeps a route to it",
    async (world) => {
      const { kit } = world;
      const ns = await world.namespace();
      const before = await waysToPods(world, 1);
      try {
        await world.bringUp([NEW]);
        await ns.apply(webPod("third", kit.nodeName(NEW)));
        await ns.ready("third");
        const [pod] = await ns.pods("third");
        for (const node of NODES) {
          assert.equal(await world.node(node).eventually(`${pod!.ip}:${HTTP}`), "third");
          assert.equal(await world.client(node).eventually(`${pod!.ip}:${HTTP}`), "third");
        }
        await world.node(NEW).reachesAll(world.webIP, world.webNames);
        const at = `${kit.nodeAddress(NEW)}:${world.webPort.http}`;
        await world.outsider.reachesAll(at, world.webNames);
        const exec = ["exec", "third", "--", "curl", "-sSf", "-m", "3"];
        for (const { ip, name } of world.webPods) {
          assert.equal(await ns.kubectl([...exec, `http://${ip}:${HTTP}/hostname`]), name);
        }
      } finally {
        await kit.nodesDown([NEW]);
      }
      await until("no way to the former node is left", 20_000, async () => {
        return (await waysToPods(world, 1)).join("\n") === before.join("\n");
      });
      await world.client(1).reachesAll(world.webIP, world.webNames);
    },
    300_000,
  );

  test("a node that boots anew gets its network back, and no address leaks", async (world) => {
    const { kit } = world;
    const victim = 2;
    const before = await kit.readyContainers(victim);
    await kit.nodesDown([victim], { keep: true });
    await world.bringUp([victim]);
    await until("the pods of the node run again", 90_000, async () => {
      const now = await kit.readyContainers(victim);
      const missing = [...before].filter(([pod]) => LASTING.test(pod))
        .filter(([pod, was]) => (now.get(pod) ?? was) === was);
      if (missing.length === 0) return true;
      throw new Error(`not started anew, or not ready: ${missing.map(([pod]) => pod)}`);
    });
    await world.refresh();
    assert.equal(world.webPods.length, NODES.length);
    for (const node of NODES) await world.client(node).eventually(world.webIP);
    for (const node of NODES) {
      await world.client(node).reachesAll(world.webIP, world.webNames);
      for (const pod of world.webPods) {
        assert.equal(await world.client(node).eventually(`${pod.ip}:${HTTP}`), pod.name);
      }
      const at = `${kit.nodeAddress(node)}:${world.webPort.http}`;
      await world.outsider.reachesAll(at, world.webNames);
    }
    if (world.provider.name === "pcnk") await leasesAreOfPods(world, victim);
  }, 300_000);

  test("every node runs one agent, which serves its own node", async ({ kit, provider }) => {
    if (provider.name !== "pcnk") return;
    await rolledOut(kit);
    const pods = new Set<string>();
    for (const node of NODES) pods.add(await agentPod(kit, node));
    assert.equal(pods.size, NODES.length);
  });
}

/** Routes of a node to pods elsewhere. */
async function waysToPods({ kit }: World, node: number): Promise<string[]> {
  const routes = await kit.inNode(node, ["ip", "route"]);
  return routes.split("\n").filter((line) => line.startsWith("10.244.")).sort();
}

/** host-local's leases on a node are those of pods that run there: none of before the boot. */
async function leasesAreOfPods({ kit }: World, node: number): Promise<void> {
  await until("host-local's leases are those of the pods", 60_000, async () => {
    const pods = await kit.podAddresses(node);
    const find = "ls /var/lib/cni/networks/*/ /run/pcnk/ipam/*/ 2>/dev/null | grep ^10 | sort -u";
    const leases = (await kit.inNode(node, ["sh", "-c", find])).trim().split("\n").sort();
    if (leases.join() === pods.join()) return true;
    throw new Error(`leases ${leases}, pods ${pods}`);
  });
}
