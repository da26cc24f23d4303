/** Services, in every way that they can be reached. */
import assert from "node:assert/strict";
import { until } from "../support/poll.ts";
import type { Test } from "../support/suite.ts";
import { HTTP, HTTP_ONLY, idlePod, service, web, webPod } from "../support/workload.ts";
import { NODES } from "../support/world.ts";

export function services(test: Test): void {
  test("a ClusterIP reaches all backends from pods and nodes, by TCP and UDP", async (world) => {
    const { webIP, webNames } = world;
    for (const node of NODES) {
      for (const from of [world.client(node), world.node(node)]) {
        await from.reachesAll(webIP, webNames);
        await from.reachesAllUdp(webIP, 81, webNames);
      }
    }
  });

  test("a backend sees the pod that asked its ClusterIP", async (world) => {
    for (const node of NODES) {
      const { ip } = await world.clientPod(node);
      for (let i = 0; i < 6; i++) {
        const seen = await world.client(node).get(world.webIP, "/clientip");
        assert.equal(seen.split(":")[0], ip);
      }
    }
  });

  test("the API server is reached by its ClusterIP from pods and nodes", async (world) => {
    const command = ["curl", "-sk", "-m", "3", "https://10.96.0.1/version"];
    for (const node of NODES) {
      const fromPod = await world.base.kubectl(["exec", `client-${node}`, "--", ...command]);
      const fromNode = await world.kit.inNode(node, command);
      for (const answer of [fromPod, fromNode]) assert.match(answer, /"gitVersion": "v1\./);
    }
  });

  test("names are resolved by the DNS service's ClusterIP", async (world) => {
    for (const node of NODES) {
      const answer = await world.client(node).get(`web.${world.base.name}.svc.cluster.local`);
      assert.ok(world.webNames.includes(answer), answer);
      // A short name goes through the pod's search list.
      assert.ok(world.webNames.includes(await world.client(node).get("web")));
    }
  });

  test("a NodePort is reached from outside on every node, by TCP and UDP", async (world) => {
    const { kit, webNames, webPort, outsider } = world;
    for (const node of NODES) {
      await outsider.reachesAll(`${kit.nodeAddress(node)}:${webPort.http}`, webNames);
      await outsider.reachesAllUdp(kit.nodeAddress(node), webPort.udp, webNames);
    }
  });

  test("a NodePort is reached by a client behind a router", async (world) => {
    const { kit, outside, outsider, webPort, webNames } = world;
    for (const node of NODES) {
      const at = `${kit.nodeAddress(node)}:${webPort.http}`;
      for (let i = 0; i < 6; i++) {
        assert.ok(webNames.includes(await outsider.get(at, "/hostname", outside.far)));
      }
    }
  });

  test("a NodePort is reached from pods and nodes", async (world) => {
    const { kit, webPort, webNames } = world;
    for (const node of NODES) {
      for (const to of NODES) {
        const at = `${kit.nodeAddress(to)}:${webPort.http}`;
        await world.client(node).reachesAll(at, webNames);
        await world.node(node).reachesAll(at, webNames);
      }
    }
  });

  test("a service without backends refuses at once", async (world) => {
    const ns = await world.namespace();
    await ns.apply(service("empty", { type: "NodePort" }));
    const ip = await ns.clusterIP("empty");
    const port = await ns.nodePort("empty");
    const refused = async (what: string, ask: () => Promise<{ code: number }>) =>
      await until(`${what} is refused`, 10_000, async () => (await ask()).code === 7);
    await refused("the ClusterIP from a pod", () => world.client(1).tryGet(ip));
    await refused("the ClusterIP from a node", () => world.node(1).tryGet(ip));
    const at = `${world.kit.nodeAddress(2)}:${port}`;
    await refused("the NodePort from outside", () => world.outsider.tryGet(at));
  });

  test("a pod reaches itself through its own service", async (world) => {
    const ns = await world.namespace();
    await ns.apply(webPod("alone", world.kit.nodeName(1)), service("alone"));
    await ns.ready("alone");
    const ip = await ns.clusterIP("alone");
    const exec = (...command: string[]) => ns.kubectl(["exec", "alone", "--", ...command]);
    await until("the service has its backend", 10_000, () => world.node(1).get(ip));
    for (let i = 0; i < 5; i++) {
      assert.equal(await exec("curl", "-sSf", "-m", "3", `http://${ip}/hostname`), "alone");
    }
  });

  test("sessionAffinity keeps a client at one backend", async (world) => {
    const ns = await world.namespace();
    await ns.apply(
      web({ name: "sticky", replicas: 3 }),
      service("sticky", { type: "NodePort", sessionAffinity: "ClientIP" }),
    );
    await ns.rolledOut("sticky");
    const ip = await ns.clusterIP("sticky");
    const at = `${world.kit.nodeAddress(1)}:${await ns.nodePort("sticky")}`;
    for (const [from, host] of [[world.client(1), ip], [world.outsider, at]] as const) {
      const first = await from.eventually(host);
      for (let i = 0; i < 12; i++) assert.equal(await from.get(host), first, from.name);
    }
  });

  test("externalTrafficPolicy Local keeps the client's address; the health check tells where", async (world) => {
    const { kit, outsider, outside } = world;
    const ns = await world.namespace();
    const local = { type: "LoadBalancer", externalTrafficPolicy: "Local", ports: HTTP_ONLY };
    await ns.apply(webPod("local", kit.nodeName(1)), service("local", local));
    await ns.ready("local");
    const port = await ns.nodePort("local");
    const check = await ns.field("service/local", ".spec.healthCheckNodePort");
    await outsider.eventually(`${kit.nodeAddress(1)}:${port}`);
    for (const source of [outside.near, outside.far]) {
      const seen = await outsider.get(`${kit.nodeAddress(1)}:${port}`, "/clientip", source);
      assert.equal(seen.split(":")[0], source);
    }
    const elsewhere = await outsider.tryGet(`${kit.nodeAddress(2)}:${port}`);
    assert.notEqual(elsewhere.code, 0, "node 2 has no backend and answers");
    await outsider.eventually(`${kit.nodeAddress(1)}:${check}`, "/healthz");
    const unhealthy = await outsider.tryGet(`${kit.nodeAddress(2)}:${check}`, "/healthz");
    assert.equal(unhealthy.code, 22, `the health check of node 2: ${unhealthy.stderr}`);
  });

  test("a load balancer's address in the status is served, its source ranges kept", async (world) => {
    const { kit, outside, outsider } = world;
    const address = "198.51.100.10";
    const ns = await world.namespace();
    const balanced = (ranges?: string[]) => {
      const more = { ports: HTTP_ONLY, loadBalancerSourceRanges: ranges };
      return service("lb", { type: "LoadBalancer", ...more });
    };
    await ns.apply(web({ name: "lb", replicas: 2 }), balanced());
    await ns.rolledOut("lb");
    // As a cloud's controller does.
    const status = { loadBalancer: { ingress: [{ ip: address }] } };
    await kit.writeStatus(`/api/v1/namespaces/${ns.name}/services/lb`, status);
    const names = (await ns.pods("lb")).map(({ name }) => name);
    for (const node of NODES) {
      await outside.route(address, kit.nodeAddress(node));
      await outsider.eventually(address);
      await outsider.reachesAll(address, names);
      assert.ok(names.includes(await outsider.get(address, "/hostname", outside.far)));
      await world.client(node).reachesAll(address, names);
    }
    await ns.apply(balanced([`${outside.near}/32`]));
    for (const node of NODES) {
      await outside.route(address, kit.nodeAddress(node));
      await until("a client outside of the source ranges is not served", 20_000, async () => {
        return (await outsider.tryGet(address, "/hostname", outside.far)).code !== 0;
      });
      assert.ok(names.includes(await outsider.get(address)));
    }
  });

  test("a hostPort is reached from outside", async (world) => {
    const { kit, outsider, outside } = world;
    const ns = await world.namespace();
    const ports = [{ containerPort: HTTP, hostPort: 9080 }];
    await ns.apply(webPod("hostport", kit.nodeName(2), { ports }));
    await ns.ready("hostport");
    const at = `${kit.nodeAddress(2)}:9080`;
    assert.equal(await outsider.get(at), "hostport");
    assert.equal(await outsider.get(at, "/hostname", outside.far), "hostport");
    assert.equal(await world.node(1).get(at), "hostport");
    assert.equal(await world.client(1).get(at), "hostport");
  });

  test("pods on the node's own network are clients and backends", async (world) => {
    const { kit } = world;
    const ns = await world.namespace();
    const args = ["netexec", "--http-port=9090", "--udp-port=9091"];
    const server = webPod("server", kit.nodeName(2), {
      args,
      ports: [],
      readinessProbe: undefined,
    });
    Object.assign(server.spec as object, { hostNetwork: true });
    await ns.apply(
      server,
      idlePod("client", kit.nodeName(1), { hostNetwork: true }),
      service("server", { ports: [{ name: "http", port: 80, targetPort: 9090 }] }),
    );
    await ns.ready("server", "client");
    const ip = await ns.clusterIP("server");
    for (const from of [world.client(1), world.client(2), world.node(1), world.node(2)]) {
      assert.equal(await from.eventually(ip), kit.nodeName(2), from.name);
    }
    const get = [
      "exec",
      "client",
      "--",
      "curl",
      "-sSf",
      "-m",
      "3",
      `http://${world.webIP}/hostname`,
    ];
    assert.ok(world.webNames.includes(await ns.kubectl(get)));
  });
}
