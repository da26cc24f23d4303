/**
 * The reference plugin bandwidth before and after pcnk: ADD, CHECK and DEL, and its rates hold for what a pod sends and
 * receives, to a pod and to a Service.
 */
import assert from "node:assert/strict";
import { type Conflist, conflist, PLUGIN_FOLDERS } from "../../src/node/conflist.ts";
import { readAttachments } from "../../src/node/attachments.ts";
import { rateFaults } from "../../src/upkeep/host_ports.ts";
import { installSelf } from "../../src/lab/executable.ts";
import { isThere } from "../../src/node/files.ts";
import { type CniResult, runConflist } from "../../src/lab/runtime.ts";
import { tcxSupported } from "../../src/bpf/attach.ts";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { knownRates } from "../../src/bpf/rates.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { planPod } from "../../src/lab/plan.ts";
import type { PodState } from "../../src/lab/state.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { PROTO, RATE_FLAG, SCOPE } from "../../src/bpf/layout.ts";
import { chainFaults } from "../../src/upkeep/cni.ts";
import { type NodeState, readOnce } from "../../src/upkeep/fault.ts";
import * as needs from "../support/needs.ts";
import { pcnk } from "../support/pcnk.ts";
import type { TestNetns } from "../support/sandbox.ts";
import { runIn } from "./cni/process.ts";
import { LAB_TEST, withLab } from "./support/lab.ts";
import { CniWorld } from "./cni/world.ts";

const folder = PLUGIN_FOLDERS.find((path) => isThere(`${path}/bandwidth`));
const ignore = !(needs.root() && needs.file(`${folder ?? PLUGIN_FOLDERS[0]}/bandwidth`));

/** Bits a second; a transfer of SIZE bytes takes a second then, and milliseconds without. */
const RATE = 16_000_000;
const SIZE = 2_000_000;
const VIP = "10.96.0.10";

/** Takes SIZE bytes of each client; \`send\` sends them, and prints the seconds until all are acknowledged. */
const SERVE = `
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 81)); s.listen(); print("ready", flush=True)
while True:
    c, _ = s.accept(); n = 0
    while n < ${SIZE}: n += len(c.recv(65536)) or ${SIZE}
    c.sendall(b"k"); c.close()
`;
const SEND = `
import socket, sys, time
for i in range(100):
    try: s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60); break
    except OSError: time.sleep(0.1) # the agents are at work
t = time.monotonic()
s.sendall(b"x" * ${SIZE}); assert s.recv(1) == b"k"; print(time.monotonic() - t)
`;

/** Asks the lab's server by a datagram in fragments, which are larger than the MTU of pods behind an overlay. */
const ASK = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect((sys.argv[1], int(sys.argv[2])))
for i in range(5):
    s.send(b"x" * 3000)
    try: assert s.recv(65536).endswith(b"x" * 3000); break
    except TimeoutError: pass
