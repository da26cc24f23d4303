/** hostlb on the real kernel: real sockets of processes in a cgroup, pods as namespaces. */
import assert from "node:assert/strict";
import type { SocketLb } from "../../src/bpf/hostlb.ts";
import { zero } from "../../src/bpf/codec.ts";
import { AFFINITY_KIND, nodeConfig, SERVICE_FLAG } from "../../src/bpf/layout.ts";
import { endStaleInPods } from "../../src/agent/services/pod_sockets.ts";
import { packMaglev } from "../../src/services/maglev.ts";
import { writeAttachment } from "../../src/node/attachments_support.ts";
import * as needs from "../support/needs.ts";
import {
  A,
  B,
  type Driver,
  GATEWAY,
  HostNode,
  NODE,
  OTHER_NODE,
  PORT,
  PYTHON,
  type Reply,
} from "./hostlb/node.ts";
import { TempFolder } from "../support/folder.ts";

const available = needs.root() && needs.file(PYTHON);
const VIP = "10.96.0.10";
const OTHER_VIP = "10.96.0.11";
const [ON_A, ON_B] = [`${A}:${PORT}`, `${B}:${PORT}`];
const ANY = "0.0.0.0";

function test(
  name: string,
  fn: (node: HostNode) => Promise<void>,
  socketLb: SocketLb = "host",
): void {
  Deno.test({
    name: `hostlb: ${name}`,
    ignore: !available,
    async fn() {
      await using node = await HostNode.create(socketLb);
      await fn(node);
    },
  });
}

/** Connects a new socket and exchanges a word. */
async function talk(
  process: Driver,
  kind: string,
  addr: string,
  port: number,
): Promise<Reply & { socket: number; peer: string }> {
  const socket = await process.call("open", kind);
  await process.call("connect", socket, addr, port);
  const reply = await process.ask(socket, "hello");
  assert.equal(reply.data, "hello");
  return { ...reply, socket, peer: await process.call("peer", socket) };
}

/** The error that a new socket gets. */
async function connectError(process: Driver, kind: string, addr: string, port: number) {
  const socket = await process.call("open", kind);
  return (await process.try("connect", socket, addr, port)).error;
}

test("TCP reaches a backend and takes it for the service", async (node) => {
  node.service("tcp", VIP, 80, [ON_A]);
  const seen = await talk(node.process(), "tcp4", VIP, 80);
  assert.equal(seen.server, "a");
  assert.equal(seen.peer, `${VIP}:80`);
  assert.equal(node.counter("hostlb_connected"), 1);
});

test("TCP and UDP of IPv6 sockets with mapped addresses", async (node) => {
  const mapped = `::ffff:${VIP}`;
  const process = node.process();
  for (const proto of ["tcp", "udp"] as const) {
    node.service(proto, VIP, 80, [ON_B]);
    const seen = await talk(process, `${proto}6`, mapped, 80);
    assert.deepEqual([seen.server, seen.peer], ["b", `${mapped}:80`]);
  }
  const socket = await process.call("open", "udp6");
  const { server, from } = await process.ask(socket, "x", mapped, 80);
  assert.deepEqual([server, from], ["b", `${mapped}:80`]);
});

test("connected UDP: the answer comes from the service", async (node) => {
  node.service("udp", VIP, 53, [ON_A]);
  const seen = await talk(node.process(), "udp4", VIP, 53);
  assert.deepEqual([seen.server, seen.from, seen.peer], ["a", `${VIP}:53`, `${VIP}:53`]);
});

test("unconnected UDP: answers come from the service, a socket keeps its backend", async (node) => {
  node.service("udp", VIP, 53, [ON_A, ON_B]);
  const process = node.process();
  const servers = new Set<string>();
  for (let i = 0; i < 24; i++) {
    const socket = await process.call("open", "udp4");
    const first = await process.ask(socket, "x", VIP, 53);
    for (let again = 0; again < 4; again++) {
      const { server, from } = await process.ask(socket, "x", VIP, 53);
      assert.deepEqual([server, from], [first.server, `${VIP}:53`]);
    }
    servers.add(first.server);
  }
  assert.deepEqual([...servers].sort(), ["a", "b"]);
  assert.equal(node.counter("hostlb_flow_created"), 24);
  assert.equal(node.counter("hostlb_flow_moved"), 0);
});

