/**
 * lbrp on the real kernel: pods as namespaces, real sockets, both ways to attach. What BPF_PROG_TEST_RUN cannot show is
 * here: packets that are handed over, checksums left to the device, segmentation, path MTU, frames with odd memory.
 */
import assert from "node:assert/strict";
import type { Reason } from "../../src/bpf/reasons.ts";
import { fragments, ICMP, icmp, pattern, tcp, text, udp } from "../bpf/support/packet.ts";
import * as needs from "../support/needs.ts";
import { GATEWAY, type Host, REMOTE, SMALL_MTU, TestNode } from "./lbrp/node.ts";
import { fine, PYTHON, REFUSED } from "./lbrp/traffic.ts";

const available = needs.root() && needs.file(PYTHON);
const tcx = needs.kernel(6, 6);
const VIP = "10.96.0.10";
const MB = 1 << 20;

interface Scene {
  node: TestNode;
  client: Host;
  server: Host;
}

/** A test in both modes of attachment, on a node with two pods. */
function test(name: string, fn: (scene: Scene) => Promise<void>): void {
  for (const mode of ["tcx", "clsact"] as const) {
    Deno.test({
      name: `lbrp (${mode}): ${name}`,
      ignore: !available || (mode === "tcx" && !tcx),
      async fn() {
        await using node = new TestNode(mode);
        await fn({ node, client: node.pod("10.1.0.2"), server: node.pod("10.1.0.3") });
      },
    });
  }
}

test("TCP to a backend on this node, large transfers both ways", async ({ node, client, server }) => {
  await node.serve(server, "tcp", 8080);
  node.service(VIP, 80, "tcp", ["10.1.0.3:8080"]);
  const delivered = await node.plane.counting("forward_delivered", async () => {
    fine(await node.run(client, "tcp", VIP, 80, 32 * MB, 32 * MB));
  });
  assert(delivered > 100);
  assert(node.plane.counter("reply_delivered") > 100);
});

test("TCP with checksums computed in software", async ({ node, client, server }) => {
  for (const pod of [client, server]) fine(await node.run(pod, "txoff", "eth0"));
  await node.serve(server, "tcp", 8080);
  node.service(VIP, 80, "tcp", ["10.1.0.3:8080"]);
  fine(await node.run(client, "tcp", VIP, 80, 4 * MB, 4 * MB));
});

test("TCP to a backend on another node, path MTU found on the way", async ({ node, client }) => {
  const remote = node.remote();
  // Checksums that the sender left open are computed at the uplink, and looked at by the far end.
  fine(await node.run(node.self, "txoff", "uplink"));
  await node.serve(remote, "tcp", 8080);
  node.service(VIP, 80, "tcp", [`${REMOTE}:8080`]);
  const errors = await node.plane.counting("icmp_error_routed", async () => {
    fine(await node.run(client, "tcp", VIP, 80, 4 * MB, 4 * MB));
  });
  assert(errors > 0, "no path MTU discovery has happened");
});

test("UDP learns the path MTU through a service", async ({ node, client }) => {
  const remote = node.remote();
  await node.serve(remote, "udp", 5353);
  node.service(VIP, 53, "udp", [`${REMOTE}:5353`]);
  const seen = await node.run(client, "pmtu", VIP, 53, 1400);
  assert.deepEqual(seen, { ok: true, mtu: SMALL_MTU });
});

test("UDP both ways, small, in fragments, and with checksums in software", async ({ node, client, server }) => {
  const remote = node.remote();
  await node.serve(server, "udp", 5353);
  await node.serve(remote, "udp", 5353);
  node.service(VIP, 53, "udp", ["10.1.0.3:5353"]);
  node.service(VIP, 54, "udp", [`${REMOTE}:5353`]);
  for (const software of [false, true]) {
    if (software) {
      for (const pod of [client, server, remote]) fine(await node.run(pod, "txoff", "eth0"));
    }
    for (const port of [53, 54]) {
      for (const size of [0, 1, 1000, 8000, 60000]) {
        fine(await node.run(client, "udp", VIP, port, size));
      }
    }
  }
});

test("UDP in packs that the kernel cuts up later", async ({ node, client, server }) => {
  const remote = node.remote();
  await node.serve(server, "udp", 5353);
  await node.serve(remote, "udp", 5353);
  node.service(VIP, 53, "udp", ["10.1.0.3:5353"]);
  node.service(VIP, 54, "udp", [`${REMOTE}:5353`]);
  node.service(VIP, 55, "udp", []);
  fine(await node.run(client, "pack", VIP, 53, 1000, 20));
  fine(await node.run(client, "pack", VIP, 54, 1000, 20));
  assert.deepEqual(await node.run(client, "pack", VIP, 55, 1000, 20), REFUSED);
});

