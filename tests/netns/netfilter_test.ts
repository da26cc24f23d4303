/**
 * Pods beside other programs' netfilter rules, and the node's own connections beside Services: one lab, many rule sets. All
 * connections of a pod are asked for at once, under each.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { NODE_FLAG } from "../../src/bpf/layout.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { writeSysctl } from "../../src/linux/sysctl.ts";
import * as needs from "../support/needs.ts";
import { Listener } from "../support/pcnk.ts";
import { Cluster } from "./services/cluster.ts";
import { serviceObject, sliceObject } from "./services/objects.ts";
import { LAB_TEST, pcnkOn, withLab } from "./support/lab.ts";

const PYTHON = "/usr/bin/python3";
const script = fileURLToPath(new URL("netfilter/probe.py", import.meta.url));

interface Probe {
  name: string;
  kind: "tcp" | "udp" | "ping";
  to: [address: string, port: number];
  /** Source port. */
  from?: number;
  /** The address of the socket. */
  at?: string;
  /** Bytes of payload. */
  size?: number;
  /** The answer is then the router that says that it expired. */
  ttl?: number;
  /** Of a UDP socket. Default true. */
  connected?: boolean;
}

/** Addresses of Services: endpoints on the other node, on this one, in a pod, outside. */
const VIP = { other: "10.96.9.1", own: "10.96.9.2", pod: "10.96.9.3", world: "10.96.9.4" };
/** The port of the probes' servers in the nodes' own network: that of the lab's, which are in pods. */
const PORT = 8080;
const NODE_PORT = 30080;

class Bench {
  readonly #servers: Deno.ChildProcess[] = [];

  constructor(readonly lab: LabHandle, readonly cluster: Cluster) {}

  async serve(where: string, address: string, port: number, within: string[] = []): Promise<void> {
    const argv = [...within, PYTHON, script, "serve", address, `${port}`];
    const child = this.lab.command(where, argv, { stdout: "piped" }).spawn();
    this.#servers.push(child);
    await new Listener(child.stdout).line(/^listening$/);
  }

  /** What each probe got. */
  async ask(where: string, probes: Probe[]): Promise<Record<string, string>> {
    const argv = [PYTHON, script, "ask", JSON.stringify(probes)];
    const { stdout, stderr } = await this.lab.output(where, argv);
    assert.equal(stderr, "");
    return JSON.parse(stdout);
  }

  /** All of them are answered. */
  async answered(where: string, probes: Probe[]): Promise<Record<string, string>> {
    const answers = await this.ask(where, probes);
    const failed = Object.entries(answers).filter(([, answer]) => answer.startsWith("error"));
    assert.deepEqual(failed, [], `from ${where}`);
    return answers;
  }