test("NodePort on loopback, the unspecified address and any node's", async (node) => {
  const process = node.process();
  for (const proto of ["tcp", "udp"] as const) {
    node.service(proto, ANY, 30080, [ON_A]);
    for (const addr of ["127.0.0.1", "127.9.9.9", NODE, OTHER_NODE]) {
      const seen = await talk(process, `${proto}4`, addr, 30080);
      assert.deepEqual([seen.server, seen.peer], ["a", `${addr}:30080`]);
    }
    const seen = await talk(process, `${proto}4`, ANY, 30080);
    assert.deepEqual([seen.server, seen.peer], ["a", "127.0.0.1:30080"]);
  }
  const socket = await process.call("open", "udp4");
  for (const addr of ["127.0.0.1", NODE]) {
    assert.equal((await process.ask(socket, "x", addr, 30080)).from, `${addr}:30080`);
  }
});

test("other ports of the node are its own, whatever services its address has", async (node) => {
  // An externalIP is often a node's address.
  node.service("tcp", NODE, 80, [ON_A]);
  await node.serve(node.self, "self");
  const process = node.process();
  for (const addr of [NODE, "127.0.0.1"]) {
    for (const kind of ["tcp4", "udp4"]) {
      const seen = await talk(process, kind, addr, PORT);
      assert.deepEqual([seen.server, seen.peer], ["self", `${addr}:${PORT}`]);
    }
  }
  assert.equal((await talk(process, "tcp4", NODE, 80)).server, "a");
});

test("a service without backends refuses at once", async (node) => {
  const process = node.process();
  node.service("tcp", VIP, 80, []);
  node.service("udp", VIP, 53, []);
  node.service("tcp", ANY, 30080, []);
  const targets = [[VIP, 80], [VIP, 81], ["127.0.0.1", 30080], [NODE, 30080]] as const;
  for (const [addr, port] of targets) {
    assert.equal(await connectError(process, "tcp4", addr, port), "ECONNREFUSED");
  }
  for (const port of [53, 54]) {
    const socket = await process.call("open", "udp4");
    await process.call("connect", socket, VIP, port);
    await process.call("send", socket, "x");
    assert.deepEqual(await process.try("recv", socket), { error: "ECONNREFUSED" });
    const datagram = await process.call("open", "udp4");
    const sent = await process.try("sendto", datagram, "x", VIP, port);
    assert.deepEqual(sent, { error: "EPERM" });
  }
  assert.equal(node.counter("hostlb_rejected_no_backend"), 3 + 2);
  assert.equal(node.counter("hostlb_rejected_no_port"), 1 + 2);
});

test("a socket bound to a device is refused, too, and not sent to loopback", async (node) => {
  node.service("tcp", VIP, 80, []);
  const process = node.process();
  const socket = await process.call("open", "tcp4");
  await process.call("device", socket, "v2");
  assert.deepEqual(await process.try("connect", socket, VIP, 80), { error: "EPERM" });
});

test("a process outside the cgroup is not served", async (node) => {
  node.service("tcp", VIP, 80, [ON_A]);
  node.service("udp", VIP, 80, [ON_A]);
  const process = node.process({ cgroup: false });
  for (const kind of ["tcp4", "udp4"]) {
    assert.equal(await connectError(process, kind, VIP, 80), "ENETUNREACH");
  }
});

test("a pod's sockets are left alone", async (node) => {
  // What is not translated gets to a server of the node.
  node.self.nl.addAddr({ ifindex: 1, address: VIP, prefixLength: 32 });
  await node.serve(node.self, "self");
  for (const proto of ["tcp", "udp"] as const) {
    node.service(proto, VIP, PORT, [ON_B]);
    node.service(proto, ANY, PORT, [ON_B]);
  }
  const process = node.process({ netns: node.pods.a });
  for (const addr of [VIP, NODE]) {
    assert.equal((await talk(process, "tcp4", addr, PORT)).server, "self");
    const socket = await process.call("open", "udp4");
    assert.equal((await process.ask(socket, "x", addr, PORT)).server, "self");
    await process.call("connect", socket, addr, PORT);
  }
  assert.equal((await talk(process, "tcp4", "127.0.0.1", PORT)).server, "a");
  assert.deepEqual([node.counter("hostlb_connected"), node.counter("hostlb_flow_created")], [0, 0]);
  assert.equal((await talk(node.process(), "tcp4", VIP, PORT)).server, "b");
});

