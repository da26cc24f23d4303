/**
 * Root in a pod against its neighbours, its node, the overlay and the world: raw frames in many forms, and of each form the
 * right twin, which must arrive. What a pod may send is in bpf/lib/source_check.h and docs/security.md.
 */
import { csumTold } from "../../src/bpf/csum_told.ts";
import assert from "node:assert/strict";
import { type Reason, reasonIndex, reasons } from "../../src/bpf/reasons.ts";
import {
  be,
  type Bytes,
  concat,
  ethernet,
  ICMP,
  icmp,
  ipv4,
  patch,
  pattern,
  PROTO,
  tcp,
  udp,
} from "../bpf/support/packet.ts";
import { Cluster } from "../netns/services/cluster.ts";
import { serviceObject, sliceObject } from "../netns/services/objects.ts";
import { LAB_TEST, withLab } from "../netns/support/lab.ts";
import { linesOf } from "../support/lines.ts";
import * as needs from "../support/needs.ts";
import { arp, BROADCAST, FRAMES, ipv6, type Make, type Scene } from "./frames.ts";
import { type Csum, csumAttacks, csumTwins } from "./partial.ts";
import { segmentAttacks, segmentTwins, TO_WORLD } from "./segment.ts";

const PYTHON = "/usr/bin/python3";

/** In every frame, before its number. */
const MARK = Uint8Array.fromHex("70636e6b2d617474");
/** Number of the frames that are sent last, one to each who hears. */
const LAST = 0xffff;
const TUNNEL = 4789;
/** ClusterIP of a Service whose endpoint is the other node's tunnel. */
const TUNNEL_VIP = "10.96.77.1";

/** Who hears: the neighbour, the node's own end of the bridge, the other node's pod, the world. */
const EARS = ["pod1-2", "node1", "pod2-1", "outside"] as const;
type Ear = typeof EARS[number];

interface Attack {
  what: string;
  make: Make;
  csum?: Csum;
  /** Left out: it ends in the bridge, or at the node. */
  reason?: Reason;
}

/** A frame that must arrive there. */
interface Twin {
  what: string;
  make: Make;
  csum?: Csum;
  at: Ear;
}

