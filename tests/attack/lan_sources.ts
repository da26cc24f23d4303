/** What a machine on the nodes' network sends without a tunnel, with addresses that only pods, nodes and Services have. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { NODE_FLAG } from "../../src/bpf/layout.ts";
import { reasonIndex } from "../../src/bpf/reasons.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import {
  be,
  type Bytes,
  concat,
  ICMP,
  icmp,
  ipv4,
  PROTO,
  tcp,
  udp,
} from "../bpf/support/packet.ts";
import { until } from "../cluster/support/poll.ts";
import { linesOf } from "../support/lines.ts";
import { FRAMES } from "./frames.ts";

const PYTHON = "/usr/bin/python3";
const MARK = "70636e6b2d6c616e";
const LAST = 0xffff;

const forge = fileURLToPath(new URL("forge.py", import.meta.url));

/** Frames of a machine on the nodes' network. */
async function sendOnFabric(lab: LabHandle, frames: Bytes[]): Promise<void> {
  const { netns, bridge } = lab.store.plan.fabric;
  const args = ["netns", "exec", netns, PYTHON, FRAMES, "send", bridge];
  const io = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const sender = new Deno.Command("ip", { args, ...io }).spawn();
  const writer = sender.stdin.getWriter();
  await writer.write(new TextEncoder().encode(frames.map((one) => one.toHex()).join("\n")));
  await writer.close();
  const { stdout } = await sender.output();
  assert.equal(new TextDecoder().decode(stdout).trim(), `sent ${frames.length}`);
}

/** Addresses of a frame to node1. */
async function toNode(lab: LabHandle) {
  const { stdout } = await lab.output("node1", ["ip", "-json", "link", "show", "eth0"]);
  return { ethSrc: "02:aa:aa:aa:aa:01", ethDst: JSON.parse(stdout)[0].address as string };
}

/** Forges a server's packets to each port that a pod's own flows to it will have: these leave masqueraded, and are answered. */
export async function forgeFlows(lab: LabHandle): Promise<void> {
  const { outside } = lab.store.plan;
  const [port, first, count] = [5353, 45000, 40];
  const io = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  const server = lab.command(outside.name, [PYTHON, forge, "serve", `${port}`], io).spawn();
  try {
    const lines = linesOf(server.stdout);
    assert.equal((await lines.next()).value, "ready");
    const frame = await toNode(lab), src = `${outside.address}:${port}`;
    const packets = Array.from({ length: count }, (_, i) => {
      const dst = `${lab.pod("pod1-1").address}:${first + i}`;
      const segments = ["S", "A"].map((flags) =>
        tcp({ src, dst, flags, seq: 7, ack: 9, ...frame })
      );
      // With a wrong checksum the pod refuses no SYN.
      for (const segment of segments) segment[50]! ^= 0x55;
      return [udp({ src, dst, ...frame }), ...segments];
    });
    await sendOnFabric(lab, packets.flat());
    const argv = [PYTHON, forge, "open", outside.address, port, first, count].map(String);
    const { stdout } = await lab.output("pod1-1", argv);
    assert.deepEqual(JSON.parse(stdout), { udp: count, tcp: count });
  } finally {
    await server.stdin.close();
    await server.status;
  }
}

