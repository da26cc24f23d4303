/** `pcnk node` with annotations, on a real API server. */
import assert from "node:assert/strict";
import { AnnotationStore } from "../../src/cluster/node_store.ts";
import { runPcnk } from "../support/pcnk.ts";
import { Admin } from "./support/api_world.ts";
import { Kit, whyNot } from "./support/kit.ts";

const reason = whyNot();
if (reason !== undefined) console.error(`skipped: ${reason}`);

Deno.test({
  name: "pcnk node reads and writes annotations on a real API server",
  ignore: reason !== undefined,
  // The processes of the kit outlive the scripts that start them.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const kit = await Kit.setUp();
    try {
      await kit.controlPlaneUp();
      using admin = new Admin(kit);
      for (const name of ["node1", "node10"]) {
        await admin.apply(
          "/api/v1/nodes",
          { metadata: { name, annotations: { other: "stays" } } } as never,
        );
      }
      const at = ["--kubeconfig", kit.kubeconfig];
      const set = await runPcnk("node", "set", "node1", "directRouting=true", "vpcMode=aws", ...at);
      assert.deepEqual([set.code, set.stderr], [0, ""]);
      const { metadata } = await admin.json("/api/v1/nodes/node1");
      const { annotations } = metadata as { annotations: Record<string, string> };
      assert.equal(annotations["pcnk.io/direct-routing"], "true");
      assert.equal(annotations.other, "stays");
      assert.equal((await runPcnk("node", "set", "node1", "vpcMode=", ...at)).code, 0);
      const got = await runPcnk("node", "get", "-o", "json", ...at);
      assert.deepEqual(JSON.parse(got.stdout), {
        items: [{ name: "node1", directRouting: "true" }, { name: "node10" }],
      });
      const missing = await runPcnk("node", "set", "node2", "vpcMode=aws", ...at);
      assert.match(missing.stderr, /nodes "node2" not found; kubectl get nodes lists the nodes\n$/);
      assert.equal(missing.code, 1);
      await admin.grant();
      using limited = new AnnotationStore(await admin.access());
      const signal = AbortSignal.timeout(20_000);
      assert.equal((await limited.read(signal)).size, 2);
      await assert.rejects(
        limited.write("node1", { vpcMode: "aws" }, signal),
        /403: .*cannot patch resource "nodes".*; this user needs get, list and patch of nodes$/,
      );
    } finally {
      await kit.down();
    }
  },
});