function attacks(scene: Scene): Attack[] {
  const { own, mac, neighbour, neighbourMac, far, gateway, gatewayMac, node, otherNode, outside } =
    scene;
  const list: Attack[] = [];
  const add = (what: string, reason: Reason, make: Make) => list.push({ what, reason, make });
  const frame = { ethSrc: mac, ethDst: gatewayMac };
  const forged = [neighbour, far, gateway, node, otherNode, scene.otherGateway, outside, TUNNEL_VIP]
    .concat("127.0.0.1", "0.0.0.0", "224.0.0.5", "255.255.255.255", "169.254.9.9", "10.244.1.200");
  for (const src of forged) {
    for (const dst of [neighbour, far, outside, node]) {
      const flow = { src: `${src}:4000`, dst: `${dst}:8080`, ...frame };
      add(
        `UDP from ${src} to ${dst}`,
        "drop_source_address",
        (payload) => udp({ ...flow, payload }),
      );
      add(
        `SYN from ${src} to ${dst}`,
        "drop_source_address",
        (payload) => tcp({ ...flow, flags: "S", payload }),
      );
      add(
        `ping from ${src} to ${dst}`,
        "drop_source_address",
        (payload) => icmp({ ...flow, type: ICMP.ECHO, payload }),
      );
    }
  }
  // Straight to the neighbour's MAC address, past the lookup of its IP address.
  const straight = { ethSrc: mac, ethDst: neighbourMac };
  add(
    "a frame to the neighbour from the gateway",
    "drop_source_address",
    (payload) => udp({ src: `${gateway}:1`, dst: `${neighbour}:2`, payload, ...straight }),
  );
  add(
    "another protocol from the neighbour",
    "drop_source_address",
    (payload) => ipv4({ src: neighbour, dst: far }, 47, payload, frame),
  );
  add(
    "a forged reset",
    "drop_source_address",
    (payload) =>
      tcp({ src: `${far}:8080`, dst: `${neighbour}:40000`, flags: "R", payload, ...frame }),
  );
  add(
    "the neighbour's MAC address",
    "drop_source_mac",
    (payload) => udp({ src: `${own}:1`, dst: `${far}:2`, payload, ...frame, ethSrc: neighbourMac }),
  );
  add(
    "the gateway's MAC address",
    "drop_source_mac",
    (payload) =>
      udp({ src: `${own}:1`, dst: `${neighbour}:2`, payload, ...straight, ethSrc: gatewayMac }),
  );
  for (const sender of [gateway, neighbour, far]) {
    add(
      `ARP: ${sender} is at this pod`,
      "drop_arp_sender",
      (payload) => arp(scene, payload, { sender, target: neighbour }),
    );
    add(
      `ARP to the neighbour: ${sender} is at this pod`,
      "drop_arp_sender",
      (payload) => arp(scene, payload, { sender, target: neighbour, ethDst: neighbourMac }),
    );
  }
  add(
    "ARP: this pod is at its neighbour",
    "drop_arp_sender",
    (payload) => arp(scene, payload, { senderMac: neighbourMac }),
  );
  add(
    "ARP with the neighbour's MAC address outside",
    "drop_arp_sender",
    (payload) => arp(scene, payload, { ethSrc: neighbourMac }),
  );
  add(
    "a probe for the neighbour's address",
    "drop_arp_sender",
    (payload) => arp(scene, payload, { operation: 1, sender: "0.0.0.0", target: neighbour }),
  );
  for (const type of [134, 137]) {
    const message = (payload: Bytes) => concat(be([1, type], [1, 0], [2, 0], [4, 0]), payload);
    add(
      `ICMPv6 ${type}`,
      "drop_router_message",
      (payload) => ipv6(58, message(payload), { ethSrc: mac }),
    );
    for (const next of [0, 43, 60]) {
      add(
        `ICMPv6 ${type} behind header ${next}`,
        "drop_router_message",
        (payload) =>
          ipv6(next, concat(be([1, 58], [1, 0]), new Uint8Array(6), message(payload)), {
            ethSrc: mac,
          }),
      );
    }
  }
  add(
    "an IPv6 frame with the neighbour's MAC address",
    "drop_source_mac",
    (payload) =>
      ipv6(58, concat(be([1, 136], [1, 0], [2, 0], [4, 0]), payload), { ethSrc: neighbourMac }),
  );
  add(
    "a DHCP server's reply",
    "drop_router_message",
    (payload) =>
      udp({ src: `${own}:67`, dst: "255.255.255.255:68", payload, ethSrc: mac, ethDst: BROADCAST }),
  );
  add(
    "a DHCPv6 server's reply",
    "drop_router_message",
    (payload) =>
      ipv6(PROTO.UDP, concat(be([2, 547], [2, 546], [2, 8 + payload.length], [2, 0]), payload), {
        ethSrc: mac,
      }),
  );
  for (const dst of [neighbour, far, node, gateway]) {
    add(`an ICMP error to ${dst} about another's packet`, "drop_router_message", (payload) => {
      const about = udp({ src: `${dst}:1`, dst: `${far}:2` }).slice(14);
      const error = { type: ICMP.UNREACHABLE, code: 4, rest: 68, payload: concat(about, payload) };
      return icmp({ src: own, dst, ...error, ...frame });
    });
  }
  for (const type of [0x8100, 0x88a8]) {
    add(`a VLAN tag ${type.toString(16)}`, "drop_ethertype", (payload) => {
      const inner = udp({ src: `${neighbour}:1`, dst: `${far}:2`, payload, ...frame });
      return ethernet(type, concat(be([2, 0], [2, 0x0800]), inner.slice(14)), frame);
    });
    for (const inner of [0x0806, 0x86dd]) {
      add(
        `ethertype ${inner.toString(16)} with a VLAN tag ${type.toString(16)}`,
        "drop_ethertype",
        (payload) => ethernet(type, concat(be([2, 0], [2, inner]), pattern(60), payload), frame),
      );
    }
  }
  add(
    "a spanning tree's frame",
    "drop_ethertype",
    (payload) =>
      ethernet(0x26, concat(Uint8Array.fromHex("424203000000"), payload), {
        ethSrc: mac,
        ethDst: "01:80:c2:00:00:00",
      }),
  );
  add(
    "an IP length beyond the frame",
    "drop_malformed",
    (payload) =>
      patch(udp({ src: `${neighbour}:1`, dst: `${far}:2`, payload, ...frame }), 16, be([2, 9000])),
  );
  for (const dst of ["127.0.0.1", "127.0.0.53", "127.255.255.254"]) {
    add(
      `to ${dst}`,
      "drop_loopback",
      (payload) => udp({ src: `${own}:1`, dst: `${dst}:10248`, payload, ...frame }),
    );
  }
  const inner = (payload: Bytes) =>
    concat(
      Uint8Array.fromHex("0800000000002a00"),
      udp({ src: `${neighbour}:1`, dst: `${far}:2`, payload }),
    );
  for (const dst of [node, otherNode, gateway]) {
    add(
      `a tunnel packet to ${dst}`,
      "drop_tunnel",
      (payload) =>
        udp({ src: `${own}:4000`, dst: `${dst}:${TUNNEL}`, payload: inner(payload), ...frame }),
    );
    add(
      `a forged tunnel packet to ${dst}`,
      "drop_source_address",
      (payload) =>
        udp({
          src: `${otherNode}:4000`,
          dst: `${dst}:${TUNNEL}`,
          payload: inner(payload),
          ...frame,
        }),
    );
  }
  add(
    "a tunnel packet to an address in the world",
    "drop_tunnel",
    (payload) =>
      udp({ src: `${own}:4000`, dst: `${outside}:${TUNNEL}`, payload: inner(payload), ...frame }),
  );
  add(
    "a tunnel packet by a Service",
    "drop_tunnel",
    (payload) =>
      udp({ src: `${own}:4000`, dst: `${TUNNEL_VIP}:80`, payload: inner(payload), ...frame }),
  );
  if (csumTold()) {
    list.push(...csumAttacks(scene).map((one): Attack => ({ ...one, reason: "drop_checksum" })));
  }
  list.push(...segmentAttacks(scene).map(([what, make]) => ({ what, make })));
  return list;
}

