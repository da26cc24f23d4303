/** DEL of the CNI plugin on the real kernel: whatever is gone, it succeeds, and it takes nothing that is another pod's. */
import assert from "node:assert/strict";
import { isAttached } from "../../src/bpf/attach.ts";
import { zero } from "../../src/bpf/codec.ts";
import { PROTO, type Session, session, SESSION_ZONE } from "../../src/bpf/layout.ts";
import { MapVersions } from "../../src/bpf/map_versions.ts";
import { linkPin } from "../../src/bpf/pins.ts";
import { both, destroy, ok, tcx, test } from "./cni/cases.ts";
import type { CniWorld, WiredPod } from "./cni/world.ts";

both("DEL takes everything back, but what all pods share", (world, mode) => {
  const pods = [world.pod("10.1.0.2"), world.pod("10.1.0.3", { bridged: false })];
  for (const pod of pods) world.add(pod);
  for (const pod of pods) ok(world.call("DEL", pod));
  assert.deepEqual(world.snapshot(), {
    endpoints: [],
    devices: [],
    ports: [],
    programs: [`pcnk0 egress ${mode} lbrp_to_pod`],
    links: mode === "tcx" ? [`${world.bridge}-egress`] : [],
    attachments: [],
  });
});

both("DEL succeeds as often as it is called", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  ok(world.call("DEL", pod));
  const after = world.snapshot();
  for (let i = 0; i < 3; i++) ok(world.call("DEL", pod));
  assert.deepEqual(world.snapshot(), after);
});

both("DEL needs neither namespace nor veth nor prevResult", (world) => {
  const env = { CNI_NETNS: "" };
  for (const change of [{ env }, { config: { prevResult: undefined } }, {}]) {
    const pod = world.pod("10.1.0.2");
    world.add(pod);
    destroy(world, pod);
    ok(world.call("DEL", pod, change));
    const { endpoints, links, attachments } = world.snapshot();
    assert.deepEqual([endpoints, attachments], [[], []]);
    assert.equal(links.includes(`${pod.hostIfindex}-ingress`), false);
  }
});

both("DEL without a record goes by namespace and prevResult", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  Deno.removeSync(world.stateDir, { recursive: true });
  ok(world.call("DEL", pod));
  const { endpoints, programs } = world.snapshot();
  assert.deepEqual(endpoints, []);
  assert.equal(programs.length, 1); // the bridge's
});

test("DEL without record and namespace goes by prevResult", (world) => {
  for (const gone of [false, true]) {
    const pod = world.pod(gone ? "10.1.0.3" : "10.1.0.2");
    world.add(pod);
    Deno.removeSync(world.stateDir, { recursive: true });
    if (gone) destroy(world, pod);
    ok(world.call("DEL", pod, { env: { CNI_NETNS: undefined } }));
    assert.deepEqual(world.snapshot().endpoints, []);
    assert.equal(world.snapshot().programs.length, 1);
  }
});

test("DEL overlooks a damaged record and a prevResult that makes no sense", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  Deno.writeTextFileSync(`${world.stateDir}/attachments/${pod.containerID}@eth0.json`, "{");
  const ips = [{ address: "nonsense" }];
  const { code, log } = world.call("DEL", pod, {
    config: { prevResult: { ...pod.prevResult, ips } },
  });
  assert.equal(code, 0);
  assert.equal(log[0]?.msg, "prevResult is ignored");
  assert.deepEqual(world.snapshot().attachments, []);
  assert.equal(world.snapshot().programs.length, 1);
});

test("DEL succeeds without a data plane and without a state directory", (world) => {
  const pod = world.pod("10.1.0.2");
  ok(world.call("DEL", pod)); // there was never an ADD
  assert.throws(() => Deno.statSync(world.stateDir), Deno.errors.NotFound); // nor is one made for it
  world.add(pod);
  const config = { bpffs: `${world.dir}/nowhere` };
  ok(world.call("DEL", pod, { config }));
  assert.deepEqual(world.snapshot().attachments, []);
});

test("DEL leaves a device alone that only has the index of the old one", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  world.node.nl.setLink(pod.hostIfindex, { name: "other0" }); // as if made after a restart
  const before = world.snapshot().programs;
  ok(world.call("DEL", pod));
  assert.deepEqual(world.snapshot().programs, before);
});

