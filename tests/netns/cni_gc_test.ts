/** GC and STATUS of the CNI plugin on the real kernel. */
import assert from "node:assert/strict";
import { umount } from "../../src/linux/mount.ts";
import { both, destroy, entryOf, ok, test } from "./cni/cases.ts";

both("GC reaps what is not in the list, and nothing else", (world) => {
  const [kept, lost, gone] = ["10.1.0.2", "10.1.0.3", "10.1.0.4"].map((ip) => world.pod(ip));
  for (const pod of [kept!, lost!, gone!]) world.add(pod);
  destroy(world, gone!);
  ok(world.gc([kept!]));
  const { endpoints, programs, links, attachments } = world.snapshot();
  assert.deepEqual(endpoints, [{ addr: "10.1.0.2", ...entryOf(kept!) }]);
  assert.deepEqual(programs.map((line) => line.split(" ")[0]), ["pcnk0", "veth2"]);
  assert.equal(links.length === 0 || links.length === 2, true);
  assert.deepEqual(attachments, [`${kept!.containerID}@eth0.json`]);
  ok(world.gc([kept!]));
  ok(world.gc([]));
  assert.deepEqual(world.snapshot().endpoints, []);
});

test("GC leaves other networks' attachments alone", (world) => {
  const [ours, theirs] = ["10.1.0.2", "10.1.0.3"].map((ip) => world.pod(ip));
  world.add(ours!);
  world.add(theirs!, { config: { name: "other" } });
  ok(world.gc([]));
  assert.deepEqual(world.snapshot().endpoints, [{ addr: "10.1.0.3", ...entryOf(theirs!) }]);
  ok(world.call("CHECK", theirs, { config: { name: "other" } }));
});

both("GC reaps entries, programs and pins that no record knows", (world, mode) => {
  const [kept, lost] = ["10.1.0.2", "10.1.0.3"].map((ip) => world.pod(ip));
  for (const pod of [kept!, lost!]) world.add(pod);
  Deno.removeSync(`${world.stateDir}/attachments/${lost!.containerID}@eth0.json`);
  const dead = { ifindex: 9999, mac: "02:00:00:00:00:00", gateway: "0.0.0.0" };
  world.plane.maps.endpoints.set({ addr: "10.1.0.9" }, dead);
  world.plane.maps.pod_devices.set({ ifindex: 9999 }, {
    mac: dead.mac,
    flags: 0,
    host_mac: dead.mac,
  });
  const { log } = world.gc([kept!]);
  assert.equal(log.length >= 3, true, JSON.stringify(log));
  assert.deepEqual(world.snapshot(), {
    endpoints: [{ addr: "10.1.0.2", ...entryOf(kept!) }],
    devices: [`${kept!.hostIfindex} ${entryOf(kept!).mac}`],
    // A port without a program stays apart.
    ports: [kept!, lost!].map((pod) =>
      `${pod.hostName}: isolated, no learning, no flooding, ${pod.mac}`
    ),
    programs: [`pcnk0 egress ${mode} lbrp_to_pod`, `veth2 ingress ${mode} lbrp_from_pod`],
    links: mode === "tcx" ? [`${world.bridge}-egress`, `${kept!.hostIfindex}-ingress`].sort() : [],
    attachments: [`${kept!.containerID}@eth0.json`],
  });
});

test("GC does not touch what may be a valid pod's whose record is lost", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  Deno.removeSync(world.stateDir, { recursive: true });
  const before = world.snapshot();
  const dead = { ifindex: 9999, mac: "02:00:00:00:00:00", gateway: "0.0.0.0" };
  world.plane.maps.endpoints.set({ addr: "10.1.0.9" }, dead);
  ok(world.gc([pod]));
  assert.deepEqual(world.snapshot(), before);
});

test("GC removes damaged and half-written records", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  const folder = `${world.stateDir}/attachments`;
  for (const name of ["c9@eth0.json", ".c8@eth0.json"]) {
    Deno.writeTextFileSync(`${folder}/${name}`, "{");
  }
  ok(world.gc([pod]));
  assert.deepEqual(world.snapshot().attachments, [`${pod.containerID}@eth0.json`]);
});

test("GC works without a data plane, and wants its list", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  const before = world.snapshot();
  const { out } = world.gc([], { "cni.dev/valid-attachments": undefined });
  assert.equal(out.code, 7);
  assert.deepEqual(world.snapshot(), before);
  ok(world.gc([], { bpffs: `${world.dir}/nowhere` }));
  assert.deepEqual(world.snapshot().attachments, []);
});

test("STATUS tells whether ADD could be served", (world) => {
  const config = { cniVersion: "1.1.0" };
  ok(world.call("STATUS", undefined, { config }));
  const bpffs = `${world.dir}/nowhere`;
  const { code, out } = world.call("STATUS", undefined, { config: { ...config, bpffs } });
  assert.deepEqual([code, out.code], [1, 50]);
  assert(out.msg.includes(bpffs) && out.details.includes("pcnk agent"), out.msg);
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  const cutOff = world.call("STATUS", undefined, { config: { ...config, bpffs } });
  assert.equal(cutOff.out.code, 51, "there is a pod without its data plane");
  ok(world.call("STATUS", undefined, { config }));
  ok(world.call("DEL", pod, {}));
  umount(world.bpffs.replace(/\/node$/, ""), { lazy: true });
  assert.equal(world.call("STATUS", undefined, { config }).out.code, 50);
});
