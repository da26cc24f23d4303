/** `pcnk describe service` on a real API server: why a Service whose selector finds no Pod refuses, in words. */
import assert from "node:assert/strict";
import { installDataPlane } from "../../src/bpf/install.ts";
import { umount } from "../../src/linux/mount.ts";
import * as needs from "../support/needs.ts";
import { runPcnk } from "../support/pcnk.ts";
import { Admin } from "./support/api_world.ts";
import { Kit, whyNot } from "./support/kit.ts";

const reason = whyNot();
if (reason !== undefined) console.error(`skipped: ${reason}`);

const PODS = "/api/v1/namespaces/default/pods";
const CONTAINERS = [{ name: "c", image: "none" }];

/** A Pod without a kubelet, and whether it says that it is ready. */
async function pod(admin: Admin, name: string, labels: Record<string, string>, ready: boolean) {
  const spec = { containers: CONTAINERS, automountServiceAccountToken: false };
  await admin.apply(PODS, { metadata: { name, labels }, spec } as never);
  const status = { conditions: [{ type: "Ready", status: ready ? "True" : "False" }] };
  await admin.json(`${PODS}/${name}/status`, {
    method: "PATCH",
    body: { status },
    contentType: "application/strategic-merge-patch+json",
  });
}

async function service(admin: Admin, name: string, selector: Record<string, string>) {
  const spec = { selector, ports: [{ port: 80, targetPort: 8080 }] };
  await admin.apply("/api/v1/namespaces/default/services", { metadata: { name }, spec } as never);
}

Deno.test({
  name: "pcnk describe service tells which Pods a selector finds, or nearly finds",
  ignore: reason !== undefined || !needs.root(),
  // The processes of the kit outlive the scripts that start them.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const dir = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
    const bpffs = `${dir}/bpf`;
    const kit = await Kit.setUp();
    try {
      await kit.controlPlaneUp();
      installDataPlane({ bpffs }).close();
      using admin = new Admin(kit);
      await admin.apply(
        "/api/v1/namespaces/default/serviceaccounts",
        { metadata: { name: "default" } } as never,
      );
      for (const name of ["web-1", "web-2"]) {
        await pod(admin, name, { app: "web" }, name === "web-1");
      }
      await pod(admin, "db-1", { app: "db" }, true);
      await service(admin, "typo", { app: "wbe" });
      await service(admin, "none", { component: "scheduler" });
      const describe = (name: string) =>
        runPcnk(
          ...["describe", "service", name, "--kubeconfig", kit.kubeconfig],
          ...["--bpffs", bpffs, "--state-dir", dir, "--node-name", "node1"],
        );

      const typo = await describe("typo");
      assert.equal(typo.code, 1, typo.stderr);
      assert.match(
        typo.stdout,
        /→ connections are refused: there are no endpoints; its selector app=wbe matches none of 3 Pods in namespace default; 2 Pods there have app=web: .*kubectl -n default get pods --show-labels/,
      );
      const none = await describe("none");
      assert.match(none.stdout, /selector component=scheduler matches none of 3 Pods .*; compare/);
      const wrong = await describe("tyop");
      assert.match(wrong.stderr, /did you mean default\/typo\?/);
    } finally {
      await kit.down();
      umount(bpffs, { lazy: true });
      Deno.removeSync(dir, { recursive: true });
    }
  },
});