test("two CPUs with a flow's first packets agree on its backend", async ({ node, client, server }) => {
  await node.serve(server, "udp", 6000, 50);
  const backends = Array.from({ length: 50 }, (_, i) => `${server.addr}:${6000 + i}`);
  node.service(VIP, 53, "udp", backends);
  fine(await node.run(client, "twice", VIP, 53, 20000, 500));
  const sessions = new Map(
    node.plane.maps.sessions.entries().map(([key, value]) => [tuple(key), tuple(value)]),
  );
  assert.equal(sessions.size, 1000, "entries that belong to no flow");
  for (const [key, value] of sessions) {
    const [src, dst] = value.split(" ");
    assert.equal(sessions.get(`${dst} ${src}`)?.split(" ").reverse().join(" "), key);
  }
});

function tuple(of: { src: string; sport: number; dst: string; dport: number }): string {
  return `${of.src}:${of.sport} ${of.dst}:${of.dport}`;
}

test("pings of a service address, whole and in fragments", async ({ node, client, server }) => {
  node.service(VIP, 80, "tcp", []);
  for (const size of [0, 56, 1400, 5000]) fine(await node.run(client, "ping", VIP, size));
  assert(node.plane.counter("echo_replied") >= 4);
  fine(await node.run(client, "ping", server.addr, 56));
  fine(await node.run(client, "ping", GATEWAY, 56));
});

test("a pod reaches itself through its service", async ({ node, client }) => {
  const single = node.single("10.3.0.2", "169.254.7.1");
  for (const pod of [client, single]) {
    await node.serve(pod, "tcp", 8080);
    await node.serve(pod, "udp", 5353);
    node.service(VIP, 80, "tcp", [`${pod.addr}:8080`]);
    node.service(VIP, 53, "udp", [`${pod.addr}:5353`]);
    const seen = await node.run(pod, "tcp", VIP, 80, MB, MB);
    assert.equal(seen.ok, true);
    assert.match(seen.peer!, pod === client ? /^10\.1\.0\.1:/ : /^169\.254\.7\.1:/);
    assert.equal((await node.run(pod, "udp", VIP, 53, 8000)).ok, true);
  }
});

test("a service with no backends refuses at once", async ({ node, client }) => {
  node.service(VIP, 80, "tcp", []);
  node.service(VIP, 53, "udp", []);
  for (const software of [false, true]) {
    if (software) fine(await node.run(client, "txoff", "eth0"));
    for (const port of [80, 81]) {
      assert.deepEqual(await node.run(client, "tcp", VIP, port, 0, 0), REFUSED);
    }
    for (const [port, size] of [[53, 10], [54, 1400], [53, 5000]] as const) {
      assert.deepEqual(await node.run(client, "udp", VIP, port, size), REFUSED);
    }
  }
});

test("refusals are whole when a pod passes them on to a device without offloads", async ({ node, client }) => {
  const inner = node.behind(client, "10.9.0.2", "10.9.0.1");
  fine(await node.run(client, "txoff", "inner0"));
  node.service(VIP, 80, "tcp", []);
  node.service(VIP, 53, "udp", []);
  for (const software of [false, true]) {
    if (software) fine(await node.run(inner, "txoff", "eth0"));
    assert.deepEqual(await node.run(inner, "tcp", VIP, 80, 0, 0), REFUSED);
    for (const size of [11, 1400, 5000]) {
      assert.deepEqual(await node.run(inner, "udp", VIP, 53, size), REFUSED);
    }
  }
});

test("the client hears of a backend's closed port", async ({ node, client, server }) => {
  const remote = node.remote();
  for (const backend of [server, remote]) {
    node.service(VIP, 53, "udp", [`${backend.addr}:5353`]);
    assert.deepEqual(await node.run(client, "udp", VIP, 53, 100), REFUSED);
  }
  assert(
    node.plane.counter("icmp_error_delivered") > 0 && node.plane.counter("icmp_error_routed") > 0,
  );
});

test("a pod without a bridge reaches backends here and elsewhere", async ({ node, server }) => {
  const single = node.single("10.3.0.2", "169.254.7.1");
  const remote = node.remote();
  await node.serve(server, "tcp", 8080);
  await node.serve(remote, "tcp", 8080);
  await node.serve(single, "tcp", 8080);
  node.service(VIP, 80, "tcp", ["10.1.0.3:8080"]);
  node.service(VIP, 81, "tcp", [`${REMOTE}:8080`]);
  node.service(VIP, 82, "tcp", ["10.3.0.2:8080"]);
  fine(await node.run(single, "tcp", VIP, 80, MB, MB));
  fine(await node.run(single, "tcp", VIP, 81, MB, MB));
  fine(await node.run(server, "tcp", VIP, 82, MB, MB));
});