test("socketLb all: pods are served, but loopback is their own", async (node) => {
  node.service("tcp", VIP, 80, [ON_A]);
  node.service("udp", VIP, 80, [ON_A]);
  node.service("tcp", ANY, 30080, [ON_A]);
  node.service("tcp", ANY, PORT, []);
  const process = node.process({ netns: node.pods.a });
  for (const kind of ["tcp4", "udp4"]) {
    const seen = await talk(process, kind, VIP, 80); // to itself
    assert.deepEqual([seen.server, seen.peer, seen.client.split(":")[0]], ["a", `${VIP}:80`, A]);
  }
  assert.equal((await talk(process, "tcp4", NODE, 30080)).server, "a");
  for (const addr of ["127.0.0.1", ANY]) {
    assert.equal((await talk(process, "tcp4", addr, PORT)).server, "a");
    assert.equal(await connectError(process, "tcp4", addr, 30080), "ECONNREFUSED");
  }
  assert.equal(node.counter("hostlb_rejected_no_backend"), 0);
  assert.equal((await talk(node.process(), "tcp4", VIP, 80)).server, "a");
}, "all");

test("bound sockets stay bound, and servers see their clients", async (node) => {
  node.service("tcp", VIP, 80, [ON_A]);
  node.service("udp", VIP, 53, [ON_A]);
  const process = node.process();
  const bound = await process.call("open", "tcp4");
  await process.call("bind", bound, NODE, 45678);
  await process.call("connect", bound, VIP, 80);
  const reply = await process.call("send", bound, "x").then(() => process.call("recv", bound));
  assert.equal(reply.data.split(" ")[1], `${NODE}:45678`);

  // A server of the node at an address that is a service's: pod a asks it from the very port that is a backend's.
  node.self.nl.addAddr({ ifindex: 1, address: VIP, prefixLength: 32 });
  const server = await process.call("open", "udp4");
  await process.call("bind", server, VIP, 53);
  const pod = node.process({ netns: node.pods.b });
  const client = await pod.call("open", "udp4");
  await pod.call("sendto", client, "question", VIP, 53);
  const { from } = await process.call("recv", server);
  assert.equal(from.split(":")[0], B);
  await process.call("sendto", server, "a answer", B, Number(from.split(":")[1]));
  assert.equal((await pod.call("recv", client)).from, `${VIP}:53`);
});

test("who asks for a backend itself gets it under its own name", async (node) => {
  node.service("udp", VIP, 53, [ON_A]);
  const process = node.process();
  const socket = await process.call("open", "udp4");
  assert.equal((await process.ask(socket, "x", VIP, 53)).from, `${VIP}:53`);
  assert.equal((await process.ask(socket, "x", A, PORT)).from, ON_A);
  assert.equal((await process.ask(socket, "x", VIP, 53)).from, `${VIP}:53`);
  await process.call("connect", socket, VIP, 53);
  await process.call("connect", socket, A, PORT);
  assert.equal(await process.call("peer", socket), ON_A);
});

test("two services with one backend: it answers as the one asked last", async (node) => {
  for (const addr of [VIP, OTHER_VIP]) node.service("udp", addr, 53, [ON_A]);
  const process = node.process();
  const socket = await process.call("open", "udp4");
  for (const addr of [VIP, OTHER_VIP, VIP, VIP, OTHER_VIP]) {
    assert.equal((await process.ask(socket, "x", addr, 53)).from, `${addr}:53`);
  }
});