test("a TCX pin of a former device with the same index does not count", (world) => {
  if (!tcx) return;
  const pod = world.pod("10.1.0.2");
  Deno.mkdirSync(world.stateDir, { recursive: true, mode: 0o700 });
  Deno.writeTextFileSync(`${world.stateDir}/datapath.json`, '{"attach":"tcx"}');
  world.add(pod);
  world.node.nl.delLink(pod.hostIfindex);
  const pin = linkPin(world.bpffs, pod.hostIfindex, "ingress");
  Deno.statSync(pin);
  const hook = { bpffs: world.bpffs, ifindex: pod.hostIfindex, direction: "ingress" as const };
  assert.equal(isAttached({ ...hook, nl: world.node.nl }), undefined);
  ok(world.call("DEL", pod));
  assert.throws(() => Deno.statSync(pin), Deno.errors.NotFound);
  assert.equal(world.plane.maps.endpoints.get({ addr: "10.1.0.2" }), undefined);
});

/** A pod at each side of a flow, before and behind its translation. */
const SIDES: [key: "src" | "dst" | undefined, value: "src" | "dst" | undefined][] = [
  ["src", undefined],
  ["dst", undefined],
  [undefined, "src"],
  [undefined, "dst"],
];

/** Enters flows of a pod, by source port: of each protocol and zone, from here, to here, in either table. */
function openFlows({ plane }: CniWorld, pod: string): void {
  let sport = 1000 * Number(pod.at(-1));
  for (const proto of [PROTO.TCP, PROTO.UDP, PROTO.ICMP]) {
    for (const zone of [SESSION_ZONE.SERVICE, SESSION_ZONE.MASQUERADE]) {
      for (const map of [plane.maps.sessions, plane.maps.assured]) {
        for (const [key, value] of SIDES) {
          const outside = { src: "198.51.100.7", dst: "192.0.2.1", sport: sport++, dport: 80 };
          const behind: Session = { ...zero(session), ...outside, service_id: sport % 3 };
          map.set({ ...outside, ...(key && { [key]: pod }), proto, zone }, {
            ...behind,
            ...(value && { [value]: pod }),
          });
        }
      }
    }
  }
}

/** How many entries each table has. */
const flows = ({ plane: { maps } }: CniWorld) =>
  [maps.sessions, maps.assured].map((map) => map.keys().length);

/** Ways in which a pod with an address goes, and what makes that known. */
const ENDS: Record<string, (world: CniWorld, pod: WiredPod) => void> = {
  "DEL": (world, pod) => ok(world.call("DEL", pod)),
  "DEL without a record": (world, pod) => {
    Deno.removeSync(world.stateDir, { recursive: true });
    ok(world.call("DEL", pod));
  },
  "GC": (world) => ok(world.gc([])),
  "GC without a record": (world, pod) => {
    Deno.removeSync(world.stateDir, { recursive: true });
    destroy(world, pod);
    ok(world.gc([]));
  },
  "ADD of the next pod": (world, pod) => {
    destroy(world, pod);
    world.add(world.pod("10.1.0.2"));
  },
};

for (const [name, end] of Object.entries(ENDS)) {
  test(`${name} ends the flows of the pod that had an address, and no others`, (world) => {
    const pod = world.pod("10.1.0.2");
    world.add(pod);
    openFlows(world, "10.1.0.3");
    const others = flows(world);
    openFlows(world, "10.1.0.2");
    assert.notDeepEqual(flows(world), others);
    end(world, pod);
    assert.deepEqual(flows(world), others);
  });
}

test("DEL and GC release a pod whose sessions are another release's, which its agent will convert", (world) => {
  using versions = MapVersions.open(world.bpffs)!;
  const ids = [world.plane.maps.sessions.id, world.plane.maps.assured.id];
  const former = ids.map((id) => versions.of(id));
  const ends = [(pod: WiredPod) => world.call("DEL", pod), () => world.gc([])];
  for (const [i, end] of ends.entries()) {
    const pod = world.pod(`10.1.0.${2 + i}`);
    world.add(pod);
    try {
      for (const id of ids) versions.set(id, 1);
      ok(end(pod));
      assert.deepEqual(world.snapshot().endpoints, []);
    } finally {
      for (const [i, id] of ids.entries()) versions.set(id, former[i]!);
    }
  }
});
