/** The CNI plugin's verbs on the real kernel, on a node made for each test. Plugins before pcnk are played by the test. */
import assert from "node:assert/strict";
import { attach, detach, FILTER, isAttached } from "../../src/bpf/attach.ts";
import { linkPin } from "../../src/bpf/pins.ts";
import { closeFd } from "../../src/linux/libc.ts";
import { umount } from "../../src/linux/mount.ts";
import { deleteNetns } from "../../src/linux/netns.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { openFds } from "../support/fds.ts";
import * as needs from "../support/needs.ts";
import { verdictProgram } from "../support/programs.ts";
import { CniWorld, GATEWAY, type WiredPod } from "./cni/world.ts";

const available = needs.root() && needs.file("dist/artifacts/lbrp.bpf.o");
const tcx = needs.kernel(6, 6);

function test(name: string, fn: (world: CniWorld) => void, attach?: "tcx" | "clsact"): void {
  Deno.test({
    name,
    ignore: !available || (attach === "tcx" && !tcx),
    fn() {
      const before = openFds();
      {
        using world = new CniWorld({ attach });
        fn(world);
      }
      assert.deepEqual(openFds(), before, "a descriptor leaked");
    },
  });
}

/** The same in both modes of attachment. */
function both(name: string, fn: (world: CniWorld, mode: "tcx" | "clsact") => void): void {
  for (const mode of ["tcx", "clsact"] as const) {
    test(`${name} (${mode})`, (world) => fn(world, mode), mode);
  }
}

const entryOf = ({ hostIfindex: ifindex, mac }: WiredPod) => ({ ifindex, mac, gateway: GATEWAY });
const addressOf = (pod: WiredPod) => pod.prevResult.ips[0]!.address.replace(/\/.*/, "");
const endpoint = (world: CniWorld, addr: string) => world.plane.maps.endpoints.get({ addr });

/** Removes the pod's veth pair and its namespace, as the plugins after pcnk and the runtime do. */
function destroy(world: CniWorld, pod: WiredPod): void {
  world.node.nl.delLink(pod.hostIfindex);
  deleteNetns(pod.netns.name);
}

function ok(answer: { code: number; out: unknown }): void {
  assert.deepEqual({ code: answer.code, out: answer.out }, { code: 0, out: undefined });
}