test("one socket tells many services apart", async (node) => {
  const process = node.process();
  const socket = await process.call("open", "udp4");
  const ask = (i: number) => process.ask(socket, "x", VIP, 1000 + i);
  for (let i = 0; i < 20; i++) {
    node.service("udp", VIP, 1000 + i, [i % 2 ? ON_A : ON_B]);
    const { server, from } = await ask(i);
    assert.deepEqual([server, from], [i % 2 ? "a" : "b", `${VIP}:${1000 + i}`]);
  }
  const made = node.counter("hostlb_flow_created");
  for (let i = 12; i < 20; i++) await ask(i);
  assert.equal(node.counter("hostlb_flow_created"), made, "the last eight are remembered");
});

test("unconnected UDP follows the service's changes with the next datagram", async (node) => {
  node.service("udp", VIP, 53, [ON_A]);
  const process = node.process();
  const socket = await process.call("open", "udp4");
  const ask = async () => (await process.ask(socket, "x", VIP, 53)).server;
  assert.equal(await ask(), "a");
  node.service("udp", VIP, 53, [ON_B, ON_B, ON_B, ON_A]); // the backend is elsewhere in the array
  assert.equal(await ask(), "a");
  assert.equal(node.counter("hostlb_flow_moved"), 0);
  node.service("udp", VIP, 53, [ON_B]);
  assert.equal(await ask(), "b");
  assert.equal(node.counter("hostlb_flow_moved"), 1);
  node.service("udp", VIP, 53, []);
  assert.deepEqual(await process.try("sendto", socket, "x", VIP, 53), { error: "EPERM" });
  node.service("udp", VIP, 53, [ON_A]);
  assert.equal(await ask(), "a");
});

test("endStaleUdpSockets() ends those whose backend is gone, no others", async (node) => {
  const process = node.process();
  node.service("udp", VIP, 53, [ON_A]);
  node.service("udp", OTHER_VIP, 53, [ON_A]);
  const connect = async (kind: string, addr: string, port: number) => {
    const { socket } = await talk(process, kind, addr, port);
    return socket;
  };
  const stale = [await connect("udp4", VIP, 53), await connect("udp6", `::ffff:${VIP}`, 53)];
  const kept = [await connect("udp4", OTHER_VIP, 53), await connect("udp4", A, PORT)];
  assert.equal(node.endStale(), 0);
  node.service("udp", VIP, 53, [ON_B]);
  assert.equal(node.endStale(), 2);
  assert.equal(node.endStale(), 0);
  for (const socket of stale) {
    assert.deepEqual(await process.try("recv", socket), { error: "ECONNABORTED" });
  }
  assert.equal((await talk(process, "udp4", VIP, 53)).server, "b");
  for (const socket of kept) assert.equal((await process.ask(socket, "x")).server, "a");
  node.removeService("udp", OTHER_VIP, 53);
  assert.equal(node.endStale(), 1);
});

test("closed and otherwise connected UDP sockets are forgotten", async (node) => {
  node.service("udp", VIP, 53, [ON_A]);
  const process = node.process();
  using connections = node.map("hostlb_connections");
  const [first, second] = [
    await talk(process, "udp4", VIP, 53),
    await talk(process, "udp4", VIP, 53),
  ];
  await talk(process, "udp4", A, PORT);
  assert.equal(connections.keys().length, 2);
  await process.call("close", first.socket);
  assert.equal(connections.keys().length, 1);
  await process.call("connect", second.socket, A, PORT);
  assert.equal(connections.keys().length, 0);
  node.service("udp", VIP, 53, [ON_B]);
  assert.equal(node.endStale(), 0);
});

test("endStaleUdpSockets() ends refused ones once there is a backend", async (node) => {
  node.service("udp", VIP, 53, []);
  const process = node.process();
  const socket = await process.call("open", "udp4");
  await process.call("connect", socket, VIP, 53);
  assert.equal(node.endStale(), 0);
  node.service("udp", VIP, 53, [ON_A]);
  assert.equal(node.endStale(), 1);
  assert.deepEqual(await process.try("recv", socket), { error: "ECONNABORTED" });
  await process.call("connect", socket, VIP, 53); // the same socket may be used again
  assert.equal((await process.ask(socket, "x")).server, "a");
});