test("a backend in the node's own network", async ({ node, client }) => {
  await node.serve(node.self, "tcp", 8080);
  await node.serve(node.self, "udp", 5353);
  node.service(VIP, 80, "tcp", [`${GATEWAY}:8080`]);
  node.service(VIP, 53, "udp", [`${GATEWAY}:5353`]);
  fine(await node.run(client, "tcp", VIP, 80, MB, MB));
  fine(await node.run(client, "udp", VIP, 53, 8000));
  assert(node.plane.counter("reply_routed") > 0);
});

test("two services, one backend, one source port", async ({ node, client, server }) => {
  await node.serve(server, "tcp", 8080);
  node.service(VIP, 80, "tcp", ["10.1.0.3:8080"]);
  node.service("10.96.0.11", 80, "tcp", ["10.1.0.3:8080"]);
  fine(await node.run(client, "tcp", VIP, 80, 10, 10, 45000));
  // The first one's end is still remembered here and at the backend.
  const seen = await node.run(client, "tcp", "10.96.0.11", 80, MB, MB, 45000);
  assert.deepEqual([seen.ok, seen.error], [true, undefined]);
  assert.notEqual(seen.peer, seen.local);
});

test("pods reach each other, the node and other nodes without a service", async ({ node, client, server }) => {
  const remote = node.remote();
  for (const host of [server, remote, node.self]) await node.serve(host, "tcp", 8080);
  await node.serve(server, "udp", 5353);
  const direct = await node.plane.counting("direct_delivered", async () => {
    fine(await node.run(client, "tcp", server.addr, 8080, 4 * MB, 4 * MB));
  });
  assert(direct > 100);
  for (const size of [10, 8000]) fine(await node.run(client, "udp", server.addr, 5353, size));
  fine(await node.run(client, "tcp", REMOTE, 8080, MB, MB));
  fine(await node.run(client, "tcp", GATEWAY, 8080, MB, MB));
  fine(await node.run(node.self, "tcp", server.addr, 8080, MB, MB));
  fine(await node.run(remote, "tcp", server.addr, 8080, MB, MB));
});

test("headers in a page of their own", async ({ node, client, server }) => {
  node.service(VIP, 80, "tcp", ["10.1.0.3:8080"]);
  node.service(VIP, 53, "udp", []);
  const { mac } = node.self.nl.link("pcnk0")!;
  const frame = { ethSrc: client.mac, ethDst: mac };
  const flow = { src: "10.1.0.2:40000", ...frame };
  const ring = async (reason: Reason, packet: Uint8Array) => {
    const hex = packet.toHex();
    const count = await node.plane.counting(reason, async () => {
      fine(await node.run(client, "ring", "eth0", hex));
    });
    assert.equal(count, 1, reason);
  };
  await ring(
    "forward_delivered",
    tcp({ ...flow, dst: `${VIP}:80`, flags: "S", payload: pattern(99) }),
  );
  await ring(
    "rejected_no_port",
    tcp({ ...flow, dst: `${VIP}:81`, flags: "S", payload: pattern(99) }),
  );
  await ring("rejected_no_backend", udp({ ...flow, dst: `${VIP}:53`, payload: pattern(900) }));
  await ring(
    "echo_replied",
    icmp({ ...flow, dst: VIP, type: ICMP.ECHO, rest: 1, payload: pattern(99) }),
  );
  await ring("pass_no_service", udp({ ...flow, dst: "192.0.2.99:9" }));
  void server;
});

test("frames that are too short, tagged, or no IPv4 pass", async ({ node, client, server }) => {
  node.service(VIP, 80, "tcp", ["10.1.0.3:8080"]);
  const frame = { ethSrc: client.mac, ethDst: server.mac };
  const syn = tcp({ src: "10.1.0.2:40000", dst: `${VIP}:80`, flags: "S", ...frame });
  const tagged = new Uint8Array([...syn.slice(0, 12), 0x81, 0, 0, 5, ...syn.slice(12)]);
  const [, later] = fragments(
    udp({ src: "10.1.0.2:1", dst: "10.1.0.3:1", payload: pattern(50), df: false, ...frame }),
    56,
  );
  const frames: [Reason, Uint8Array][] = [
    ["pass_truncated", syn.slice(0, 14)],
    ["pass_truncated", syn.slice(0, 24)],
    ["pass_truncated", syn.slice(0, 33)],
    ["pass_vlan", tagged],
    ["event_fragment_held", later!],
    ["pass_ipv6", new Uint8Array([...syn.slice(0, 12), 0x86, 0xdd, ...text("not IPv6 either")])],
  ];
  for (const [reason, packet] of frames) {
    const hex = packet.toHex();
    const count = await node.plane.counting(reason, async () => {
      fine(await node.run(client, "frames", "eth0", hex));
    });
    // Namespaces send some IPv6 of their own.
    assert(reason === "pass_ipv6" ? count >= 1 : count === 1, `${reason}: ${count}, ${hex}`);
  }
});