both("ADD puts a pod under lbrp and passes prevResult on", (world, mode) => {
  const pod = world.pod("10.1.0.2");
  assert.deepEqual(world.add(pod).out, pod.prevResult);
  const pins = mode === "tcx" ? [`${world.bridge}-egress`, `${pod.hostIfindex}-ingress`] : [];
  assert.deepEqual(world.snapshot(), {
    endpoints: [{ addr: "10.1.0.2", ...entryOf(pod) }],
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

both("DEL takes everything back, but what all pods share", (world, mode) => {
  const pods = [world.pod("10.1.0.2"), world.pod("10.1.0.3", { bridged: false })];
  for (const pod of pods) world.add(pod);
  for (const pod of pods) ok(world.call("DEL", pod));
  assert.deepEqual(world.snapshot(), {
    endpoints: [],
    programs: [`pcnk0 egress ${mode} lbrp_to_pod`],
    links: mode === "tcx" ? [`${world.bridge}-egress`] : [],
    attachments: [],
  });
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

test("ADD takes an address over from a pod whose DEL never came, whose DEL then leaves it", (world) => {
  const lost = world.pod("10.1.0.2");
  world.add(lost);
  const heir = world.pod("10.1.0.3");
  heir.prevResult.ips[0]!.address = "10.1.0.2/24";
  const { log } = world.add(heir);
  assert.deepEqual(log.map(({ level }) => level), ["warn", "info"]);
  ok(world.call("DEL", lost));
  assert.deepEqual(endpoint(world, "10.1.0.2"), entryOf(heir));
  ok(world.call("DEL", lost)); // without a record now, with a prevResult that names the address
  assert.deepEqual(endpoint(world, "10.1.0.2"), entryOf(heir));
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

both("CHECK is content with what ADD did, right after it and as often as it is asked", (world) => {
  const pods = [world.pod("10.1.0.2"), world.pod("10.1.0.3", { bridged: false })];
  for (const pod of pods) world.add(pod);
  for (const pod of [...pods, ...pods]) ok(world.call("CHECK", pod));
});

both("CHECK finds whatever is not as ADD left it", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  const { endpoints } = world.plane.maps;
  const key = { addr: "10.1.0.2" };
  const other = verdictProgram("lbrp_from_pod");
  const hook = (direction: "ingress" | "egress") => ({
    bpffs: world.bpffs,
    ifindex: direction === "ingress" ? pod.hostIfindex : world.bridge,
    direction,
  });
  const off = (direction: "ingress" | "egress") =>
    world.wired(({ nl }) => detach({ ...hook(direction), nl }));
  const record = `${world.stateDir}/attachments/${pod.containerID}@eth0.json`;
  const faults: [RegExp, () => void][] = [
    [/^lbrp_from_pod is not attached to ingress of veth2$/, () => off("ingress")],
    [/^lbrp_to_pod is not attached to egress of pcnk0$/, () => off("egress")],
    [/^lbrp_from_pod is not attached/, () => {
      world.wired(({ nl }) =>
        attach({ ...hook("ingress"), nl, programFd: other, name: "lbrp_from_pod", mode: "auto" })
      );
    }],
    [/^10\.1\.0\.2 in the endpoints map: it is missing$/, () => endpoints.delete(key)],
    [/ifindex is 77, expected \d+$/, () => endpoints.set(key, { ...entryOf(pod), ifindex: 77 })],
    [/mac is 02:.*, expected 02:/, () => {
      endpoints.set(key, { ...entryOf(pod), mac: "02:ff:ff:ff:ff:ff" });
    }],
    [/gateway is 10\.1\.0\.9, expected 10\.1\.0\.1$/, () => {
      endpoints.set(key, { ...entryOf(pod), gateway: "10.1.0.9" });
    }],
    [/^pcnk has no record of it$/, () => Deno.removeSync(record)],
    [/^pcnk has no record of it$/, () => Deno.writeTextFileSync(record, "{")],
    [/^the record: mac is /, () => {
      const inside = pod.netns.nl.link("eth0")!;
      pod.netns.nl.setLink(inside.index, { mac: "02:00:00:00:00:99" });
    }],
  ];
  for (const [expected, damage] of faults) {
    damage();
    const { code, out } = world.call("CHECK", pod);
    assert.deepEqual([code, out.code], [1, 100], String(expected));
    assert.match(out.details, expected);
    world.add(pod); // mends everything
    ok(world.call("CHECK", pod));
  }
  pod.prevResult.ips.push({ address: "10.1.0.7/24", interface: 2 });
  const { out } = world.call("CHECK", pod);
  assert.match(out.details, /the record has 10\.1\.0\.2, prevResult 10\.1\.0\.2, 10\.1\.0\.7/);
  assert.match(out.details, /10\.1\.0\.7 in the endpoints map: it is missing/);
  closeFd(other);
});

test("CHECK of a pod that is gone, or without a data plane, is an error", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  const bpffs = `${world.dir}/nowhere`;
  assert.equal(world.call("CHECK", pod, { config: { bpffs } }).out.code, 11);
  destroy(world, pod);
  assert.equal(world.call("CHECK", pod).out.code, 4);
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
  assert.equal(log[0]?.msg, "prevResult cannot be used");
  assert.deepEqual(world.snapshot().attachments, []);
  assert.equal(world.snapshot().programs.length, 1);
});

test("DEL succeeds without a data plane and without a state directory", (world) => {
  const pod = world.pod("10.1.0.2");
  ok(world.call("DEL", pod)); // there was never an ADD
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
  const { log } = world.gc([kept!]);
  assert.equal(log.length >= 3, true, JSON.stringify(log));
  assert.deepEqual(world.snapshot(), {
    endpoints: [{ addr: "10.1.0.2", ...entryOf(kept!) }],
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
  umount(world.bpffs.replace(/\/node$/, ""), { lazy: true });
  assert.equal(world.call("STATUS", undefined, { config }).out.code, 50);
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
  assert.equal(endpoint(world, addressOf(pod)), undefined);
});