test("installHostlb() replaces programs under steady connections", async (node) => {
  node.service("tcp", VIP, 80, [ON_A, ON_B]);
  node.service("udp", VIP, 53, [ON_A]);
  const process = node.process();
  const { socket } = await talk(process, "tcp4", VIP, 80);
  const steady = node.process();
  const running = steady.call("connects", VIP, 80, 1.5);
  for (let i = 0; i < 8; i++) {
    node.install("host");
    const peer = await process.call("peer", socket);
    assert.equal(peer, `${VIP}:80`);
  }
  const { good, errors } = await running;
  assert.deepEqual(errors, []);
  assert.ok(good > 50, `only ${good} connections`);
});

test("removeHostlb() stops serving; connected sockets stay", async (node) => {
  node.service("tcp", VIP, 80, [ON_A]);
  const process = node.process();
  const { socket } = await talk(process, "tcp4", VIP, 80);
  assert.equal(node.remove(), true);
  assert.equal(node.remove(), false);
  await process.call("send", socket, "again");
  assert.match((await process.call("recv", socket)).data, /^a /);
  const late = await process.call("open", "tcp4");
  assert.deepEqual(await process.try("connect", late, VIP, 80), { error: "ENETUNREACH" });
  assert.deepEqual([...Deno.readDirSync(`${node.bpffs}/link`)], []);
});

test("a service that is local only and has no backend here is denied, not refused", async (node) => {
  const process = node.process();
  for (const proto of ["tcp", "udp"] as const) {
    node.service(proto, VIP, 80, [], { flags: SERVICE_FLAG.LOCAL_ONLY });
    assert.equal(await connectError(process, `${proto}4`, VIP, 80), "EPERM");
  }
  const socket = await process.call("open", "udp4");
  assert.deepEqual(await process.try("sendto", socket, "x", VIP, 80), { error: "EPERM" });
  assert.equal(node.counter("hostlb_denied_no_local_backend"), 3);
});

/** The node's own address is configured, and ranges of clients of every service. */
function ranges(node: HostNode, ...prefixes: string[]) {
  const { config, source_ranges, services } = node.maps;
  config.set(0, { ...zero(nodeConfig), node_addr: NODE });
  const ids = new Set(services.entries().map(([, { id }]) => id));
  assert.ok(ids.size > 0);
  for (const prefix of prefixes) {
    const [addr = "", length] = prefix.split("/");
    for (const service_id of ids) {
      source_ranges.set({ prefixlen: 32 + Number(length), service_id, addr }, 0);
    }
  }
}

test("loadBalancerSourceRanges hold for the node's processes, by the node's address", async (node) => {
  const process = node.process();
  for (const proto of ["tcp", "udp"] as const) {
    node.service(proto, VIP, 80, [ON_A], { flags: SERVICE_FLAG.SOURCE_RANGES, id: 77 });
  }
  ranges(node, "203.0.113.0/24");
  for (const proto of ["tcp", "udp"] as const) {
    assert.equal(await connectError(process, `${proto}4`, VIP, 80), "EPERM");
  }
  const socket = await process.call("open", "udp4");
  assert.deepEqual(await process.try("sendto", socket, "x", VIP, 80), { error: "EPERM" });
  assert.equal(node.counter("hostlb_denied_source_range"), 3);
  // A socket that is bound has the address that it is bound to.
  ranges(node, `${GATEWAY}/32`);
  const bound = await process.call("open", "tcp4");
  await process.call("bind", bound, GATEWAY, 0);
  await process.call("connect", bound, VIP, 80);
  ranges(node, `${NODE}/32`);
  await talk(process, "tcp4", VIP, 80);
});

test(
  "socketLb all: who a pod is, for loadBalancerSourceRanges, lbrp knows",
  async (node) => {
    node.service("tcp", VIP, 80, [ON_A], { flags: SERVICE_FLAG.SOURCE_RANGES });
    ranges(node, "0.0.0.0/0");
    const process = node.process({ netns: node.pods.b });
    const socket = await process.call("open", "tcp4");
    // No lbrp is here: the packet leaves as it is.
    const { error } = await process.try("connect", socket, VIP, 80);
    assert.match(error ?? "", /timed out|UNREACH|TIMEDOUT/);
    assert.equal(node.counter("hostlb_connected"), 0);
  },
  "all",
);