  async run(where: string, ...argv: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.lab.output(where, argv);
    assert.equal(code, 0, `${argv.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** Loads nftables rules on a node. */
  nft = (where: string, rules: string) => this.run(where, "nft", rules.replaceAll("}", "\n}\n"));

  hold(where: string, args: string[], within: string[] = []): Held {
    const argv = [...within, PYTHON, script, ...args];
    const child = this.lab.command(where, argv, { stdin: "piped", stdout: "piped" }).spawn();
    this.#servers.push(child);
    return new Held(child);
  }

  async end(): Promise<void> {
    for (const child of this.#servers) {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
    }
    for (const child of this.#servers) await child.status;
  }
}

/** A probe that waits for its release. */
class Held {
  readonly lines: Listener;

  constructor(readonly child: Deno.ChildProcess) {
    this.lines = new Listener(child.stdout);
  }

  async release(): Promise<void> {
    const writer = this.child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("\n"));
    await writer.close();
  }

  /** Releases it; what it prints last. */
  async answers(): Promise<Record<string, string>> {
    await this.release();
    return JSON.parse((await this.lines.all()).trimEnd().split("\n").at(-1)!);
  }
}

/** Rule sets, as their programs write them; each is loaded on both nodes. */
const RULES: [name: string, rules: string][] = [
  ["none", ""],
  [
    "FORWARD drops by policy (Docker)",
    "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; } }",
  ],
  [
    "DOCKER-USER and Docker's isolation",
    `table ip filter {
      chain DOCKER-USER { iifname "eth0" drop; oifname "eth0" drop; }
      chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }
    }
    table ip nat { chain POSTROUTING { type nat hook postrouting priority 100; ip saddr 172.17.0.0/16 masquerade; } }`,
  ],
  [
    "INVALID is dropped everywhere (kube-proxy, firewalld)",
    `table inet strict {
      chain raw { type filter hook prerouting priority -1; ct state invalid drop; }
      chain input { type filter hook input priority 0; ct state invalid drop; }
      chain forward { type filter hook forward priority 0; ct state invalid drop; }
    }`,
  ],
  [
    "firewalld",
    `table inet firewalld {
      chain filter_FORWARD {
        type filter hook forward priority 10; policy accept;
        ct state established,related accept; ct status dnat accept; iifname "lo" accept; ct state invalid drop;
        reject with icmpx admin-prohibited;
      }
    }`,
  ],
  [
    "kube-proxy's rules of before",
    `table ip nat {
      chain KUBE-SERVICES { ip daddr 10.96.0.0/16 tcp dport 80 dnat to 203.0.113.1:9; ip daddr 10.96.0.0/16 udp dport 80 dnat to 203.0.113.1:9; }
      chain PREROUTING { type nat hook prerouting priority -100; jump KUBE-SERVICES; }
      chain OUTPUT { type nat hook output priority -100; jump KUBE-SERVICES; }
    }
    table ip filter { chain FORWARD { type filter hook forward priority 0; ct state invalid drop; } }`,
  ],
];

/** What a pod of node1 asks for. */
function podProbes({ lab, cluster }: Bench): Probe[] {
  const own = lab.node("node1").address, other = lab.node("node2").address;
  const ends: [name: string, address: string, port: number][] = [
    ["world", cluster.outside, PORT],
    ["the other node's address", other, PORT],
    ["a Service on the other node's address", VIP.other, 80],
    ["a Service on this node's address", VIP.own, 80],
    ["a Service in the world", VIP.world, 80],
    ["a Service in a pod of the other node", VIP.pod, 80],
    ["this node's address", own, PORT],
    ["a NodePort of the other node", other, NODE_PORT],
    ["a pod of the other node", lab.pod("pod2-1").address, PORT],
  ];
  const kinds = ends.flatMap(([name, address, port]) =>
    (["tcp", "udp"] as const).map((kind) =>
      ({ name: `${kind} to ${name}`, kind, to: [address, port] }) as Probe
    )
  );
  const pings = [cluster.outside, other, own].map((address) =>
    ({ name: `ping ${address}`, kind: "ping", to: [address, 0] }) as Probe
  );
  const big: Probe[] = [
    { name: "much TCP to the world", kind: "tcp", to: [cluster.outside, PORT], size: 60_000 },
    { name: "fragments to the world", kind: "udp", to: [cluster.outside, PORT], size: 4000 },
    { name: "a ping in fragments", kind: "ping", to: [cluster.outside, 0], size: 4000 },
  ];
  return [...kinds, ...pings, ...big];
}

Deno.test({
  name: "pods' traffic and the node's own, beside other programs' rules",
  ...LAB_TEST,
  ignore: LAB_TEST.ignore || !needs.file(PYTHON),
  fn: (t) =>
    withLab({ name: "tnetfilter", nodes: 2, pods: 2, attach: "clsact" }, async (lab) => {
      using cluster = new Cluster(lab, { routing: "overlay", attach: "clsact" });
      const bench = new Bench(lab, cluster);
      try {
        await suite(bench, async (name, fn) => void (await t.step(name, fn)));
      } finally {
        await bench.end();
      }
    }),
});

/** A container's flows go on that idle while a Service takes their port of the node. */
async function idleFlows(bench: Bench, within: string[], address: string): Promise<void> {
  const { lab, cluster } = bench;
  const own = lab.node("node1").address, [masqueraded, published, far] = [31080, 31081, 9100];
  const rules = ["tcp", "udp"].map((kind) =>
    `ip saddr ${address} ip daddr ${cluster.outside} ip protocol ${kind} masquerade to :${masqueraded};`
  );
  await bench.nft(
    "node1",
    `flush ruleset; table ip nat {
      chain PREROUTING { type nat hook prerouting priority -100; ip daddr ${own} tcp dport ${published} dnat to ${address}:${PORT}; }
      chain POSTROUTING { type nat hook postrouting priority 100; ${rules.join(" ")} }
    }`,
  );
  const holder = bench.hold("outside", ["hold", cluster.outside, `${far}`]);
  await holder.lines.line(/^listening$/);
  const asked = (["tcp", "udp"] as const).map((kind) => ({
    name: kind,
    kind,
    to: [cluster.outside, far],
  }));
  const inside = bench.hold("node1", ["ask", JSON.stringify(asked)], within);
  await holder.lines.line(/^held tcp$/);
  await holder.lines.line(/^held udp$/);
  const client = bench.hold("outside", [
    "ask",
    JSON.stringify([{ name: "published", kind: "tcp", to: [own, published], hold: true }]),
  ]);
  await client.lines.line(/^held published$/);
  for (const nodePort of [masqueraded, published]) {
    const name = `late-${nodePort}`;
    const end = { address: lab.pod("pod2-1").address, node: "node2" };
    cluster.write(
      name,
      serviceObject(name, `10.96.9.${nodePort - masqueraded + 5}`, { nodePort }),
      sliceObject(name, [end]),
    );
    const taken = { port: nodePort, external: true };
    await cluster.until(
      `${name} is served`,
      () => [6, 17].every((proto) => cluster.backends("node1", "0.0.0.0", { ...taken, proto })),
    );
  }
  await holder.release();
  assert.deepEqual(await inside.answers(), { tcp: own, udp: own });
  assert.deepEqual(await client.answers(), { published: cluster.outside });
}

async function suite(bench: Bench, step: (name: string, fn: () => Promise<void>) => Promise<void>) {
  const { lab, cluster } = bench;
  const [own, other] = [lab.node("node1").address, lab.node("node2").address];
  for (const node of cluster.nodes()) await bench.serve(node, cluster.address(node), PORT);
  const service = (name: keyof typeof VIP, address: string, spec = {}) =>
    cluster.write(
      name,
      serviceObject(name, VIP[name], spec),
      sliceObject(name, [{ address, node: "node2" }]),
    );
  service("other", other);
  service("own", own);
  service("world", cluster.outside);
  service("pod", lab.pod("pod2-1").address, { nodePort: NODE_PORT });
  await cluster.until(
    "the nodes serve",
    () =>
      cluster.nodes().every((node) =>
        Object.values(VIP).every((vip) => cluster.backends(node, vip)?.length === 1)
      ),
  );

  for (const [name, rules] of RULES) {
    await step(`rules: ${name}`, async () => {
      for (const node of cluster.nodes()) await bench.nft(node, `flush ruleset; ${rules}`);
      const answers = await bench.answered("pod1-1", podProbes(bench));
      assert.equal(answers["tcp to the other node's address"], own, "masqueraded");
      for (const kind of ["tcp", "udp"] as const) {
        const to = (address: string) =>
          ({ name: `${kind} ${address}`, kind, to: [address, NODE_PORT] }) as Probe;
        await bench.answered("outside", [to(own), to(other)]);
      }
    });
  }
  for (const node of cluster.nodes()) await bench.nft(node, "flush ruleset");

  await step("rp_filter strict", async () => {
    for (const node of cluster.nodes()) {
      writeSysctl("net.ipv4.conf.all.rp_filter", "1", lab.node(node).netnsPath);
    }
    await bench.answered("pod1-1", podProbes(bench));
  });

  for (const node of cluster.nodes()) {
    writeSysctl("net.ipv4.conf.all.rp_filter", "0", lab.node(node).netnsPath);
  }

  await step("the node's own connections from a NodePort", async () => {
    const from = NODE_PORT;
    const asked = [cluster.outside, lab.pod("pod1-2").address, lab.pod("pod2-2").address, other];
    for (const address of asked) {
      for (const connected of [true, false]) {
        await bench.answered("node1", [
          { name: `tcp ${address}`, kind: "tcp", to: [address, PORT], from },
          { name: `udp ${address}`, kind: "udp", to: [address, PORT], from, connected },
        ]);
      }
    }
    // By the overlay there, by the uplink back.
    const far: Probe["to"] = [lab.pod("pod2-1").address, PORT];
    for (const connected of [false, true]) {
      await bench.answered("node1", [
        { name: "udp, node's address", kind: "udp", to: far, from, at: own, connected },
      ]);
    }
    const to: Probe["to"] = [own, NODE_PORT];
    await bench.answered("outside", [
      { name: "tcp", kind: "tcp", to },
      { name: "udp", kind: "udp", to },
      { name: "the same 5-tuple, the other way", kind: "udp", to, from: 9999 },
    ]);
  });

  await step("a container behind a masquerade, as of Docker", async () => {
    const name = "pcnk-tnetfilter-docker", address = "172.17.0.2";
    const ip = (...words: string[]) => bench.run("node1", "ip", ...words);
    const link = `peer name eth0 netns ${name}`.split(" ");
    await ip("netns", "add", name);
    try {
      await ip("link", "add", "docker0", "type", "bridge"); // a veth pair's end may be an uplink
      await ip("link", "add", "vdocker", "type", "veth", ...link);
      await ip("link", "set", "vdocker", "master", "docker0", "up");
      await ip("addr", "add", "172.17.0.1/24", "dev", "docker0");
      await ip("link", "set", "docker0", "up");
      for (
        const words of [
          "addr add 172.17.0.2/24 dev eth0",
          "link set eth0 up",
          "route add default via 172.17.0.1",
        ]
      ) {
        await ip("-n", name, ...words.split(" "));
      }
      // To a NodePort: what netfilter chooses by itself may be one, too.
      const masquerade = ["tcp", "udp"].map((kind) =>
        `ip saddr 172.17.0.0/24 oifname "eth0" ip protocol ${kind} masquerade to :${NODE_PORT};`
      );
      await bench.nft(
        "node1",
        `flush ruleset;
        table ip nat { chain POSTROUTING { type nat hook postrouting priority 100; ${
          masquerade.join(" ")
        } } }
        table ip filter { chain FORWARD { type filter hook forward priority 0; ct state invalid drop; } }`,
      );
      const inside = ["ip", "netns", "exec", name, PYTHON, script];
      const probes = [cluster.outside, lab.pod("pod1-1").address].flatMap((to) =>
        (["tcp", "udp"] as const).map((kind) => ({ name: `${kind} ${to}`, kind, to: [to, PORT] }))
      );
      const answers = await bench.run("node1", ...inside, "ask", JSON.stringify(probes));
      // The lab's servers tell whom they saw: `pod1-1 172.17.0.2:40000 …`.
      const seen = Object.values(JSON.parse(answers) as Record<string, string>)
        .map((answer) => / ([\d.]+):/.exec(answer)?.[1] ?? answer);
      assert.deepEqual(seen.sort(), [address, address, own, own]);
      await bench.serve("node1", address, PORT, ["ip", "netns", "exec", name]);
      await bench.answered("pod1-1", [
        { name: "tcp", kind: "tcp", to: [address, PORT] },
        { name: "udp", kind: "udp", to: [address, PORT] },
      ]);
      await idleFlows(bench, ["ip", "netns", "exec", name], address);
      await bench.nft("node1", "flush ruleset");
    } finally {
      await ip("netns", "del", name);
    }
  });

  await step("a policy route: pods leave by another table", async () => {
    const gateway = lab.store.plan.fabric.gateway;
    await bench.run("node1", "ip", "route", "add", "unreachable", `${cluster.outside}/32`);
    await bench.run("node1", "ip", "route", "add", "default", "via", gateway, "table", "77");
    await bench.run(
      "node1",
      "ip",
      "rule",
      "add",
      "from",
      "10.244.1.0/24",
      "iif",
      "pcnk0",
      "lookup",
      "77",
    );
    await bench.nft("node1", RULES[1]![1]);
    const pod: Probe[] = [{ name: "tcp", kind: "tcp", to: [cluster.outside, PORT] }];
    await bench.answered("pod1-1", pod);
    assert.match((await bench.ask("node1", pod)).tcp!, /^error/);
    await bench.run("node1", "ip", "rule", "del", "iif", "pcnk0");
    assert.match((await bench.ask("pod1-1", pod)).tcp!, /^error/);
    await bench.run("node1", "ip", "route", "del", "unreachable", `${cluster.outside}/32`);
  });

  await step("a hostPort by netfilter answers as before", async () => {
    const pod = lab.pod("pod1-1").address;
    await bench.nft(
      "node1",
      `flush ruleset; table ip nat { chain PREROUTING { type nat hook prerouting priority -100; ip daddr ${own} tcp dport 8088 dnat to ${pod}:${PORT}; ip daddr ${own} udp dport 8088 dnat to ${pod}:${PORT}; } }`,
    );
    for (const where of ["outside", "pod2-1", "node2"]) {
      await bench.answered(where, [
        { name: "tcp", kind: "tcp", to: [own, 8088] },
        { name: "udp", kind: "udp", to: [own, 8088] },
      ]);
    }
    await bench.nft("node1", "flush ruleset");
  });

  await step("a packet that cannot leave is refused by the pod's gateway", async () => {
    await bench.nft("node1", `${RULES[1]![1]}; ${RULES[3]![1]}`);
    const far: Probe["to"] = [cluster.outside, PORT];
    const { hop } = await bench.answered("pod1-1", [{ name: "hop", kind: "udp", to: far, ttl: 1 }]);
    assert.equal(hop, "10.244.1.1");
    await bench.run("node1", "ip", "link", "set", "eth0", "mtu", "1300");
    await bench.answered("pod1-1", [
      { name: "tcp", kind: "tcp", to: far, size: 50_000 },
    ]);
    await bench.run("node1", "ip", "link", "set", "eth0", "mtu", "1500");
    await bench.nft("node1", "flush ruleset");
  });

  await step("podEgress: stack takes both directions through the stack", async () => {
    const { agentConfig } = lab.node("node1");
    const before = Deno.readTextFileSync(agentConfig);
    const set = async (text: string, flag: number) => {
      Deno.writeTextFileSync(agentConfig, text); // the setting is live
      const { config } = cluster.maps("node1");
      await cluster.until(
        "the setting holds",
        () => (config.get(0)!.flags & NODE_FLAG.EGRESS_STACK) === flag,
      );
    };
    await set(`${before}\npodEgress: stack\n`, NODE_FLAG.EGRESS_STACK);
    await bench.nft("node1", RULES[3]![1]); // INVALID is dropped
    await bench.answered("pod1-1", podProbes(bench));
    await bench.nft("node1", `flush ruleset; ${RULES[1]![1]}`);
    const pod: Probe[] = [{ name: "tcp", kind: "tcp", to: [cluster.outside, PORT] }];
    assert.match((await bench.ask("pod1-1", pod)).tcp!, /^error/, "FORWARD decides");
    await set(before, 0);
    await bench.answered("pod1-1", pod);
  });

  await step("status names the chains that traffic through the stack meets", async () => {
    const found = async () => {
      const { stdout } = await pcnkOn(lab, "status", "-o", "json", "--peers", "0");
      const { findings } = JSON.parse(stdout) as { findings: { part: string; text: string }[] };
      return findings.filter(({ part }) => part === "netfilter").map(({ text }) => text);
    };
    const [policy, ...rest] = await found();
    assert.match(policy!, /^ip filter FORWARD \(policy drop\) drops .*no uplinks/);
    assert.deepEqual(rest, []);
    await bench.nft("node1", `flush ruleset; ${RULES[4]![1]} ${RULES[5]![1]}`);
    const [rule, kubeProxy] = await found();
    assert.match(rule!, /^inet firewalld filter_FORWARD handle \d+ drops/);
    assert.match(kubeProxy!, /kube-proxy/);
    await bench.nft("node1", "flush ruleset");
  });
}