/** Sends each forged packet to node1, and the twins of a client and of another node, which must arrive. */
export async function forgeSources(lab: LabHandle): Promise<void> {
  const node = lab.node("node1"), other = lab.node("node2");
  const { outside, fabric } = lab.store.plan;
  const [pod, neighbour, far] = ["pod1-1", "pod1-2", "pod2-1"].map((name) => lab.pod(name).address);
  using plane = openDataPlane(node.bpffs);
  const { UPLINK_CHECK, TUNNELLED, PODS_HIDDEN } = NODE_FLAG;
  const strict = UPLINK_CHECK | TUNNELLED | PODS_HIDDEN;
  // deno-lint-ignore require-await
  await until("the agent has set the check", 10_000, async () => {
    return ((plane.maps.config.get(0)?.flags ?? 0) & strict) === strict;
  });
  const frame = await toNode(lab);
  const payload = (number: number): Bytes =>
    Uint8Array.fromHex(MARK + number.toString(16).padStart(4, "0"));

  const forged = [pod, neighbour, far, node.gateway, other.gateway, "127.0.0.1", "224.0.0.1"]
    .concat("255.255.255.255", "240.0.0.1", "10.96.0.10");
  const flows = forged.flatMap((src) => [pod, neighbour, node.gateway].map((dst) => [src, dst]));
  flows.push([node.address, pod], [node.address, neighbour]);
  for (const src of [pod, neighbour, far, "127.0.0.1"]) flows.push([src, node.address]);
  for (const src of [pod, neighbour, "127.0.0.1"]) flows.push([src, outside.address]);
  const makers = [
    (src: string, dst: string, data: Bytes) =>
      udp({ src: `${src}:53`, dst: `${dst}:7000`, payload: data, ...frame }),
    (src: string, dst: string, data: Bytes) =>
      tcp({ src: `${src}:53`, dst: `${dst}:7000`, flags: "S", payload: data, ...frame }),
    (src: string, dst: string, data: Bytes) =>
      icmp({ src, dst, type: ICMP.ECHO, rest: 7 << 16, payload: data, ...frame }),
    (src: string, dst: string, data: Bytes) => ipv4({ src, dst }, 47, data, frame),
    (src: string, dst: string, data: Bytes) =>
      ipv4({ src, dst }, PROTO.UDP, data, frame, { offset: 800, more: false }),
  ];
  // The stack takes a tag of VLAN 0 for none, and as many as there are.
  for (const types of [[0x8100], [0x88a8], [0x8100, 0x8100], [0x88a8, 0x8100]]) {
    const tags = concat(...types.map((type) => be([2, type], [2, 0xe000])));
    makers.push((src, dst, data) => {
      const packet = makers[0]!(src, dst, data);
      return concat(packet.slice(0, 12), tags, packet.slice(12));
    });
  }
  const bad = flows.flatMap(([src, dst]) =>
    makers.map((make, i) => ({
      what: `${i} ${src} > ${dst}`,
      make: (n: number) => make(src!, dst!, payload(n)),
    }))
  );
  const good = [outside.address, other.address, fabric.gateway].flatMap((src) =>
    makers.filter((_, i) => i === 0 || i > 4).map((make, i) => ({
      what: `UDP ${src} > ${pod}, ${i}`,
      make: (n: number) => make(src, pod!, payload(n)),
    }))
  );
  const last = [pod, neighbour].map((dst) => makers[0]!(fabric.gateway, dst!, payload(LAST)));

  const ears = ["pod1-1", "pod1-2"].map((name) => {
    const io = { stdin: "null", stdout: "piped", stderr: "inherit" } as const;
    const child = lab.command(name, [PYTHON, FRAMES, "hear", "eth0", MARK], io).spawn();
    return { child, lines: linesOf(child.stdout) };
  });
  try {
    for (const { lines } of ears) assert.equal((await lines.next()).value, "listening");
    const dropped = () =>
      plane.maps.counters.get(reasonIndex("drop_uplink_source"))!
        .reduce((sum, { packets }) => sum + Number(packets), 0);
    const before = dropped();
    await sendOnFabric(lab, [...[...bad, ...good].map(({ make }, i) => make(i)), ...last]);
    const heard = new Set<number>();
    for (const { lines } of ears) {
      for (let number = 0; number !== LAST;) {
        const { value = "", done } = await lines.next();
        if (done) throw new Error("an ear ended early");
        number = parseInt(value.slice(value.indexOf(MARK) + MARK.length).slice(0, 4), 16);
        heard.add(number);
      }
    }
    assert.deepEqual(bad.filter((_, i) => heard.has(i)).map(({ what }) => what), []);
    assert.deepEqual(
      good.filter((_, i) => !heard.has(bad.length + i)).map(({ what }) => what),
      [],
    );
    assert.equal(dropped() - before, bad.length);
  } finally {
    for (const { child } of ears) {
      child.kill("SIGKILL");
      await child.status;
    }
  }
}
