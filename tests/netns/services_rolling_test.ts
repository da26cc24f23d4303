/** Backends come and go under traffic: from a pod, from a node's own process, and from outside by NodePort. */
import assert from "node:assert/strict";
import type { Cluster, Running } from "./services/cluster.ts";
import type { LoadReport, UdpReport } from "./services/client.ts";
import { onClusters } from "./services/cluster.ts";
import { type End, serviceObject, sliceObject } from "./services/objects.ts";

const VIP = "10.96.7.1";
const NODE_PORT = 30500;

function publish(cluster: Cluster, ends: readonly End[], spec: Record<string, unknown> = {}): void {
  const service = serviceObject("roll", VIP, { nodePort: NODE_PORT, ...spec });
  cluster.write("roll", service, sliceObject("roll", ends));
}

/** A hundred clients in all. */
function clients(cluster: Cluster): Promise<Running<LoadReport>[]> {
  return Promise.all([
    cluster.load("pod1-1", VIP, 80, 30),
    cluster.load("node2", VIP, 80, 20),
    cluster.load("outside", cluster.address("node1"), NODE_PORT, 30),
    cluster.load("pod2-1", cluster.address("node3"), NODE_PORT, 20),
  ]);
}

/** Ends them; how often each backend answered. */
async function check(running: readonly Running<LoadReport>[]): Promise<Set<string>> {
  const backends = new Set<string>();
  for (const report of await Promise.all(running.map((one) => one.end()))) {
    assert.deepEqual(report.failures, []);
    assert.ok(report.requests > 30, `only ${report.requests} requests`);
    for (const backend of Object.keys(report.backends)) backends.add(backend);
  }
  return backends;
}

onClusters("rolling", async (cluster, test) => {
  const { lab } = cluster;

  await test("a hundred clients see no failure while every backend is replaced", async () => {
    const old = ["pod1-2", "pod2-2", "pod3-2"];
    const ends = new Map(old.map((pod) => [pod, cluster.end(pod)]));
    publish(cluster, [...ends.values()]);
    await cluster.serves(VIP, ...old);
    const running = await clients(cluster);
    for (const [i, pod] of old.entries()) {
      const fresh = `new${i + 1}`;
      await lab.addPod(lab.pod(pod).node, fresh);
      ends.set(fresh, cluster.end(fresh));
      publish(cluster, [...ends.values()]);
      await cluster.serves(VIP, ...ends.keys());
      // As the API server does: first not ready and terminating, gone when the pod is.
      publish(
        cluster,
        [...ends].map(([name, end]) =>
          name === pod ? { ...end, ready: false, serving: true, terminating: true } : end
        ),
      );
      ends.delete(pod);
      await cluster.serves(VIP, ...ends.keys());
      const { requests } = await progress(cluster);
      assert.ok(requests > 0);
      await lab.deletePod(pod);
      publish(cluster, [...ends.values()]);
      await cluster.serves(VIP, ...ends.keys());
    }
    const seen = await check(running);
    for (const pod of [...old, ...ends.keys()]) assert.ok(seen.has(pod), `${pod} never answered`);
  });

  await test("a connection to a terminating backend goes on, new ones go elsewhere", async () => {
    publish(cluster, [cluster.end("pod2-1")]);
    await cluster.serves(VIP, "pod2-1");
    const held = await Promise.all([
      cluster.hold("pod1-1", VIP),
      cluster.hold("node1", VIP),
      cluster.hold("outside", cluster.address("node1"), NODE_PORT),
    ]);
    for (const one of held) assert.match(await one.ask("before"), /^pod2-1 .* before$/);
    const leaving = cluster.end("pod2-1", { ready: false, serving: true, terminating: true });
    publish(cluster, [leaving, cluster.end("pod3-1")]);
    await cluster.serves(VIP, "pod3-1");
    for (const one of held) assert.match(await one.ask("after"), /^pod2-1 .* after$/);
    const { backends } = await cluster.answered("pod1-1", VIP, { count: 5 });
    assert.deepEqual(backends, ["pod3-1"]);
    await Promise.all(held.map((one) => one.end()));
  });

  await test("with none ready, terminating endpoints that serve get new connections", async () => {
    const leaving = cluster.end("pod2-1", { ready: false, serving: true, terminating: true });
    publish(cluster, [leaving]);
    await cluster.serves(VIP, "pod2-1");
    const { backends } = await cluster.answered("pod1-1", VIP, { count: 3 });
    assert.deepEqual(backends, ["pod2-1"]);
  });

  await test("a UDP server is replaced under steady senders: the new one hears them within a second", async () => {
    publish(cluster, [cluster.end("pod2-1")]);
    await cluster.serves(VIP, "pod2-1");
    const senders = await Promise.all([
      cluster.udp("pod1-1", VIP),
      cluster.udp("outside", cluster.address("node1"), NODE_PORT),
      cluster.udp("outside", cluster.address("node2"), NODE_PORT),
      cluster.udp("node1", VIP),
      cluster.udp("node3", VIP, 80, true),
    ]);
    await new Promise((done) => setTimeout(done, 500)); // steady: sessions are old ones
    const since = Date.now();
    publish(cluster, [cluster.end("pod3-1")]);
    await cluster.serves(VIP, "pod3-1");
    await new Promise((done) => setTimeout(done, 1000)); // the bar itself
    const reports = await Promise.all(senders.map((one) => one.end()));
    for (const [i, report] of reports.entries()) switched(report, since, `sender ${i}`);
  });

  await test("the agent is killed and comes back: no request fails", async () => {
    publish(
      cluster,
      ["pod1-2", "pod2-1", "pod3-1"].filter((pod) => pod in lab.store.state.pods).map((pod) =>
        cluster.end(pod)
      ),
    );
    await cluster.until(
      "three nodes know of it",
      () => cluster.nodes().every((node) => (cluster.backends(node, VIP)?.length ?? 0) >= 2),
    );
    const running = await clients(cluster);
    await progress(cluster);
    await lab.stopAgent("node1", true);
    await progress(cluster);
    await lab.startAgent("node1");
    await progress(cluster);
    await check(running);
  });
});

/** Waits until a client of its own has had some answers: the others' requests under way are over then, too. */
async function progress(cluster: Cluster): Promise<LoadReport> {
  const probe = await cluster.load("pod1-1", VIP, 80, 1);
  await new Promise((done) => setTimeout(done, 300));
  return await probe.end();
}

/** From the first backend to the second within a second of the change, and never back. */
function switched(report: UdpReport, since: number, who: string): void {
  const fresh = report.changes.find(({ backend, at }) => backend === "pod3-1" && at >= since);
  assert.ok(report.last["pod2-1"] !== undefined, `${who}: the first server never answered`);
  assert.ok(fresh, `${who}: the second server never answered: ${JSON.stringify(report)}`);
  assert.ok(fresh.at - since <= 1000, `${who}: after ${fresh.at - since} ms`);
  assert.equal(report.changes.at(-1)!.backend, "pod3-1", who);
  assert.ok(report.last["pod2-1"]! - since <= 1000, `${who}: the first server answered on`);
}