function twins(scene: Scene): Twin[] {
  const { own, mac, neighbour, far, gateway, gatewayMac, outside } = scene;
  const frame = { ethSrc: mac, ethDst: gatewayMac };
  const to = (at: Ear, dst: string): Twin[] => [
    {
      what: `UDP to ${at}`,
      at,
      make: (payload) => udp({ src: `${own}:4001`, dst: `${dst}:9`, payload, ...frame }),
    },
    {
      what: `SYN to ${at}`,
      at,
      make: (payload) =>
        tcp({ src: `${own}:4001`, dst: `${dst}:9`, flags: "S", payload, ...frame }),
    },
    {
      what: `ping to ${at}`,
      at,
      make: (payload) => icmp({ src: own, dst, type: ICMP.ECHO, rest: 0x50001, payload, ...frame }),
    },
  ];
  return [
    ...to("pod1-2", neighbour),
    ...to("node1", gateway),
    ...to("pod2-1", far),
    ...to("outside", outside),
    ...csumTwins(scene),
    ...segmentTwins(scene).map(([what, make]): Twin => ({ what, at: "pod1-2", make })),
    {
      what: "ARP to the node",
      at: "node1",
      make: (payload) => arp(scene, payload, { operation: 1 }),
    },
    {
      what: "gratuitous ARP",
      at: "node1",
      make: (payload) => arp(scene, payload, { target: own }),
    },
    {
      what: "a DHCP request",
      at: "node1",
      make: (payload) =>
        udp({
          src: "0.0.0.0:68",
          dst: "255.255.255.255:67",
          payload,
          df: false,
          ethSrc: mac,
          ethDst: BROADCAST,
        }),
    },
    {
      what: "a probe for its own address",
      at: "node1",
      make: (payload) => arp(scene, payload, { operation: 1, sender: "0.0.0.0", target: own }),
    },
    {
      what: "a neighbour solicitation",
      at: "node1",
      make: (payload) =>
        ipv6(58, concat(be([1, 135], [1, 0], [2, 0], [4, 0]), payload), { ethSrc: mac }),
    },
  ];
}

