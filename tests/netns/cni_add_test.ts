/** ADD of the CNI plugin on the real kernel, on a node made for each test. Plugins before pcnk are played by the test. */
import assert from "node:assert/strict";
import { attach, FILTER } from "../../src/bpf/attach.ts";
import { closeFd } from "../../src/linux/libc.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { verdictProgram } from "../support/programs.ts";
import { both, entryOf, ok, tcx, test } from "./cni/cases.ts";
import { CniWorld } from "./cni/world.ts";

both("ADD puts a pod under lbrp and passes prevResult on", (world, mode) => {
  const pod = world.pod("10.1.0.2");
  assert.deepEqual(world.add(pod).out, pod.prevResult);
  const pins = mode === "tcx" ? [`${world.bridge}-egress`, `${pod.hostIfindex}-ingress`] : [];
  assert.deepEqual(world.snapshot(), {
    endpoints: [{ addr: "10.1.0.2", ...entryOf(pod) }],
    devices: [`${pod.hostIfindex} ${entryOf(pod).mac}`],
    ports: [`veth2: isolated, no learning, no flooding, ${entryOf(pod).mac}`],
    programs: [`pcnk0 egress ${mode} lbrp_to_pod`, `veth2 ingress ${mode} lbrp_from_pod`],
    links: pins.sort(),
    attachments: [`${pod.containerID}@eth0.json`],
  });
});

both("ADD puts both programs on a veth without a bridge", (world, mode) => {
  world.add(world.pod("10.1.0.2", { bridged: false }));
  assert.deepEqual(world.snapshot().programs, [
    `veth2 egress ${mode} lbrp_to_pod`,
    `veth2 ingress ${mode} lbrp_from_pod`,
  ]);
});

test("ADD takes a clsact filter by itself, and keeps a TCX link that the agent has made", (world) => {
  if (!tcx) return;
  const hook = { bpffs: world.bpffs, ifindex: world.bridge, direction: "egress" as const };
  world.inside(() => {
    using nl = RtNetlink.open();
    const programFd = world.plane.programFd("lbrp_to_pod");
    attach({ ...hook, nl, programFd, name: "lbrp_to_pod", mode: "tcx" });
  });
  world.add(world.pod("10.1.0.2"));
  assert.deepEqual(world.snapshot().programs, [
    "pcnk0 egress tcx lbrp_to_pod",
    "veth2 ingress clsact lbrp_from_pod",
  ]);
});

test("ADD knows the addresses of the pod's interface only, and IPv4 only", (world) => {
  const pod = world.pod("10.1.0.2");
  pod.prevResult.ips.push(
    { address: "10.9.0.9/24", interface: 0 },
    { address: "fd00::2/64", interface: 2 },
    { address: "10.2.0.2/24", interface: 2 },
  );
  world.add(pod);
  const entry = entryOf(pod);
  assert.deepEqual(world.snapshot().endpoints, [
    { addr: "10.1.0.2", ...entry },
    { addr: "10.2.0.2", ...entry, gateway: "0.0.0.0" },
  ]);
  pod.prevResult.ips = [{ address: "fd00::2/64", interface: 2 }];
  world.add(pod);
  assert.deepEqual(world.snapshot().endpoints, []);
});

test("ADD without a data plane says what to do, and changes nothing", (world) => {
  const pod = world.pod("10.1.0.2");
  const missing = `${world.dir}/nowhere`;
  for (const bpffs of [missing, world.dir]) {
    const { code, out } = world.call("ADD", pod, { config: { bpffs } });
    assert.deepEqual([code, out.code], [1, 11]);
    assert(out.msg.includes(bpffs) && out.details.includes("pcnk agent"), out.msg);
  }
  assert.deepEqual(world.snapshot().programs, []);
  assert.deepEqual(Array.from(Deno.readDirSync(world.dir)), []);
});

test("ADD twice is the same as once; what the second no longer has is given back", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  const once = world.snapshot();
  world.add(pod);
  assert.deepEqual(world.snapshot(), once);
  pod.prevResult.ips[0]!.address = "10.1.0.22/24";
  world.add(pod);
  assert.deepEqual(world.snapshot().endpoints, [{ addr: "10.1.0.22", ...entryOf(pod) }]);
});

both("ADD of a container made anew gives back what the former one had", (world) => {
  const former = world.pod("10.1.0.2");
  world.add(former);
  const pod = world.pod("10.1.0.3", { containerID: former.containerID });
  world.add(pod);
  const { endpoints, programs, attachments } = world.snapshot();
  assert.deepEqual(endpoints, [{ addr: "10.1.0.3", ...entryOf(pod) }]);
  assert.equal(programs.some((line) => line.startsWith("veth2 ")), false);
  assert.equal(attachments.length, 1);
});

test("ADD refuses an address that a pod has, and takes it when that is gone, whose late DEL leaves it", (world) => {
  const lost = world.pod("10.1.0.2");
  world.add(lost);
  const heir = world.pod("10.1.0.3");
  heir.prevResult.ips[0]!.address = "10.1.0.2/24";
  const before = world.snapshot();
  const { code, out } = world.call("ADD", heir);
  assert.deepEqual([code, out.code], [1, 11]);
  assert.match(
    out.msg,
    /^the address 10\.1\.0\.2 is in use by another pod of this node \(device veth2\)$/,
  );
  assert.deepEqual(world.snapshot(), before);
  world.node.nl.delLink(lost.hostIfindex);
  const { log } = world.add(heir);
  assert.deepEqual(log.map(({ level }) => level), ["warn", "info"]);
  ok(world.call("DEL", lost));
  assert.deepEqual(world.plane.maps.endpoints.get({ addr: "10.1.0.2" }), entryOf(heir));
  ok(world.call("DEL", lost)); // without a record now, with a prevResult that names the address
  assert.deepEqual(world.plane.maps.endpoints.get({ addr: "10.1.0.2" }), entryOf(heir));
});

