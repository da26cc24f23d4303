/** Pods, nodes and the world reach each other. */
import assert from "node:assert/strict";
import type { Test } from "../support/suite.ts";
import { NODES } from "../support/world.ts";
import { HTTP } from "../support/workload.ts";

export function basic(test: Test): void {
  test("every node is Ready, and its network available", async ({ kit, provider }) => {
    for (const node of NODES) {
      const path = `{range .status.conditions[*]}{.type}={.status} {end}`;
      const words = await kit.kubectl([
        "get",
        "node",
        kit.nodeName(node),
        "-o",
        `jsonpath=${path}`,
      ]);
      const conditions = Object.fromEntries(words.trim().split(" ").map((word) => word.split("=")));
      assert.equal(conditions.Ready, "True", words);
      if (provider.name === "pcnk") assert.equal(conditions.NetworkUnavailable, "False", words);
    }
  });

  test("pods run on both nodes, with addresses of their node's podCIDR", async ({ kit, webPods }) => {
    assert.deepEqual(webPods.map(({ node }) => node), NODES.map((node) => kit.nodeName(node)));
    for (const { ip, node } of webPods) {
      const cidr = await kit.kubectl(["get", "node", node, "-o", "jsonpath={.spec.podCIDR}"]);
      assert.equal(ip.split(".").slice(0, 3).join("."), cidr.split(".").slice(0, 3).join("."));
    }
  });

  test("a node reaches pods of its own and of the other node", async (world) => {
    for (const node of NODES) {
      for (const pod of world.webPods) {
        assert.equal(await world.node(node).get(`${pod.ip}:${HTTP}`), pod.name);
      }
    }
  });

  test("a pod reaches pods of its own and of the other node, and is seen as itself", async (world) => {
    for (const node of NODES) {
      const { ip } = await world.clientPod(node);
      for (const pod of world.webPods) {
        const seen = await world.client(node).get(`${pod.ip}:${HTTP}`, "/clientip");
        assert.equal(seen.split(":")[0], ip, `from node ${node} to ${pod.node}`);
      }
    }
  });

  test("a pod reaches the nodes", async (world) => {
    for (const node of NODES) {
      for (const to of NODES) {
        // kubelet wants a certificate: the answer 401 shows that it was asked.
        const said = await world.kit.tryKubectl([
          ...["-n", world.base.name, "exec", `client-${node}`, "--"],
          ...["curl", "-sk", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}"],
          `https://${world.kit.nodeAddress(to)}:10250/metrics`,
        ]);
        assert.equal(
          said.stdout,
          "401",
          `from a pod of node ${node} to node ${to}: ${said.stderr}`,
        );
      }
    }
  });

  test("a pod reaches the world outside, which sees its node", async (world) => {
    const { near, far, port } = world.outside;
    for (const node of NODES) {
      for (const address of [near, far]) {
        const seen = await world.client(node).get(`${address}:${port}`, "/clientip");
        assert.equal(
          seen.split(":")[0],
          world.kit.nodeAddress(node),
          `${address} from node ${node}`,
        );
      }
    }
  });

  test("a large body crosses nodes whole, by every way", async (world) => {
    const size = 300_000;
    for (const pod of world.webPods) {
      for (const node of NODES) {
        const command = `head -c ${size} /dev/zero | tr '\\0' x > /tmp/body &&
          curl -sSf -m 10 -F "file=@/tmp/body" http://${pod.ip}:${HTTP}/upload`;
        const said = await world.base.kubectl([
          "exec",
          `client-${node}`,
          "--",
          "sh",
          "-c",
          command,
        ]);
        assert.match(said, /output/, `from node ${node} to ${pod.node}`);
      }
    }
  });
}