else: sys.exit("no reply")
`;

type Run = (argv: string[]) => Deno.Command;

/** Of the lab: the plugin comes after pcnk where it can. */
const attach = tcxSupported() ? "tcx" : "clsact";

/** Seconds until all is acknowledged. */
async function send(from: Run, to: string, port = 81): Promise<number> {
  const { code, stdout, stderr } = await from(["python3", "-c", SEND, to, `${port}`]).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return Number(new TextDecoder().decode(stdout));
}

/** A server, until it is killed. */
async function serve(at: Run) {
  const child = at(["python3", "-c", SERVE]).spawn();
  await child.stdout.getReader().read();
  return { [Symbol.asyncDispose]: async () => (child.kill("SIGKILL"), void await child.status) };
}

const inside = (pod: TestNetns): Run => (argv) =>
  new Deno.Command("nsenter", { args: [`--net=${pod.path}`, ...argv], stdout: "piped" });

const limits = { ingressRate: RATE, ingressBurst: 800_000, egressRate: RATE, egressBurst: 800_000 };
const capabilities = { bandwidth: true };

/** The entries behind bridge's. */
const chains = {
  "before pcnk": (own: Entry) => [{ type: "bandwidth", capabilities }, own],
  "after pcnk, which declares it": (own: Entry) => [
    { ...own, capabilities },
    { type: "bandwidth", capabilities },
  ],
  "after pcnk, which does not declare it": (own: Entry) => [
    own,
    { type: "bandwidth", capabilities },
  ],
  "after pcnk with rates of its own": (own: Entry) => [own, { type: "bandwidth", ...limits }],
};
type Entry = Conflist["plugins"][number];

/** A runtime whose list has these entries behind bridge's, as the agent knows it. */
function runtime({ bpffs, stateDir, dir, node }: CniWorld, chain: (own: Entry) => Entry[]) {
  installSelf(`${dir}/bin`, pcnk);
  const base = conflist({ podCIDR: "10.1.0.0/24", bpffs, stateDir, ipamDataDir: `${dir}/ipam` });
  const [bridge, own] = base.plugins;
  const list: Conflist = { ...base, plugins: [bridge!, ...chain(own!)] };
  Deno.mkdirSync(`${dir}/net.d`);
  Deno.writeTextFileSync(`${dir}/net.d/10-own.conflist`, JSON.stringify(list));
  const objects = { cniConfDir: `${dir}/net.d` };
  const faults = chainFaults({ objects, stateDir } as NodeState);
  for (const { mend } of faults) mend?.();
  const run = (
    verb: "ADD" | "CHECK" | "DEL",
    pod: TestNetns,
    prevResult?: CniResult,
    rates: Partial<typeof limits> | null = limits,
  ) =>
    runConflist({
      verb,
      conflist: rates ? list : { ...base, plugins: [bridge!, own!] },
      pluginDirs: [`${dir}/bin`, folder!],
      containerID: pod.name,
      netns: pod.path,
      ifname: "eth0",
      prevResult,
      capabilityArgs: rates ? { bandwidth: rates } : {},
      exec: ({ path, env, stdin }) => runIn(node.path, [path], env, stdin),
    }) as Promise<CniResult>;
  return { run, faults };
}

for (const [order, chain] of Object.entries(chains)) {
  const after = order !== "before pcnk";
  Deno.test({
    name: `bandwidth ${order} limits what a pod sends and receives, by Services too`,
    ignore: ignore || after && !needs.kernel(6, 6),
    sanitizeResources: false,
    async fn() {
      using world = new CniWorld({ attach: "clsact" });
      const { stateDir, node } = world;
      const { run } = runtime(world, chain);
      const [free, limited] = [world.sandbox.netns(), world.sandbox.netns()];
      const results = [await run("ADD", free, undefined, null), await run("ADD", limited)];
      await run("CHECK", limited, results[1]);
      const state = {
        dataPlane: world.plane,
        nl: node.nl,
        links: readOnce(node.nl),
        records: readAttachments(stateDir),
      };
      // Which the capability or the list may have told ADD.
      for (const { mend } of rateFaults(state as unknown as NodeState)) mend!();
      const [freeIp, limitedIp] = results.map(({ ips }) => ips![0]!.address.split("/")[0]!);
      const service = (addr: string, first: number, backend: string) => {
        world.plane.maps.backends.set(first, { addr: backend, port: 81, flags: 0, weight_end: 0 });
        const rest = { total_weight: 0, affinity_seconds: 0, flags: 0, table: 0 };
        const key = { addr, port: 80, proto: PROTO.TCP, scope: SCOPE.CLUSTER };
        world.plane.maps.services.set(key, { id: first + 1, first, count: 1, ...rest });
      };
      service(VIP, 0, freeIp!);
      service("10.96.0.11", 1, limitedIp!);
      await using _one = await serve(inside(free));
      await using _two = await serve(inside(limited));
      const modes = world.snapshot().programs.filter((one) => one.endsWith("lbrp_from_pod"));
      assert.equal(modes.some((one) => one.includes(" tcx ")), after, modes.join("\n"));
      const transfers = [
        [limited, freeIp],
        [limited, VIP],
        [free, limitedIp],
        [free, "10.96.0.11"],
      ] as const;
      for (const [from, to] of transfers) {
        const seconds = await send(inside(from), to!, to!.startsWith("10.96") ? 80 : 81);
        assert.ok(
          seconds > 0.75,
          `${from === free ? "into" : "out of"} the pod, to ${to}: ${seconds} s`,
        );
      }
      assert.ok(await send(inside(limited), "10.96.0.11", 80) >= 0); // itself, through its Service
      await run("DEL", limited, results[1]);
      await run("DEL", free, results[0], null);
      assert.deepEqual(world.snapshot().endpoints, []);
    },
  });
}

// In virtual machines, tests/vm.
if (!tcxSupported()) {
  Deno.test({
    name:
      "bandwidth after pcnk before Linux 6.6 refuses pods with an egress rate, and status names the list",
    ignore,
    sanitizeResources: false,
    async fn() {
      using world = new CniWorld({ attach: "clsact" });
      const { run, faults } = runtime(world, chains["after pcnk, which declares it"]);
      assert.match(
        faults.map(({ text }) => text).join(),
        /before Linux 6\.6 no pod with an egress rate/,
      );
      const [limited, other] = [world.sandbox.netns(), world.sandbox.netns()];
      await assert.rejects(run("ADD", limited), /create ingress qdisc: /);
      await run("DEL", limited);
      const { ingressRate, ingressBurst } = limits;
      const result = await run("ADD", other, undefined, { ingressRate, ingressBurst });
      await run("DEL", other, result);
      assert.deepEqual(world.snapshot().endpoints, []);
    },
  });
}

/** Limits a pod of a lab, and waits until the agent knows: by the plugin, or as it does where it cannot come after pcnk. */
async function limit(lab: LabHandle, pod: PodState) {
  const { netnsPath, bpffs } = lab.node(pod.node);
  if (attach === "tcx") {
    const plugin = { type: "bandwidth", ...limits, prevResult: pod.result };
    await runConflist({
      verb: "ADD",
      conflist: { cniVersion: "1.0.0", name: "limits", plugins: [plugin] },
      pluginDirs: [folder!],
      containerID: pod.name,
      netns: planPod(lab.name, pod.node, pod.name).netnsPath,
      ifname: "eth0",
      exec: ({ path, env, stdin }) => runIn(netnsPath, [path], env, stdin),
    });
  } else {
    const { code, stderr } = await runIn(netnsPath, ["sh", "-ec", limitByHand(pod.veth)], {}, "");
    assert.equal(code, 0, new TextDecoder().decode(stderr));
  }
  using plane = openDataPlane(bpffs);
  using nl = RtNetlink.open(netnsPath);
  const { index } = nl.link(pod.veth)!;
  const all = RATE_FLAG.INGRESS | RATE_FLAG.EGRESS;
  while (knownRates(plane.maps.rates, index) !== all) await new Promise((r) => setTimeout(r, 20));
}

/** The plugin's qdiscs and its redirect behind pcnk's filter. */
function limitByHand(veth: string) {
  const tbf = `root tbf rate ${RATE}bit burst ${limits.egressBurst / 8} latency 25ms`;
  return `ip link add limits type ifb
    ip link set limits up
    tc qdisc add dev limits ${tbf}
    tc qdisc add dev ${veth} ${tbf}
    tc filter add dev ${veth} ingress pref 2 protocol all u32 match u32 0 0 action mirred egress redirect dev limits`;
}

Deno.test({
  ...LAB_TEST,
  name: "a rate holds to and from other nodes and the world",
  ignore: ignore || LAB_TEST.ignore,
  fn: () =>
    withLab({ name: "tbandwidth", nodes: 2, pods: 2, attach }, async (lab) => {
      const at = (where: string): Run => (argv) =>
        lab.command(where, argv, { stdin: "null", stdout: "piped", stderr: "piped" });
      const [limited, free, remote] = ["pod1-1", "pod1-2", "pod2-1"].map((name) => lab.pod(name));
      const service = (
        name: string,
        clusterIP: string,
        address: string,
        nodePort: number,
        [port, protocol] = [81, "TCP"],
      ) => [
        {
          apiVersion: "v1",
          kind: "Service",
          metadata: { name },
          spec: { type: "NodePort", clusterIP, ports: [{ port, protocol, nodePort }] },
        },
        {
          apiVersion: "discovery.k8s.io/v1",
          kind: "EndpointSlice",
          metadata: { name, labels: { "kubernetes.io/service-name": name } },
          addressType: "IPv4",
          ports: [{ port, protocol }],
          endpoints: [{ addresses: [address] }],
        },
      ];
      lab.writeManifest("rates", [
        ...service("large", "10.96.7.4", limited!.address, 30814, [8080, "UDP"]),
        ...service("remote", "10.96.7.1", remote!.address, 30811),
        ...service("limited", "10.96.7.2", limited!.address, 30812),
        ...service("free", "10.96.7.3", free!.address, 30813),
      ]);
      const { outside } = lab.store.plan;
      await using servers = new AsyncDisposableStack();
      for (const where of ["pod1-1", "pod1-2", "pod2-1", "outside"]) {
        servers.use(await serve(at(where)));
      }
      const node = lab.node("node1");
      /** By pod: its way out, and in. */
      const ways = (name: string, address: string, vip: string, port: number) =>
        [
          ["to another node", name, remote!.address, 81],
          ["to a Service on another node", name, "10.96.7.1", 81],
          ["to the world", name, outside.address, 81],
          ["from another node", "pod2-1", address, 81],
          ["from another node, by a Service", "pod2-1", vip, 81],
          ["from the world, by a NodePort", "outside", node.address, port],
        ] as const;
      const seconds = async (all: ReturnType<typeof ways>) => {
        const found: [string, number][] = [];
        for (const [way, from, to, port] of all) found.push([way, await send(at(from), to, port)]);
        return found;
      };
      const before = await seconds(ways("pod1-2", free!.address, "10.96.7.3", 30813));
      await limit(lab, limited!);
      const after = await seconds(ways("pod1-1", limited!.address, "10.96.7.2", 30812));
      const text = after.map(([way, s], i) => `${way}: ${s} s, without a rate ${before[i]![1]} s`);
      assert.ok(after.every(([, s], i) => s > 0.75 && s > 1.5 * before[i]![1]), text.join("\n"));
      if (Deno.env.has("FIGURES")) console.error(text.join("\n"));
      // Through its device's qdisc a packet heeds the pod's MTU: the stack fragments what is larger.
      const large = { outside: [node.address, "30814"], "pod1-1": [outside.address, "8080"] };
      for (const [from, to] of Object.entries(large)) {
        const { success, stderr } = await at(from)(["python3", "-c", ASK, ...to]).output();
        assert.ok(success, `large datagrams from ${from}: ${new TextDecoder().decode(stderr)}`);
      }
    }),
});