test("ADD says what is wrong with a namespace, and leaves the node as it was", (world) => {
  const pod = world.pod("10.1.0.2");
  const before = world.snapshot();
  const fifo = `${world.dir}/fifo`;
  new Deno.Command("mkfifo", { args: [fifo] }).outputSync();
  for (const netns of ["/run/netns/nobody", fifo, "/dev/null", "/etc/passwd", world.node.path]) {
    const { code, out } = world.call("ADD", pod, { env: { CNI_NETNS: netns } });
    assert.deepEqual([code, out.code], [1, 4], netns);
    assert.match(out.msg, /CNI_NETNS/);
  }
  Deno.removeSync(fifo);
  assert.deepEqual(world.snapshot(), before);
});

test("ADD wants a veth pair that leads into this node", (world) => {
  const pod = world.pod("10.1.0.2");
  pod.netns.nl.addLink({ kind: "bridge", name: "br0" });
  pod.netns.nl.addLink({ kind: "veth", name: "in0", peer: { name: "in1" } });
  const before = world.snapshot();
  for (const ifname of ["none0", "lo", "br0", "in0"]) {
    const sandbox = pod.netns.path;
    const prevResult = { ...pod.prevResult, interfaces: [{ name: ifname, sandbox }], ips: [] };
    const { code, out } = world.call("ADD", pod, {
      env: { CNI_IFNAME: ifname },
      config: { prevResult },
    });
    assert.deepEqual([code, out.code], [1, 102], ifname);
    assert.match(out.details, /bridge or ptp/);
  }
  assert.deepEqual(world.snapshot(), before);
});

test("ADD is not deceived by another node's devices, which have the same indexes", (world) => {
  using other = new CniWorld();
  const pod = world.pod("10.1.0.2");
  const twin = other.pod("10.1.0.2");
  assert.equal(pod.hostIfindex, twin.hostIfindex);
  const { code, out } = other.call("ADD", pod, { config: {} });
  assert.deepEqual([code, out.code], [1, 102]);
  assert.deepEqual(other.snapshot().programs, []);
});

test("ADD that cannot attach undoes what it has done", (world) => {
  const pod = world.pod("10.1.0.2");
  const before = world.snapshot();
  const programFd = verdictProgram("stranger");
  const { ifindex, direction } = { ifindex: pod.hostIfindex, direction: "ingress" as const };
  world.node.nl.addClsact(ifindex);
  world.node.nl.filterReplace({
    ...{ ifindex, direction, priority: FILTER.priority, handle: FILTER.handle },
    progFd: programFd,
    name: "stranger",
  });
  const { out } = world.call("ADD", pod);
  assert.equal(out.code, 101);
  assert.match(out.msg, /another tool's filter "stranger"/);
  assert.deepEqual(world.snapshot(), before);
  assert.equal(world.node.nl.filterList(ifindex, direction)[0]?.name, "stranger");
  closeFd(programFd);
});

test("ADD that finds the map of pods full undoes what it has done", (world) => {
  const { endpoints } = world.plane.maps;
  const free = endpoints.maxEntries - 1;
  const entry = { ifindex: 1, mac: "02:00:00:00:00:00", gateway: "0.0.0.0" };
  for (let i = 0; i < free; i++) endpoints.set({ addr: `10.9.0.${i}` }, entry);
  const pod = world.pod("10.1.0.2");
  pod.prevResult.ips.push({ address: "10.1.1.2/24", interface: 2 });
  const before = world.snapshot();
  const { out } = world.call("ADD", pod);
  assert.equal(out.code, 101);
  assert.match(out.msg, /E2BIG.*endpoints/);
  assert.deepEqual(world.snapshot(), before);
});

test("ADD again that fails leaves the attachment as it was", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  const before = world.snapshot();
  const { endpoints } = world.plane.maps;
  const entry = { ifindex: 1, mac: "02:00:00:00:00:00", gateway: "0.0.0.0" };
  const filler = Array.from({ length: endpoints.maxEntries - 1 }, (_, i) => `10.9.0.${i}`);
  for (const addr of filler) endpoints.set({ addr }, entry);
  const ips = [...pod.prevResult.ips, { address: "10.1.1.2/24", interface: 2 }];
  const { out } = world.call("ADD", pod, { config: { prevResult: { ...pod.prevResult, ips } } });
  assert.equal(out.code, 101);
  endpoints.deleteBatch(filler.map((addr) => ({ addr })));
  assert.deepEqual(world.snapshot(), before);
  ok(world.call("CHECK", pod));
});

test("ADD without a usable state directory changes nothing", (world) => {
  const pod = world.pod("10.1.0.2");
  const before = world.snapshot();
  Deno.writeTextFileSync(`${world.dir}/file`, "");
  Deno.mkdirSync(`${world.dir}/open`);
  Deno.chmodSync(`${world.dir}/open`, 0o777);
  for (const name of ["file", "file/state", "open"]) {
    const { out } = world.call("ADD", pod, { config: { stateDir: `${world.dir}/${name}` } });
    assert.equal(out.code, 5, name);
  }
  assert.deepEqual(world.snapshot(), before);
});