/** What hears frames with the mark. */
class Hearer implements Disposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#lines = linesOf(child.stdout)[Symbol.asyncIterator]();
  }

  static async start(cluster: Cluster, place: Ear, device: string): Promise<Hearer> {
    const argv = [PYTHON, FRAMES, "hear", device, MARK.toHex()];
    const child = cluster.lab.command(place, argv, { stdin: "null", stdout: "piped" }).spawn();
    const hearer = new Hearer(child);
    assert.equal((await hearer.#lines.next()).value, "listening");
    return hearer;
  }

  /** Numbers of the frames until the last one. */
  async heard(): Promise<Set<number>> {
    const numbers = new Set<number>();
    while (!numbers.has(LAST)) {
      const { value, done } = await this.#lines.next();
      assert(!done, "it ended");
      const at = value.indexOf(MARK.toHex()) + 2 * MARK.length;
      numbers.add(parseInt(value.slice(at, at + 4), 16));
    }
    return numbers;
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }
}

const numbered = (number: number) => concat(MARK, be([2, number]));

/** A line for `frames.py send`. */
const line = ({ make, csum = [] }: { make: Make; csum?: Csum | [] }, number: number) =>
  [...csum, make(numbered(number)).toHex()].join(":");

async function run(cluster: Cluster, where: string, argv: string[], input: string): Promise<void> {
  const io = { stdin: "piped", stdout: "null", stderr: "piped" } as const;
  const child = cluster.lab.command(where, argv, io).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

/** Packets for each reason on node1. */
function counters(cluster: Cluster): number[] {
  return cluster.maps("node1").counters.range(0, reasons.length).map((cpus) =>
    cpus.reduce((sum, { packets }) => sum + Number(packets), 0)
  );
}

async function macOf(cluster: Cluster, place: string, device: string): Promise<string> {
  const { stdout } = await cluster.lab.output(place, ["ip", "-json", "link", "show", device]);
  return JSON.parse(stdout)[0].address;
}

async function sceneOf(cluster: Cluster): Promise<Scene> {
  const { lab } = cluster;
  const gatewayOf = (pod: string) => lab.pod(pod).address.replace(/\d+$/, "1");
  return {
    own: lab.pod("pod1-1").address,
    mac: await macOf(cluster, "pod1-1", "eth0"),
    neighbour: lab.pod("pod1-2").address,
    neighbourMac: await macOf(cluster, "pod1-2", "eth0"),
    far: lab.pod("pod2-1").address,
    gateway: gatewayOf("pod1-1"),
    gatewayMac: await macOf(cluster, "node1", "pcnk0"),
    node: cluster.address("node1"),
    otherNode: cluster.address("node2"),
    otherGateway: gatewayOf("pod2-1"),
    outside: cluster.outside,
  };
}

/** Everything that the attacker and its neighbours may do, done. */
async function works(cluster: Cluster): Promise<void> {
  for (const from of ["pod1-1", "pod1-2", "pod2-1"]) {
    for (const to of ["pod1-2", "pod2-1"]) {
      await cluster.answered(from, cluster.lab.pod(to).address, { port: 8080 });
    }
  }
}

/** Lines of the kernel's log at level warning or worse. */
async function kernelWarnings(): Promise<string[]> {
  const args = ["--level", "emerg,alert,crit,err,warn"];
  const { stdout } = await new Deno.Command("dmesg", { args }).output();
  return new TextDecoder().decode(stdout).split("\n");
}

async function suite(
  cluster: Cluster,
  step: (name: string, fn: () => Promise<void>) => Promise<void>,
) {
  const { otherNode } = await sceneOf(cluster);
  cluster.write(
    "tunnel",
    serviceObject("tunnel", TUNNEL_VIP),
    sliceObject("tunnel", [{ address: otherNode, node: "node2" }], TUNNEL),
  );
  await cluster.until(
    "the Service of the tunnel is there",
    () => cluster.backends("node1", TUNNEL_VIP, { proto: PROTO.UDP })?.length === 1,
  );
  const scene = await sceneOf(cluster);

  await step(
    "forged frames arrive nowhere, each dropped for its reason; their twins arrive",
    async () => {
      const [bad, good] = [attacks(scene), twins(scene)];
      const devices: Record<Ear, string> = {
        "pod1-2": "eth0",
        node1: "pcnk0",
        "pod2-1": "eth0",
        outside: "",
      };
      using stack = new DisposableStack();
      const hearers = await Promise.all(EARS.map(async (ear) => {
        return stack.use(await Hearer.start(cluster, ear, devices[ear]));
      }));
      const before = counters(cluster);
      const last = twins(scene).filter(({ what }) => what.startsWith("UDP"));
      const input = [...[...bad, ...good].map(line), ...last.map((one) => line(one, LAST))]
        .join("\n");
      await run(cluster, "pod1-1", [PYTHON, FRAMES, "send", "eth0"], input);
      const heard = await Promise.all(hearers.map((hearer) => hearer.heard()));
      const after = counters(cluster);
      const arrived = EARS.flatMap((ear, i) =>
        bad.filter(({ reason, what }, number) =>
          heard[i]!.has(number) && (reason !== undefined || ear !== "node1") &&
          !(ear === "outside" && what === TO_WORLD)
        ).map(({ what }) => `${what}: at ${ear}`)
      );
      assert.deepEqual(arrived, []);
      const missing = good.filter(({ at }, i) => !heard[EARS.indexOf(at)]!.has(bad.length + i));
      assert.deepEqual(missing.map(({ what }) => what), []);
      for (const reason of new Set(bad.flatMap(({ reason = [] }) => reason))) {
        const index = reasonIndex(reason);
        const wanted = bad.filter((one) => one.reason === reason).length;
        assert.equal(after[index]! - before[index]!, wanted, reason);
      }
      await works(cluster);
    },
  );

  await step(
    "a neighbour's MAC address is known at once, and datagrams of 60 kB arrive",
    async () => {
      const { neighbour, neighbourMac } = scene;
      const pod = async (...argv: string[]) => await cluster.lab.output("pod1-1", argv);
      for (const size of ["56", "60000"]) {
        await pod("ip", "neigh", "flush", "all");
        const { stdout } = await pod(
          "ping",
          "-c",
          "3",
          "-i",
          "0.2",
          "-W",
          "2",
          "-s",
          size,
          neighbour,
        );
        assert.match(stdout, / 0% packet loss/);
        assert.match((await pod("ip", "neigh", "show", neighbour)).stdout, RegExp(neighbourMac));
      }
    },
  );

  await step("10,000 MAC addresses of a pod leave the bridge's table as it was", async () => {
    const table = async () => {
      const { stdout } = await cluster.lab.output("node1", [
        "bridge",
        "fdb",
        "show",
        "br",
        "pcnk0",
      ]);
      return stdout.trim().split("\n").sort();
    };
    const before = await table();
    const flood = Array.from({ length: 10_000 }, (_, i) => {
      const ethSrc = `02:99:00:00:${(i >> 8).toString(16).padStart(2, "0")}:${
        (i & 255).toString(16).padStart(2, "0")
      }`;
      const made = i % 2
        ? arp(scene, numbered(0), { ethSrc })
        : ipv6(59, numbered(0), { ethSrc, ethDst: scene.gatewayMac });
      return made.toHex();
    });
    flood.push(arp(scene, numbered(0), { ethSrc: scene.neighbourMac }).toHex());
    await run(cluster, "pod1-1", [PYTHON, FRAMES, "send", "eth0"], flood.join("\n"));
    assert.deepEqual(await table(), before);
    await works(cluster);
  });

  await step("ports that are not isolated let nothing past the programs either", async () => {
    const { lab } = cluster;
    const { agentConfig } = lab.node("node1");
    const text = Deno.readTextFileSync(agentConfig);
    const isolated = async (wanted: number) => {
      const count = async () =>
        (await lab.output("node1", ["bridge", "-d", "link", "show"]))
          .stdout.match(/isolated on/g)?.length ?? 0;
      await cluster.until(`${wanted} ports are isolated`, async () => await count() === wanted);
    };
    /** `all`: multicast and broadcast must arrive, too. */
    const attack = async (all: boolean) => {
      const [bad, good] = [segmentAttacks(scene), segmentTwins(scene)];
      using hearer = await Hearer.start(cluster, "pod1-2", "eth0");
      const last = twins(scene).find(({ what }) => what === "UDP to pod1-2")!;
      const frames = [
        ...[...bad, ...good].map(([, make], i) => make(numbered(i))),
        last.make(numbered(LAST)),
      ];
      const input = frames.map((frame) => frame.toHex()).join("\n");
      await run(cluster, "pod1-1", [PYTHON, FRAMES, "send", "eth0"], input);
      const heard = await hearer.heard();
      const wrong = [...bad, ...good].filter(([what], i) =>
        heard.has(i) !== (i >= bad.length || all && what.startsWith("to all: "))
      );
      assert.deepEqual(wrong.map(([what]) => what), []);
      await works(cluster);
    };
    // A filter of another program, as the plugin bandwidth has them: of who hears, and of who sends.
    for (const pod of ["pod1-2", "pod1-1"]) {
      const filter = ["dev", lab.pod(pod).veth, "ingress", "pref", "9"];
      const all = ["protocol", "all", "u32", "match", "u32", "0", "0"];
      await lab.output("node1", ["tc", "filter", "add", ...filter, ...all]);
      await isolated(1);
      await attack(false);
      await lab.output("node1", ["tc", "filter", "del", ...filter]);
      await isolated(2);
    }
    Deno.writeTextFileSync(agentConfig, `${text}\npodMulticast: on\n`);
    await isolated(0);
    await attack(true);
    Deno.writeTextFileSync(agentConfig, text);
    await isolated(2);
  });

  await step(
    "100,000 frames of noise disturb no one, and leave the kernel's log silent",
    async () => {
      const right = [...attacks(scene), ...twins(scene)].map(({ make }, i) =>
        make(numbered(i)).toHex()
      );
      const before = await kernelWarnings();
      const seed = `${Date.now() % 1e9}`;
      const noise = run(
        cluster,
        "pod1-1",
        [PYTHON, FRAMES, "noise", "eth0", "100000", seed],
        right.join("\n"),
      );
      await Promise.all([noise, works(cluster), works(cluster)]);
      const news = (await kernelWarnings()).filter((line) => !before.includes(line));
      assert.deepEqual(news, [], `seed ${seed}`);
      await works(cluster);
    },
  );
}

Deno.test({
  name: "root in a pod, against its neighbours, its node, the overlay and the world",
  ...LAB_TEST,
  ignore: LAB_TEST.ignore || !needs.file(PYTHON),
  fn: (t) =>
    withLab({ name: "tattack", nodes: 2, pods: 2, attach: "clsact" }, async (lab) => {
      using cluster = new Cluster(lab, { routing: "overlay", attach: "clsact" });
      await suite(cluster, async (name, fn) => void (await t.step(name, fn)));
    }),
});
