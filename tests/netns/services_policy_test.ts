/** Who may reach which backend, from where, and as whom: traffic policies, affinity, source ranges, types. */
import assert from "node:assert/strict";
import { SCOPE } from "../../src/bpf/layout.ts";
import { type Cluster, onClusters } from "./services/cluster.ts";
import { type End, serviceObject, sliceObject } from "./services/objects.ts";

const VIP = "10.96.8.1";
const NODE_PORT = 30600;
const HEALTH_PORT = 30699;
/** An address that the fabric's router sends to node1. */
const OUTER = "198.18.0.5";

/** Writes the Service and waits until every node has these pods behind its ClusterIP. */
async function publish(
  cluster: Cluster,
  ends: readonly End[],
  spec: Record<string, unknown> = {},
  status?: Record<string, unknown>,
): Promise<void> {
  cluster.write("policy", serviceObject("policy", VIP, spec, status), sliceObject("policy", ends));
  // What is written last is seen with what was before it: one file, one look.
  const ready = ends.filter(({ ready = true }) => ready).map(({ address }) => `${address}:8080`);
  await cluster.until("the maps hold it", () =>
    cluster.nodes().every((node) => {
      const here = cluster.backends(node, VIP);
      if (spec.internalTrafficPolicy === "Local") return here !== undefined;
      return here?.join() === ready.sort().join();
    }));
}

/** Nothing comes back: what is dropped ends by a timeout. */
async function dropped(cluster: Cluster, where: string, address: string, port = 80): Promise<void> {
  const { answers, error } = await cluster.ask(where, address, { port });
  assert.deepEqual(answers, []);
  assert.match(error ?? "", /timeout/i, `${where} to ${address}`);
}

async function refused(cluster: Cluster, where: string, address: string, port = 80): Promise<void> {
  const { answers, error } = await cluster.ask(where, address, { port });
  assert.deepEqual(answers, []);
  assert.match(error ?? "", /refused/i, `${where} to ${address}`);
}

/** What a load balancer's health check gets. */
async function health(cluster: Cluster, node: string): Promise<{ status: number; local?: number }> {
  const url = `http://${cluster.address(node)}:${HEALTH_PORT}/`;
  const argv = ["curl", "-s", "-m", "2", "-w", "\n%{http_code}", url];
  const { stdout } = await cluster.lab.output("outside", argv);
  const [body = "", status = ""] = stdout.trim().split(/\n(?=\d+$)/);
  const { localEndpoints } = JSON.parse(body || "{}");
  return { status: Number(status), local: localEndpoints };
}

/** A route of the router between nodes and outside, for as long as the test goes. */
async function routed(cluster: Cluster, destination: string, via: string, fn: () => Promise<void>) {
  const { netns } = cluster.lab.store.plan.fabric;
  const route = (verb: string) =>
    new Deno.Command("ip", { args: ["-n", netns, "route", verb, destination, "via", via] })
      .output();
  assert.equal((await route("add")).code, 0);
  try {
    await fn();
  } finally {
    await route("del");
  }
}

