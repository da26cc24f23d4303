/**
 * The Kubernetes API source against a real API server, with exactly the role that the manifest gives it: the cases that the
 * double has to pass too, and what only a real server can tell.
 */
import assert from "node:assert/strict";
import { createLog } from "../../src/agent/log.ts";
import { NodeCondition } from "../../src/agent/node/node_condition.ts";
import { NodeEvents } from "../../src/agent/node/node_events.ts";
import type { Access } from "../../src/cluster/kube/access.ts";
import { loadKubeconfig } from "../../src/cluster/kube/kubeconfig.ts";
import { KubeSource } from "../../src/cluster/kube/source.ts";
import { Recorder } from "../../src/cluster/test_support.ts";
import { ApiClient, ApiError } from "../../src/cluster/kube/client.ts";
import { clusterRules } from "../../src/cluster/kube/rbac.ts";
import { isSourceCheckOff } from "../../src/cluster/kube/source_check.ts";
import { sourceCases } from "../../src/cluster/kube/cases_support.ts";
import { Admin, ALL_RULES, ApiWorld } from "./support/api_world.ts";
import { Kit, whyNot } from "./support/kit.ts";

const reason = whyNot();
if (reason !== undefined) console.error(`skipped: ${reason}`);

Deno.test({
  name: "KubeSource on a real API server",
  ignore: reason !== undefined,
  // The processes of the kit outlive the scripts that start them.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(test) {
    const kit = await Kit.setUp();
    try {
      await kit.controlPlaneUp();
      using admin = new Admin(kit);
      await admin.grant();
      for (const { name, run } of sourceCases) {
        await test.step(`KubeSource ${name}`, async () => {
          await using world = await ApiWorld.open(admin);
          await run(world);
        });
      }
      await test.step("certificates are checked as the kubeconfig says", () => tlsChecks(admin));
      await test.step("each right to read is needed, and missed by name", () => leastRights(admin));
      await test.step("the role does not reach beyond its work", () => notMore(admin));
      await test.step("without weights no Pod is read, nor may be", () => withoutPods(admin));
      await test.step("Node status and Events are written with the role", () => writes(admin));
      await test.step("a Pod's exemption is read with the role", () => exemption(admin));
    } finally {
      await kit.down();
    }
  },
});

/** The server's certificate has `kubernetes` and addresses in it, and comes from the kit's own CA. */
async function tlsChecks(admin: Admin) {
  const { ca, ...bare } = loadKubeconfig(admin.kit.kubeconfig);
  const signal = AbortSignal.timeout(20_000);
  const tries: [string, Partial<Access>, RegExp | undefined][] = [
    ["the CA's", { ca: ca! }, undefined],
    ["an unknown issuer", {}, /cannot be reached: .*UnknownIssuer/],
    ["an unknown issuer, not checked", { insecure: true }, undefined],
    ["of another name that it has", { ca: ca!, tlsServerName: "kubernetes" }, undefined],
    [
      "of a name that it has not",
      { ca: ca!, tlsServerName: "other" },
      /cannot be reached: .*other/,
    ],
  ];
  for (const [what, rest, refusal] of tries) {
    const client = new ApiClient({ ...bare, ...rest });
    const answer = client.json("/version", { signal });
    if (refusal === undefined) assert.ok((await answer).gitVersion, what);
    else await assert.rejects(answer, refusal, what);
    client.close();
  }
  // A watch goes through the relays as well, and ends by its signal.
  for (const rest of [{ insecure: true }, { ca: ca!, tlsServerName: "kubernetes" }]) {
    const sink = new Recorder();
    const source = new KubeSource({ ...bare, ...rest }, sink, { goodWatchMs: 100 });
    await source.start();
    assert.ok(sink.objects.has("Service default/kubernetes"));
    await source.closeAndWait();
  }
}

async function leastRights(admin: Admin) {
  for (const resource of ["services", "endpoints", "nodes", "pods"]) {
    const without = ALL_RULES.map((rule) => ({
      ...rule,
      resources: rule.resources.filter((one) => one !== resource),
    })).filter(({ resources }) => resources.length > 0);
    await admin.grant(without);
    await using world = await ApiWorld.open(admin);
    const started = world.started();
    await world.sink.until(() => world.source.trouble !== undefined, 20_000);
    assert.match(world.source.trouble!.reason, new RegExp(`/${resource} with 403: .*forbidden`));
    await admin.grant();
    await started; // without being started anew
  }
}

