/** `pcnk describe service` in a lab: right, altered behind the agent's back, and Services without backends. */
import assert from "node:assert/strict";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { POD_DEVICE_FLAG } from "../../src/bpf/layout.ts";
import type { PodDescription } from "../../src/view/describe_pod.ts";
import type { Description } from "../../src/view/describe.ts";
import { labTest, pcnkOn } from "./support/lab.ts";

const run = (lab: LabHandle, ...args: string[]) => pcnkOn(lab, "describe", "service", ...args);

async function describe(lab: LabHandle, name: string, ...args: string[]) {
  const { code, stdout, stderr } = await run(lab, name, "-o", "json", ...args);
  assert.equal(stderr, "");
  return { code, ...JSON.parse(stdout) as Description };
}

labTest(
  "pcnk describe service tells where cluster and kernel differ, and why clients are not served",
  { name: "tdescribe", nodes: 1, pods: 2 },
  async (lab) => {
    const good = await describe(lab, "echo");
    assert.deepEqual([
      good.code,
      good.findings.map(({ good }) => good),
    ], [0, [true]]);
    assert.deepEqual(good.endpoints.map(({ state }) => state), ["ready", "ready"]);

    const empty = await run(lab, "default/empty");
    assert.equal(empty.code, 1);
    assert.match(
      empty.stdout,
      /refused: there are no endpoints; no EndpointSlice in .* \(its selector is app=empty\)/,
    );

    const unready = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: "empty-2",
        namespace: "default",
        labels: { "kubernetes.io/service-name": "empty" },
      },
      addressType: "IPv4",
      ports: [{ name: "tcp", protocol: "TCP", port: 8080 }],
      endpoints: [{ addresses: ["10.244.1.2"], conditions: { ready: false } }],
    };
    lab.writeManifest("unready", [unready]);
    const none = await describe(lab, "empty");
    assert.match(none.findings[0]!.text, /none of its 1 endpoints is ready/);

    // Without an agent the entry stays broken; where the objects are must be said then.
    await lab.stopAgent("node1", true);
    using plane = openDataPlane(lab.store.plan.nodes[0]!.bpffs);
    const [key, entry] = plane.maps.services.entries()
      .find(([{ addr, proto }]) => addr === "10.96.0.10" && proto === 6)!;
    plane.maps.services.set(key, { ...entry, count: 1 });
    const where = ["--manifests", lab.store.plan.manifests, "--node-name", "node1"];
    const altered = await describe(lab, "echo", ...where);
    assert.equal(altered.code, 1);
    assert.match(
      altered.findings[0]!.text,
      /1 of 2 entries of the maps are not in sync/,
    );
    const row = altered.frontends.find(({ frontend }) => frontend === "10.96.0.10:80/TCP")!;
    assert.deepEqual([row.wanted!.length, row.held!.length], [2, 1]);

    // An entry that belongs to no port, under the Service's own name.
    const foreign = { ...key, addr: "10.99.9.9" };
    plane.maps.services.set(foreign, entry);
    const more = await describe(lab, "echo", ...where);
    assert.match(more.findings[0]!.text, /^2 of 3 entries of the maps are not in sync/);
    const extra = more.frontends.find(({ frontend }) => frontend === "10.99.9.9:80/TCP")!;
    assert.deepEqual([extra.wanted, extra.held?.length], [null, entry.count]);
    // And one that is gone.
    plane.maps.services.delete(key);
    const gone = await describe(lab, "echo", ...where);
    const lost = gone.frontends.find(({ frontend }) => frontend === "10.96.0.10:80/TCP")!;
    assert.deepEqual([lost.wanted!.length, lost.held], [2, null]);
    assert.match((await run(lab, "ehco", ...where)).stderr, /did you mean default\/echo\?/);

    const nothing = await run(lab, "nosuch", ...where);
    assert.deepEqual([nothing.code, nothing.stdout], [1, ""]);
    assert.match(
      nothing.stderr,
      /no Service default\/nosuch, neither in the cluster nor in the kernel/,
    );
  },
);

labTest(
  "pcnk describe pod shows what a pod of this node is and may send, and what is broken",
  { name: "tdescribepod", nodes: 1, pods: 2 },
  async (lab) => {
    const pod = lab.pod("pod1-1");
    const { code, stdout } = await pcnkOn(lab, "describe", "pod", "pod1-1");
    assert.equal(code, 0, stdout);
    assert.match(stdout, new RegExp(`Interface: +eth0, [0-9a-f:]{17}, ${pod.address}`));
    assert.match(stdout, /Source check: +strict/);

    const { bpffs } = lab.node("node1");
    using plane = openDataPlane(bpffs);
    const { ifindex } = plane.maps.endpoints.get({ addr: pod.address })!;
    const entry = plane.maps.pod_devices.get({ ifindex })!;
    await lab.stopAgent("node1"); // which would set both right
    plane.maps.pod_devices.set({ ifindex }, { ...entry, flags: POD_DEVICE_FLAG.UNCHECKED });
    plane.maps.endpoints.delete({ addr: pod.address });
    const broken = await pcnkOn(lab, "describe", "pod", "default/pod1-1", "-o", "json");
    assert.equal(broken.code, 1);
    const found = JSON.parse(broken.stdout) as PodDescription;
    assert.equal(found.interfaces[0]!.sourceCheck, "off by annotation");
    assert.match(found.findings[0]!.text, /in the map endpoints is missing/);

    const missing = await pcnkOn(lab, "describe", "pod", "pod1-3");
    assert.match(missing.stderr, /there is no pod default\/pod1-3 on this node; .* did you mean/);
  },
);