test("session affinity: a network namespace keeps its backend", async (node) => {
  const process = node.process();
  const backends = Array.from({ length: 8 }, (_, i) => i % 2 ? ON_A : ON_B);
  for (const proto of ["tcp", "udp"] as const) {
    node.service(proto, VIP, 80, backends, { affinity_seconds: 60 });
    const servers = new Set<string>();
    for (let i = 0; i < 16; i++) servers.add((await talk(process, `${proto}4`, VIP, 80)).server);
    const loose = await process.call("open", "udp4");
    if (proto === "udp") servers.add((await process.ask(loose, "x", VIP, 80)).server);
    assert.equal(servers.size, 1, [...servers].join());
    // Its backend gone, it gets the other one.
    const left = servers.has("a") ? ON_B : ON_A;
    node.service(proto, VIP, 80, [left], { affinity_seconds: 60 });
    const moved = await talk(process, `${proto}4`, VIP, 80);
    assert.equal(moved.server, left === ON_A ? "a" : "b");
  }
  const kinds = node.maps.affinity_proven.entries().map(([{ kind }]) => kind);
  assert.deepEqual(kinds, [AFFINITY_KIND.NETNS, AFFINITY_KIND.NETNS]);
});

test("Maglev: the table decides", async (node) => {
  const size = 7;
  const { maglev, config } = node.maps;
  config.set(0, { ...zero(nodeConfig), node_addr: NODE, maglev_size: size });
  [...packMaglev(new Uint16Array(size).fill(1))].forEach((slots, i) => maglev.set(i, slots));
  const process = node.process();
  node.service("tcp", VIP, 80, [ON_A, ON_B], { flags: SERVICE_FLAG.MAGLEV });
  for (let i = 0; i < 8; i++) {
    assert.equal((await talk(process, "tcp4", VIP, 80)).server, "b");
  }
  // By the source port, where it is known.
  [...packMaglev(Uint16Array.from([0, 1, 0, 1, 0, 1, 0]))].forEach((slots, i) =>
    maglev.set(i, slots)
  );
  const servers = new Map<number, string>();
  for (const port of [41001, 41002, 41003, 41004, 41005, 41006, 41001, 41002, 41003]) {
    const socket = await process.call("open", "udp4");
    await process.call("bind", socket, NODE, port);
    node.service("udp", VIP, 53, [ON_A, ON_B], { flags: SERVICE_FLAG.MAGLEV });
    await process.call("connect", socket, VIP, 53);
    const { server } = await process.ask(socket, "x");
    assert.equal(server, servers.get(port) ?? server);
    servers.set(port, server);
    await process.call("close", socket);
  }
  assert.equal(new Set(servers.values()).size, 2);
});

test("socketLb all: endStaleInPods() ends sockets in pods' namespaces", async (node) => {
  using folder = new TempFolder();
  const stateDir = folder.path;
  const paths = ["/run/netns/pcnk-t-gone", node.pods.b.path];
  paths.forEach((netns, i) => writeAttachment(stateDir, { containerID: `c${i}`, netns }));
  node.service("udp", VIP, 53, [ON_A]);
  const process = node.process({ netns: node.pods.b });
  const { socket } = await talk(process, "udp4", VIP, 53);
  using connections = node.map("hostlb_connections");
  const { services, backends } = node.maps;
  const end = () => endStaleInPods(stateDir, { services, backends, connections });
  assert.deepEqual(end(), { ended: 0, left: 0 });
  node.service("udp", VIP, 53, [ON_B]);
  assert.deepEqual(end(), { ended: 1, left: 0 });
  assert.deepEqual(await process.try("recv", socket), { error: "ECONNABORTED" });
  assert.deepEqual(end(), { ended: 0, left: 0 });
  assert.equal((await talk(process, "udp4", VIP, 53)).server, "b");
  // One that is nowhere to be found stays.
  Deno.removeSync(`${stateDir}/attachments/c1@eth0.json`);
  node.service("udp", VIP, 53, [ON_A]);
  assert.deepEqual(end(), { ended: 0, left: 1 });
}, "all");
