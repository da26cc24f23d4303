/** Paths of packets: small links, fragments, pods that are their own backends, ports that run out, nodes that come and go. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { nodeManifests } from "../../src/lab/manifests.ts";
import { readState } from "../../src/node/state_files.ts";
import { ping } from "../../src/linux/ping.ts";
import { type Cluster, onClusters } from "./services/cluster.ts";
import { serviceObject, sliceObject } from "./services/objects.ts";

const VIP = "10.96.9.1";
const NODE_PORT = 30700;
const fragmentsPy = ["python3", fileURLToPath(new URL("services/fragments.py", import.meta.url))];
/** Bytes of a line that takes many full packets, there and back. */
const MUCH = 50_000;

async function serve(cluster: Cluster, ...pods: string[]): Promise<void> {
  const service = serviceObject("path", VIP, { nodePort: NODE_PORT });
  cluster.write("path", service, sliceObject("path", pods.map((pod) => cluster.end(pod))));
  await cluster.serves(VIP, ...pods);
}

/** `ip` in a namespace of the lab. @throws AssertionError when it fails */
async function ip(netns: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await new Deno.Command("ip", { args: ["-n", netns, ...args] }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

/** The router's link to the machine outside takes 1300 bytes, and no MSS says so. */
async function withSmallLink(cluster: Cluster, fn: () => Promise<void>): Promise<void> {
  const { fabric, outside } = cluster.lab.store.plan;
  const back = (...options: string[]) =>
    ip(outside.netns, "route", "replace", "default", "via", outside.gateway, ...options);
  await ip(fabric.netns, "link", "set", outside.port, "mtu", "1300");
  try {
    // What the machine outside sends must fit as well, but it announces a segment size that does not.
    await back("mtu", "lock", "1300", "advmss", "1460");
    await fn();
  } finally {
    await ip(fabric.netns, "link", "set", outside.port, "mtu", "1500");
    await back();
  }
}

/** Runs fragments.py; its last line. */
async function fragments(cluster: Cluster, where: string, ...args: string[]): Promise<string> {
  const io = { stdin: "null", stdout: "piped", stderr: "inherit" } as const;
  const { stdout } = await cluster.lab.command(where, [...fragmentsPy, ...args], io).output();
  return new TextDecoder().decode(stdout).trim().split("\n").at(-1)!;
}

/** The backend answers a client in fragments of every order; how many of them arrive. */
async function answerFragments(cluster: Cluster, backend: string, where: string, ...to: string[]) {
  const io = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const client = cluster.lab.command(where, [...fragmentsPy, "await", ...to], io).spawn();
  const lines = client.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  const seenAs = (await lines.next()).value!.trim().split(" ");
  const writer = client.stdin.getWriter();
  await writer.write(new TextEncoder().encode("\n"));
  await fragments(cluster, backend, "answer", "8080", ...seenAs);
  await writer.close();
  let last = "";
  for await (const text of lines) last += text;
  await client.status;
  return last.trim();
}

type TunEnd = [netnsPath: string, address: string];

/** TUN devices `tun7` in two namespaces, connected. */
async function withTun(near: TunEnd, far: TunEnd, fn: () => Promise<void>): Promise<void> {
  const script = fileURLToPath(new URL("services/tun_link.py", import.meta.url));
  const io = { stdin: "piped", stdout: "piped" } as const;
  const args = [script, "tun7", ...near, ...far];
  const child = new Deno.Command("python3", { args, ...io }).spawn();
  const reader = child.stdout.getReader();
  try {
    assert.match(new TextDecoder().decode((await reader.read()).value), /^ready/);
    await fn();
  } finally {
    await reader.cancel();
    await child.stdin.close();
    await child.status;
  }
}

onClusters("path", async (cluster, test) => {
  const { lab } = cluster;

  await test("much data gets through a Service to another node and back, and from a node's own process", async () => {
    await serve(cluster, "pod2-1");
    for (const where of ["pod1-1", "node1", "pod2-2"]) {
      await cluster.answered(where, VIP, { count: 2, size: MUCH });
    }
  });

  await test("a smaller link on the way: masqueraded flows and those of NodePorts find their path MTU", async () => {
    await serve(cluster, "pod2-1");
    await withSmallLink(cluster, async () => {
      // The pod's big packets meet the small link: the router's ICMP error must find the pod.
      await cluster.answered("pod1-1", cluster.outside, { port: 8080, size: MUCH });
      // So must the one about a backend's answer, on the same node and on another.
      for (const node of ["node2", "node1"]) {
        const address = cluster.address(node);
        await cluster.answered("outside", address, { port: NODE_PORT, size: MUCH });
      }
    });
  });

  await test("an uplink without Ethernet header, found by a default route of another table, serves both ways", async () => {
    const { outside, nodes: [first] } = lab.store.plan;
    const [near, far] = ["198.51.100.33", "198.51.100.34"];
    await withTun([first!.netnsPath, `${near}/30`], [outside.netnsPath, `${far}/30`], async () => {
      await ip(first!.netns, "route", "add", "default", "dev", "tun7", "table", "77");
      await ip(first!.netns, "rule", "add", "from", near, "table", "77");
      await cluster.until("tun7 is an uplink", () => {
        const state = readState(first!.dir, "uplinks");
        return state?.devices.some(({ name, uplink }) => name === "tun7" && uplink) ?? false;
      });
      for (const pods of [["pod1-1"], ["pod2-1"]]) {
        await serve(cluster, ...pods);
        for (const kind of ["tcp", "udp"]) {
          const how = { kind, port: NODE_PORT, size: 3000 };
          const { backends, seenAs } = await cluster.answered("outside", near, how);
          assert.deepEqual(backends, pods);
          if (pods[0] === "pod1-1") assert.deepEqual(seenAs, [far]);
          const back = await cluster.answered("pod1-1", far, { kind, port: 8080, size: 3000 });
          assert.deepEqual(back.seenAs, [near], "masqueraded");
        }
      }
      await cluster.answered("outside", near, { port: NODE_PORT, size: MUCH });
      // Smaller than the MTU of the pods, which are older: one of another node, which has met no small link yet, must hear of it
      // by its first reply in fragments.
      await serve(cluster, "pod2-2");
      await ip(first!.netns, "link", "set", "tun7", "mtu", "1400");
      await ip(outside.netns, "link", "set", "tun7", "mtu", "1400");
      await cluster.until(
        "tun7's new MTU is in the map",
        () => cluster.maps("node1").uplinks.entries().some(([, { mtu }]) => mtu === 1400),
      );
      const large = { kind: "udp", port: NODE_PORT, size: 3000 };
      await cluster.ask("outside", near, large);
      await cluster.answered("outside", near, large);
      await ip(first!.netns, "link", "set", "tun7", "mtu", "1500");
      await ip(outside.netns, "link", "set", "tun7", "mtu", "1500");
      await serve(cluster);
      const refused = await cluster.ask("outside", near, { port: NODE_PORT });
      assert.match(refused.error ?? "", /refused/);
      await ip(first!.netns, "rule", "del", "from", near, "table", "77");
    });
  });

  await test("a second NIC without default route serves NodePorts, to clients of its network and beyond", async () => {
    const { outside, nodes: [first] } = lab.store.plan;
    const [near, far] = ["203.0.113.33", "203.0.113.34"];
    const peer = ["peer", "name", "nic2", "netns", outside.netns];
    await ip(first!.netns, "link", "add", "eth1", "type", "veth", ...peer);
    try {
      for (
        const [ns, nic, address] of [[first!.netns, "eth1", near], [outside.netns, "nic2", far]]
      ) {
        await ip(ns!, "address", "add", `${address}/24`, "dev", nic!);
        await ip(ns!, "link", "set", nic!, "up");
      }
      await cluster.until("eth1 is an uplink", () => {
        const state = readState(first!.dir, "uplinks");
        return state?.devices.some(({ name, uplink }) => name === "eth1" && uplink) ?? false;
      });
      for (const source of [far, cluster.outside]) {
        // The node's routes lead back to the second address by eth0.
        await ip(outside.netns, "route", "replace", near, "dev", "nic2", "src", source);
        for (const pod of ["pod1-1", "pod2-1"]) {
          await serve(cluster, pod);
          const { seenAs } = await cluster.answered("outside", near, { port: NODE_PORT });
          if (pod === "pod1-1") assert.deepEqual(seenAs, [source]);
        }
      }
      const { seenAs } = await cluster.answered("pod1-1", far, { port: 8080 });
      assert.deepEqual(seenAs, [near], "masqueraded");
    } finally {
      await ip(first!.netns, "link", "del", "eth1");
    }
  });

  await test("datagrams in fragments go through Services: pod to pod, and from outside", async () => {
    await serve(cluster, "pod2-1");
    const big = { kind: "udp", size: 8000 };
    assert.deepEqual((await cluster.answered("pod2-2", VIP, big)).backends, ["pod2-1"]);
    assert.deepEqual((await cluster.answered("pod1-1", VIP, big)).backends, ["pod2-1"]);
    for (const node of ["node2", "node1"]) {
      await cluster.answered("outside", cluster.address(node), { ...big, port: NODE_PORT });
    }
    await cluster.answered("pod1-1", cluster.outside, { ...big, port: 8080 });
  });

  await test("fragments in every order go through Services and to the world, there and back", async () => {
    const all = "32 of 32";
    for (const pod of ["pod1-1", "pod2-1"]) {
      await serve(cluster, pod);
      const ways = [["pod1-2", VIP, "80"], ["outside", cluster.address("node1"), `${NODE_PORT}`]];
      for (const [where = "", ...to] of ways) {
        const said = [where, pod, ...to].join(" ");
        assert.equal(await fragments(cluster, where, "ask", ...to), all, said);
        assert.equal(await answerFragments(cluster, pod, where, ...to), all, `answers: ${said}`);
      }
    }
    await serve(cluster, "pod1-1");
    assert.equal(await fragments(cluster, "pod1-1", "ask", VIP, "80"), all, "to itself");
    // While another pod sends what is held: each has a share of its own.
    const flood = fragments(cluster, "pod1-2", "flood", VIP, "100000");
    assert.equal(await fragments(cluster, "pod1-1", "ask", cluster.outside, "8080"), all, "world");
    await flood;
  });

  await test("a pod reaches itself through its own Service: by ClusterIP, and by NodePort at any node", async () => {
    await serve(cluster, "pod1-1");
    for (const kind of ["tcp", "udp"]) {
      assert.deepEqual((await cluster.answered("pod1-1", VIP, { kind })).backends, ["pod1-1"]);
      for (const node of cluster.nodes()) {
        const address = cluster.address(node);
        await cluster.answered("pod1-1", address, { kind, port: NODE_PORT });
      }
    }
  });

  await test("a node leaves, joins, and changes its podCIDR: followed within a second", async () => {
    const { plan } = lab.store;
    const [one, two, three] = nodeManifests(plan);
    const there = (node: string, addr: string) =>
      cluster.maps(node).remotes.get({ prefixlen: 32, addr }) !== undefined;
    const third = plan.nodes[2]!;
    const pod = lab.pod("pod3-1").address;
    const answers = async () => {
      const netnsPath = plan.nodes[0]!.netnsPath;
      return (await ping({ address: pod, netnsPath, timeoutMs: 100 })).ok;
    };
    assert.ok(await answers());
    cluster.write("nodes", one!, two!);
    await cluster.until(
      "node3 is gone",
      () => !there("node1", pod) && !there("node2", pod),
      1000,
    );
    await cluster.until("its pods are out of reach", async () => !await answers(), 1000);
    cluster.write("nodes", one!, two!, three!);
    await cluster.until(
      "node3 is back",
      async () => there("node2", pod) && await answers(),
      1000,
    );
    const moved = structuredClone(three!) as unknown as {
      spec: { podCIDR: string; podCIDRs: string[] };
    };
    moved.spec = { podCIDR: "10.244.33.0/24", podCIDRs: ["10.244.33.0/24"] };
    cluster.write("nodes", one!, two!, moved as unknown as typeof one & object);
    await cluster.until(
      "node3 has other pods",
      () => there("node1", "10.244.33.7") && !there("node1", pod),
      1000,
    );
    cluster.write("nodes", one!, two!, three!);
    await cluster.until(`node3 has ${third.podCIDR} again`, answers, 1000);
  });

  await test("source ports run out: a counter tells, flows that live go on, and there is room again", async () => {
    const node = lab.node("node1");
    const config = Deno.readTextFileSync(node.agentConfig);
    const restart = async (text: string) => {
      Deno.writeTextFileSync(node.agentConfig, text);
      await lab.stopAgent("node1");
      await lab.startAgent("node1");
    };
    await restart(`${config}\nsnatPorts: 20000-20003\n`);
    try {
      const before = cluster.counted("node1", "drop_ports_exhausted");
      const held = [];
      for (let i = 0; i < 4; i++) held.push(await cluster.hold("pod1-1", cluster.outside, 8080));
      const fifth = await cluster.ask("pod1-2", cluster.outside, { port: 8080 });
      assert.deepEqual(fifth.answers, []);
      assert.ok(cluster.counted("node1", "drop_ports_exhausted") > before, "not counted");
      for (const one of held) assert.match(await one.ask("still"), / still$/);
      // Another protocol, another destination: the ports are free there.
      await cluster.answered("pod1-2", cluster.outside, { kind: "udp", port: 8080 });
      await Promise.all(held.map((one) => one.end()));
      await cluster.until(
        "there is room again",
        async () =>
          (await cluster.ask("pod1-2", cluster.outside, { port: 8080 })).error === undefined,
        130_000,
      );
    } finally {
      await restart(config);
    }
  });
});