onClusters("policy", async (cluster, test) => {
  const { lab } = cluster;
  const all = ["pod1-1", "pod2-1", "pod3-1"].map((pod) => cluster.end(pod));

  await test("externalTrafficPolicy Cluster: any node, any backend; a local one sees the client", async () => {
    await publish(cluster, [cluster.end("pod1-1")], { nodePort: NODE_PORT });
    const near = await cluster.answered("outside", cluster.address("node1"), { port: NODE_PORT });
    assert.deepEqual(near, { backends: ["pod1-1"], seenAs: [cluster.outside] });
    const far = await cluster.answered("outside", cluster.address("node2"), { port: NODE_PORT });
    const gateway = lab.node("node2").gateway;
    assert.deepEqual(far, { backends: ["pod1-1"], seenAs: [gateway] });
  });

  await test("externalTrafficPolicy Local: the client's address, this node's backends, a health check that follows", async () => {
    const local = {
      nodePort: NODE_PORT,
      type: "LoadBalancer",
      externalTrafficPolicy: "Local",
      healthCheckNodePort: HEALTH_PORT,
    };
    for (const [here, there] of [["node1", "node2"], ["node2", "node1"]] as const) {
      await publish(cluster, [cluster.end(here === "node1" ? "pod1-1" : "pod2-1")], local);
      const took = await cluster.until(`${here} is healthy, ${there} is not`, async () => {
        const [good, bad] = [await health(cluster, here), await health(cluster, there)];
        return good.status === 200 && good.local === 1 && bad.status === 503 && bad.local === 0;
      }, 3000);
      assert.ok(took < 3000);
      const { seenAs } = await cluster.answered("outside", cluster.address(here), {
        port: NODE_PORT,
      });
      assert.deepEqual(seenAs, [cluster.outside]);
      await dropped(cluster, "outside", cluster.address(there), NODE_PORT);
    }
  });

  await test("internalTrafficPolicy Local: this node's backends only, and silence where there are none", async () => {
    const local = { internalTrafficPolicy: "Local" };
    await publish(cluster, all.slice(0, 2), local);
    await cluster.until(
      "each node has its own",
      () =>
        ["pod1-1", "pod2-1"].every((pod, i) =>
          cluster.backends(`node${i + 1}`, VIP)?.join() === `${lab.pod(pod).address}:8080`
        ),
    );
    for (
      const [where, pod] of [["pod1-2", "pod1-1"], ["pod2-2", "pod2-1"], ["node2", "pod2-1"]]
    ) {
      const { backends } = await cluster.answered(where!, VIP, { count: 5 });
      assert.deepEqual(backends, [pod]);
    }
    await dropped(cluster, "pod3-2", VIP);
  });

  await test("sessionAffinity ClientIP: sticks, follows when its backend goes, ends after its timeout", async () => {
    const sticky = {
      sessionAffinity: "ClientIP",
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 1 } },
    };
    await publish(cluster, all, sticky);
    const first = await cluster.answered("pod1-2", VIP, { count: 20 });
    assert.equal(first.backends.length, 1, `answered by ${first.backends}`);
    const rest = all.filter(({ address }) => address !== lab.pod(first.backends[0]!).address);
    await publish(cluster, rest, sticky);
    const second = await cluster.answered("pod1-2", VIP, { count: 20 });
    assert.equal(second.backends.length, 1);
    assert.notEqual(second.backends[0], first.backends[0]);
    await publish(cluster, all, sticky);
    let moved = false;
    // Each time the choice is one of three: thirteen times the same is one in a million.
    for (let i = 0; i < 13 && !moved; i++) {
      await new Promise((done) => setTimeout(done, 1200)); // the timeout itself
      const { backends } = await cluster.answered("pod1-2", VIP);
      moved = backends[0] !== second.backends[0];
    }
    assert.ok(moved, "it never ended");
  });

  await test(
    "externalIPs and LoadBalancer addresses answer outside; source ranges keep others out",
    async () => {
      const node1 = cluster.address("node1");
      await routed(cluster, `${OUTER}/32`, node1, async () => {
        await publish(cluster, all.slice(0, 1), { externalIPs: [OUTER] });
        const { backends } = await cluster.answered("outside", OUTER);
        assert.deepEqual(backends, ["pod1-1"]);
        const status = { loadBalancer: { ingress: [{ ip: OUTER }] } };
        const balancer = (ranges: string[]) => ({
          type: "LoadBalancer",
          loadBalancerSourceRanges: ranges,
        });
        await publish(cluster, all.slice(0, 1), balancer([`${cluster.outside}/32`]), status);
        await cluster.until(
          "the range is in",
          () => cluster.maps("node1").source_ranges.count() > 0,
        );
        await cluster.answered("outside", OUTER);
        const before = cluster.counted("node1", "drop_source_range");
        await publish(cluster, all.slice(0, 1), balancer(["203.0.113.0/24"]), status);
        await cluster.until(
          "the range has changed",
          () =>
            cluster.maps("node1").source_ranges.keys().every(({ addr }) => addr === "203.0.113.0"),
        );
        await dropped(cluster, "outside", OUTER);
        assert.ok(cluster.counted("node1", "drop_source_range") > before);
      });
    },
  );

  await test("TCP and UDP on one port are two services: one goes, the other stays", async () => {
    await publish(cluster, all);
    for (const kind of ["tcp", "udp"]) await cluster.answered("pod1-2", VIP, { kind });
    cluster.write(
      "policy",
      serviceObject("policy", VIP, { protocols: ["TCP"] }),
      sliceObject("policy", all),
    );
    await cluster.until(
      "UDP is gone",
      () =>
        cluster.nodes().every((node) => cluster.backends(node, VIP, { proto: 17 }) === undefined),
    );
    await cluster.answered("pod1-2", VIP, { kind: "tcp" });
    // Deno does not tell of an ICMP error on a UDP socket; the counter does.
    const before = cluster.counted("node1", "rejected_no_port");
    const { answers } = await cluster.ask("pod1-2", VIP, { kind: "udp" });
    assert.deepEqual(answers, []);
    assert.ok(cluster.counted("node1", "rejected_no_port") > before);
  });

  await test("a Service changes its type: entries come and go with it", async () => {
    const nodePort = { addr: "0.0.0.0", port: NODE_PORT, proto: 6, scope: SCOPE.EXTERNAL };
    const node1 = cluster.address("node1");
    const entries = (cluster: Cluster) => {
      const { services } = cluster.maps("node1");
      return {
        clusterIP:
          services.get({ addr: VIP, port: 80, proto: 6, scope: SCOPE.CLUSTER }) !== undefined,
        nodePort: services.get(nodePort) !== undefined,
      };
    };
    const becomes = async (spec: Record<string, unknown>, wanted: ReturnType<typeof entries>) => {
      cluster.write("policy", serviceObject("policy", VIP, spec), sliceObject("policy", all));
      await cluster.until(
        `entries of ${JSON.stringify(spec)}`,
        () => JSON.stringify(entries(cluster)) === JSON.stringify(wanted),
      );
    };
    await becomes({}, { clusterIP: true, nodePort: false });
    await refused(cluster, "outside", node1, NODE_PORT);
    await becomes({ nodePort: NODE_PORT }, { clusterIP: true, nodePort: true });
    await cluster.answered("outside", node1, { port: NODE_PORT });
    await becomes({ nodePort: NODE_PORT, type: "LoadBalancer" }, {
      clusterIP: true,
      nodePort: true,
    });
    await becomes({ type: "LoadBalancer", allocateLoadBalancerNodePorts: false }, {
      clusterIP: true,
      nodePort: false,
    });
    await becomes({ type: "ExternalName", externalName: "example.org" }, {
      clusterIP: false,
      nodePort: false,
    });
    await becomes({ clusterIP: "None", clusterIPs: ["None"] }, {
      clusterIP: false,
      nodePort: false,
    });
    await becomes({}, { clusterIP: true, nodePort: false });
    await cluster.answered("pod1-2", VIP);
  });
});