async function notMore(admin: Admin) {
  const client = new ApiClient(await admin.access());
  const signal = AbortSignal.timeout(20_000);
  const tries: [string, "GET" | "PATCH" | "DELETE"][] = [
    ["/api/v1/secrets", "GET"],
    ["/api/v1/configmaps", "GET"],
    ["/api/v1/nodes/x", "PATCH"],
    ["/api/v1/nodes/x", "DELETE"],
    ["/api/v1/namespaces/default/services/kubernetes", "DELETE"],
    ["/api/v1/namespaces/kube-system/events", "GET"],
  ];
  for (const [path, method] of tries) {
    const body = method === "PATCH" ? { body: {} } : {};
    const contentType = "application/merge-patch+json";
    await assert.rejects(
      client.json(path, { method, signal, contentType, ...body }),
      (error: Error) => error instanceof ApiError && error.status === 403,
      `${method} ${path}`,
    );
  }
  client.close();
}

async function writes(admin: Admin) {
  const name = "t-writes";
  await admin.apply("/api/v1/nodes", { metadata: { name } });
  const client = new ApiClient(await admin.access());
  const node = new NodeCondition(client, name, createLog("silent", name));
  const events = new NodeEvents({ client, nodeName: name, limits: { repeatMs: 0 } });
  try {
    node.set(undefined);
    const notice = { reason: "no-podCIDR", message: "what to do", type: "Warning" } as const;
    events.report(notice);
    await poll(async () => (await eventsOf(admin, name)).length === 1);
    events.report(notice);
    await poll(async () => (await eventsOf(admin, name))[0]?.count === 2);
    const [event] = await eventsOf(admin, name);
    assert.deepEqual([event!.reason, event!.message], ["NoPodCIDR", "what to do"]);
    await poll(async () => {
      const { status } = await admin.json(`/api/v1/nodes/${name}`);
      const { conditions = [] } = status as { conditions?: { type: string; status: string }[] };
      return conditions.some((one) => one.type === "NetworkUnavailable" && one.status === "False");
    });
  } finally {
    await node.stop();
    await events.stop();
    client.close();
    await admin.delete(`/api/v1/nodes/${name}`);
  }
}

async function withoutPods(admin: Admin) {
  await admin.grant(clusterRules({ sourceCheck: "strict", podWeights: "off" }));
  const access = await admin.access();
  const client = new ApiClient(access);
  const signal = AbortSignal.timeout(20_000);
  try {
    for (const path of ["/api/v1/pods", "/api/v1/namespaces/kube-system/pods/x"]) {
      await assert.rejects(
        client.json(path, { signal }),
        (error: Error) => error instanceof ApiError && error.status === 403,
        path,
      );
    }
    const sink = new Recorder();
    const source = new KubeSource(access, sink, { podWeights: false });
    await source.start();
    assert.ok(source.complete);
    assert.equal(source.trouble, undefined);
    await source.closeAndWait();
  } finally {
    client.close();
    await admin.grant();
  }
}

async function exemption(admin: Admin) {
  const access = await admin.access();
  const signal = AbortSignal.timeout(20_000);
  const containers = [{ name: "c", image: "none" }];
  const annotations = { "pcnk.io/source-check": "off" };
  const path = "/api/v1/namespaces/kube-system/pods";
  for (const metadata of [{ name: "t-router", annotations }, { name: "t-web" }]) {
    // Of a node that there is not, so that no kubelet takes it.
    await admin.apply(path, { metadata, spec: { nodeName: "t-none", containers } } as never);
  }
  try {
    const off = (pod: string) => isSourceCheckOff(access, `kube-system/${pod}`, signal);
    assert.deepEqual(
      [await off("t-router"), await off("t-web"), await off("t-gone"), await off("a/../b")],
      [true, false, false, false],
    );
  } finally {
    for (const name of ["t-router", "t-web"]) {
      await admin.delete(`${path}/${name}?gracePeriodSeconds=0`);
    }
  }
}

type Event = Record<string, unknown>;

async function eventsOf(admin: Admin, node: string): Promise<Event[]> {
  const { items } = await admin.json("/api/v1/namespaces/default/events", {
    query: { fieldSelector: `involvedObject.name=${node},source=pcnk` },
  });
  return items as Event[];
}

/** The API announces no other client's write: poll. */
async function poll(done: () => Promise<boolean>, patienceMs = 10_000) {
  const end = performance.now() + patienceMs;
  while (!await done()) {
    assert.ok(performance.now() < end, `not in time: ${done}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}
