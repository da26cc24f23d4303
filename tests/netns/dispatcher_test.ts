/**
 * k8sdispatcher, and lbrp between nodes, on the real kernel: three nodes, a router and a host outside, through the overlay
 * and directly, attached in both ways. What BPF_PROG_TEST_RUN cannot show is here: the tunnel, neighbours and routes of
 * redirected packets, segmentation, path MTU, sockets that verify checksums.
 */
import assert from "node:assert/strict";
import { csumTold } from "../../src/bpf/csum_told.ts";
import { SCOPE, SERVICE_FLAG } from "../../src/bpf/layout.ts";
import type { RoutingMode } from "../../src/routing/types.ts";
import { concat, pattern, tcp, udp } from "../bpf/support/packet.ts";
import * as needs from "../support/needs.ts";
import { Cluster, OUTSIDE, vtep } from "./dispatcher/cluster.ts";
import { FRAMES } from "../attack/frames.ts";
import { fine, PYTHON, REFUSED } from "./lbrp/traffic.ts";

const available = needs.root() && needs.file(PYTHON);
const tcx = needs.kernel(6, 6);
const MB = 1 << 20;

const POD = "10.244.1.2", NEIGHBOUR = "10.244.1.3", FAR = "10.244.2.2", THIRD = "10.244.3.2";
const NODE1 = "192.0.2.11", NODE2 = "192.0.2.12", NODE3 = "192.0.2.13";
/** Services with one backend: on node 1, on node 2, in node 2's own network, and none. */
const VIP = { near: "10.96.0.1", far: "10.96.0.2", host: "10.96.0.3", none: "10.96.0.4" } as const;
const NODE_PORT = { near: 30001, far: 30002, host: 30003, none: 30004 } as const;

type Step = (cluster: Cluster) => Promise<void>;
const steps: [name: string, run: Step][] = [];

/** A step of the test of each combination. Services and servers are there. */
function step(name: string, run: Step): void {
  steps.push([name, run]);
}

/** Services, and servers everywhere. */
async function prepare(cluster: Cluster): Promise<void> {
  const backends = { near: POD, far: FAR, host: NODE2, none: undefined };
  for (const [name, backend] of Object.entries(backends) as [keyof typeof VIP, string][]) {
    for (const proto of ["tcp", "udp"] as const) {
      const run = backend ? [`${backend}:8080`] : [];
      cluster.service(VIP[name], 80, NODE_PORT[name], proto, run);
    }
  }
  for (const host of [...cluster.pods, cluster.outside, cluster.node(2).self]) {
    for (const proto of ["tcp", "udp"] as const) await cluster.serve(host, proto, 8080);
  }
}

step("pods reach pods of other nodes past both stacks", async (cluster) => {
  const client = cluster.pod(POD);
  const sent = await cluster.node(1).counting("direct_sent", async () => {
    fine(await cluster.run(client, "tcp", FAR, 8080, 16 * MB, 16 * MB));
  });
  assert(sent > 100, `${sent} packets`);
  assert(cluster.node(2).counter("direct_delivered") > 100);
  fine(await cluster.run(client, "ping", FAR, 56));
  for (const size of [0, 1000, 8000, 60000]) {
    fine(await cluster.run(client, "udp", FAR, 8080, size));
  }
});

step("pods reach a service's backend on another node", async (cluster) => {
  const client = cluster.pod(POD);
  const sent = await cluster.node(1).counting("forward_sent", async () => {
    fine(await cluster.run(client, "tcp", VIP.far, 80, 16 * MB, 16 * MB));
  });
  assert(sent > 100, `${sent} packets`);
  assert(cluster.node(1).counter("reply_delivered") > 100);
  for (const size of [0, 1000, 8000]) {
    fine(await cluster.run(client, "udp", VIP.far, 80, size));
  }
});

step("nodes reach pods of other nodes, and pods nodes", async (cluster) => {
  const node = cluster.node(1).self;
  fine(await cluster.run(node, "tcp", FAR, 8080, MB, MB));
  fine(await cluster.run(node, "ping", FAR, 56));
  for (const size of [10, 8000]) fine(await cluster.run(node, "udp", FAR, 8080, size));
  fine(await cluster.run(cluster.pod(POD), "tcp", NODE2, 8080, MB, MB), NODE1);
});

step("a client outside reaches a NodePort's backend on that node, as itself", async (cluster) => {
  const { outside } = cluster;
  const sent = await cluster.node(1).counting("reply_sent", async () => {
    fine(await cluster.run(outside, "tcp", NODE1, NODE_PORT.near, 4 * MB, 4 * MB));
  });
  assert(sent > 10, `${sent} packets`);
  for (const size of [0, 1000, 8000, 60000]) {
    fine(await cluster.run(outside, "udp", NODE1, NODE_PORT.near, size));
  }
});

step("a client outside reaches a NodePort's backend on another node", async (cluster) => {
  const { outside } = cluster;
  for (
    const [node, addr, gateway] of [[1, NODE1, "10.244.1.1"], [3, NODE3, "10.244.3.1"]] as const
  ) {
    const sent = await cluster.node(node).counting("forward_sent", async () => {
      fine(await cluster.run(outside, "tcp", addr, NODE_PORT.far, 4 * MB, 4 * MB), gateway);
    });
    assert(sent > 10, `${sent} packets`);
    for (const size of [0, 1000, 8000, 60000]) {
      fine(await cluster.run(outside, "udp", addr, NODE_PORT.far, size), gateway);
    }
  }
});

step("the same with checksums in software", async (cluster) => {
  const { outside } = cluster;
  for (const host of [outside, cluster.pod(POD), cluster.pod(FAR)]) {
    fine(await cluster.run(host, "txoff", "eth0"));
  }
  fine(await cluster.run(outside, "tcp", NODE1, NODE_PORT.near, MB, MB));
  fine(await cluster.run(outside, "tcp", NODE1, NODE_PORT.far, MB, MB), "10.244.1.1");
  fine(await cluster.run(outside, "udp", NODE1, NODE_PORT.far, 8000), "10.244.1.1");
  fine(await cluster.run(cluster.pod(POD), "tcp", VIP.far, 80, MB, MB));
  fine(await cluster.run(cluster.pod(POD), "tcp", OUTSIDE, 8080, MB, MB), NODE1);
});

step("backends in the networks of nodes", async (cluster) => {
  const { outside } = cluster;
  // Of the node that is asked, with the client's address; of another one, with the node's.
  fine(await cluster.run(outside, "tcp", NODE2, NODE_PORT.host, MB, MB));
  fine(await cluster.run(outside, "tcp", NODE1, NODE_PORT.host, MB, MB), NODE1);
  fine(await cluster.run(outside, "udp", NODE2, NODE_PORT.host, 8000));
  fine(await cluster.run(outside, "udp", NODE1, NODE_PORT.host, 8000), NODE1);
  // From a pod: translated, then masqueraded.
  fine(await cluster.run(cluster.pod(POD), "tcp", VIP.host, 80, MB, MB), NODE1);
  fine(await cluster.run(cluster.pod(POD), "udp", VIP.host, 80, 8000), NODE1);
});

step("pods reach NodePorts at every node, and themselves through them", async (cluster) => {
  const client = cluster.pod(THIRD);
  for (const addr of [NODE1, NODE2, NODE3]) {
    fine(await cluster.run(client, "tcp", addr, NODE_PORT.near, 1000, 1000));
    fine(await cluster.run(client, "udp", addr, NODE_PORT.far, 8000));
  }
  for (const addr of [NODE1, NODE3]) {
    const seen = await cluster.run(cluster.pod(POD), "tcp", addr, NODE_PORT.near, MB, MB);
    fine(seen, "10.244.1.1");
  }
});

step("externalTrafficPolicy Local: local backends or silence", async (cluster) => {
  const frontend = [{ addr: "0.0.0.0", port: 30009, scope: SCOPE.EXTERNAL }];
  const flags = SERVICE_FLAG.LOCAL_ONLY;
  cluster.node(1).serve(frontend, "tcp", [`${POD}:8080`], { flags });
  cluster.node(3).serve(frontend, "tcp", [], { flags });
  fine(await cluster.run(cluster.outside, "tcp", NODE1, 30009, 1000, 1000));
  const dropped = await cluster.node(3).counting("drop_no_local_backend", async () => {
    const syn = tcp({ src: `${OUTSIDE}:999`, dst: `${NODE3}:30009`, flags: "S" });
    await fromOutside(cluster, syn);
  });
  assert.equal(dropped, 1);
});

step("an address that only services have", async (cluster) => {
  const addr = "203.0.113.9";
  const fabric = cluster.router.nl.link("fabric")!.index;
  cluster.router.nl.replaceRoute({ destination: `${addr}/32`, gateway: NODE1, ifindex: fabric });
  const scope = SCOPE.EXTERNAL;
  const node = cluster.node(1);
  node.serve([{ addr, port: 80, scope }], "tcp", [`${FAR}:8080`]);
  node.serve([{ addr, port: 81, scope }], "tcp", [`${POD}:8080`], {
    id: 900,
    flags: SERVICE_FLAG.SOURCE_RANGES,
  });
  node.serviceAddress({ addr, scope });
  const { outside } = cluster;
  fine(await cluster.run(outside, "tcp", addr, 80, MB, MB), "10.244.1.1");
  for (const size of [56, 5000]) fine(await cluster.run(outside, "ping", addr, size), addr);
  assert.deepEqual(await cluster.run(outside, "tcp", addr, 82, 0, 0), REFUSED);
  assert.deepEqual(await cluster.run(outside, "udp", addr, 82, 10), REFUSED);
  node.maps.source_ranges.set({ prefixlen: 32 + 32, service_id: 900, addr: "198.51.100.3" }, 0);
  const syn = tcp({ src: `${OUTSIDE}:999`, dst: `${addr}:81`, flags: "S" });
  assert.equal(await node.counting("drop_source_range", () => fromOutside(cluster, syn)), 1);
  node.maps.source_ranges.set({ prefixlen: 32 + 24, service_id: 900, addr: "198.51.100.0" }, 0);
  fine(await cluster.run(outside, "tcp", addr, 81, 1000, 1000));
});

step("refusals reach the client outside", async (cluster) => {
  const { outside } = cluster;
  assert.deepEqual(await cluster.run(outside, "tcp", NODE1, NODE_PORT.none, 0, 0), REFUSED);
  for (const size of [10, 1400, 8000]) {
    assert.deepEqual(await cluster.run(outside, "udp", NODE1, NODE_PORT.none, size), REFUSED);
  }
});

step("ICMP errors reach those whose flow they are about", async (cluster) => {
  const frontend = (port: number) => [{ addr: "0.0.0.0", port, scope: SCOPE.EXTERNAL }];
  cluster.node(1).serve(frontend(30011), "udp", [`${POD}:9`]);
  cluster.node(1).serve(frontend(30012), "udp", [`${FAR}:9`]);
  cluster.node(2).serve(frontend(30013), "udp", [`${NODE2}:9`]);
  const { outside } = cluster;
  assert.deepEqual(await cluster.run(outside, "udp", NODE1, 30011, 100), REFUSED, "local");
  assert.deepEqual(await cluster.run(outside, "udp", NODE1, 30012, 100), REFUSED, "remote");
  assert.deepEqual(await cluster.run(outside, "udp", NODE2, 30013, 100), REFUSED, "host");
  assert.deepEqual(await cluster.run(cluster.pod(POD), "udp", OUTSIDE, 9, 100), REFUSED, "pod");
  assert.deepEqual(await cluster.run(cluster.pod(POD), "udp", FAR, 9, 100), REFUSED, "far pod");
});

step("pods reach the world as their node", async (cluster) => {
  const masqueraded = await cluster.node(1).counting("masqueraded", async () => {
    fine(await cluster.run(cluster.pod(POD), "tcp", OUTSIDE, 8080, 4 * MB, 4 * MB), NODE1);
  });
  assert(masqueraded > 100, `${masqueraded} packets`);
  for (const size of [0, 1000, 8000]) {
    fine(await cluster.run(cluster.pod(POD), "udp", OUTSIDE, 8080, size), NODE1);
  }
  for (const size of [56, 5000]) fine(await cluster.run(cluster.pod(POD), "ping", OUTSIDE, size));
  // Two pods, one source port.
  const both = await Promise.all(
    [POD, NEIGHBOUR].map((addr) =>
      cluster.run(cluster.pod(addr), "tcp", OUTSIDE, 8080, MB, MB, 45000)
    ),
  );
  for (const seen of both) fine(seen, NODE1);
  assert.notEqual(both[0]!.peer, both[1]!.peer);
});

step(
  "the world reaches pods that it has a route to, and hears them under their own name",
  async (cluster) => {
    const fabric = cluster.router.nl.link("fabric")!.index;
    const route = { destination: "10.244.1.0/24", gateway: NODE1, ifindex: fabric };
    cluster.router.nl.addRoute(route);
    try {
      fine(await cluster.run(cluster.outside, "tcp", POD, 8080, MB, MB));
      fine(await cluster.run(cluster.outside, "udp", POD, 8080, 8000));
      fine(await cluster.run(cluster.outside, "ping", POD, 56), POD);
    } finally {
      cluster.router.nl.delRoute(route);
    }
  },
);

step("masquerade that runs out of ports says so, and recovers", async (cluster) => {
  const { maps } = cluster.node(1);
  const config = maps.config.get(0)!;
  maps.sessions.deleteBatch(maps.sessions.keys());
  maps.config.set(0, { ...config, snat_first: 20000, snat_last: 20001 });
  try {
    for (const sport of [45001, 45002]) {
      fine(await cluster.run(cluster.pod(POD), "tcp", OUTSIDE, 8080, 10, 10, sport), NODE1);
    }
    const syn = { dst: `${OUTSIDE}:8080`, flags: "S" };
    const dropped = await cluster.node(1).counting("drop_ports_exhausted", async () => {
      await fromPod(cluster, tcp({ ...syn, src: `${POD}:45003` }));
    });
    assert.equal(dropped, 1);
  } finally {
    maps.config.set(0, config);
  }
  fine(await cluster.run(cluster.pod(POD), "tcp", OUTSIDE, 8080, 10, 10, 45003), NODE1);
});

step("path MTU with a smaller link on the way to the world", async (cluster) => {
  const { outside, router } = cluster;
  // The client does not know of the link: only the router tells.
  const link = router.nl.link("world")!.index;
  router.nl.setLink(link, { mtu: 1300 });
  try {
    for (
      const [name, reason, peer] of [
        ["near", "icmp_error_delivered", OUTSIDE],
        ["far", "icmp_error_sent", "10.244.1.1"],
      ] as const
    ) {
      const told = await cluster.node(1).counting(reason, async () => {
        fine(await cluster.run(outside, "tcp", NODE1, NODE_PORT[name], 1000, MB), peer);
      });
      assert(told > 0, `${name}: no path MTU discovery has happened`);
    }
    const seen = await cluster.run(cluster.pod(NEIGHBOUR), "pmtu", OUTSIDE, 8080, 1400);
    assert.deepEqual(seen, { ok: true, mtu: 1300 });
    fine(await cluster.run(cluster.pod(NEIGHBOUR), "tcp", OUTSIDE, 8080, MB, MB), NODE1);
  } finally {
    router.nl.setLink(link, { mtu: 1500 });
  }
});

step("replies leave by the uplink that the client came in by", async (cluster) => {
  const node = cluster.node(1);
  const addr = "203.0.113.130";
  node.secondUplink(cluster.router, addr, "203.0.113.129");
  const { outside } = cluster;
  for (const [name, peer] of [["near", OUTSIDE], ["far", "10.244.1.1"]] as const) {
    fine(await cluster.run(outside, "tcp", addr, NODE_PORT[name], MB, MB), peer);
    fine(await cluster.run(outside, "udp", addr, NODE_PORT[name], 8000), peer);
  }
  await cluster.serve(node.self, "tcp", 8080);
  node.serve([{ addr: "0.0.0.0", port: 30021, scope: SCOPE.EXTERNAL }], "tcp", [`${NODE1}:8080`]);
  fine(await cluster.run(outside, "tcp", addr, 30021, MB, MB), OUTSIDE);
});

/** Sends a frame that the outside host makes, through the router. */
async function fromOutside(cluster: Cluster, frame: Uint8Array): Promise<void> {
  await sendFrame(cluster, cluster.outside, cluster.router.nl.link("world")!.mac, frame);
}

/** Sends a frame of the pod to its gateway. */
async function fromPod(cluster: Cluster, frame: Uint8Array): Promise<void> {
  const { mac } = cluster.node(1).self.nl.link("pcnk0")!;
  await sendFrame(cluster, cluster.pod(POD), mac, frame);
}

async function sendFrame(
  cluster: Cluster,
  host: Cluster["outside"],
  to: string,
  frame: Uint8Array,
): Promise<void> {
  const addressed = frame.slice();
  const from = host.nl.link("eth0")!.mac;
  [to, from].forEach((mac, i) => addressed.set(Uint8Array.fromHex(mac.replaceAll(":", "")), 6 * i));
  fine(await cluster.run(host, "frames", "eth0", addressed.toHex()));
}

const overlayOnly = new Map<string, Step>([
  ["pods whose packets are too big for the overlay hear of it", async (cluster) => {
    const pod = cluster.pod(NEIGHBOUR);
    const node = cluster.node(1);
    const outer = node.self.nl.links().find(({ name }) => name === "veth3")!.index;
    for (
      const [nl, ifindex] of [[pod.nl, pod.nl.link("eth0")!.index], [node.self.nl, outer]] as const
    ) {
      nl.setLink(ifindex, { mtu: 1500 });
    }
    const big = await node.counting("pass_too_big", async () => {
      assert.deepEqual(await cluster.run(pod, "pmtu", FAR, 8080, 1460), { ok: true, mtu: 1450 });
      fine(await cluster.run(pod, "tcp", FAR, 8080, MB, MB));
    });
    assert(big > 0);
  }],
  [
    "datagrams from outside that are too big for the overlay are answered or cut",
    async (cluster) => {
      assert.deepEqual(await cluster.run(cluster.outside, "pmtu", NODE1, NODE_PORT.far, 1460), {
        ok: true,
        mtu: 1450,
      });
      assert(cluster.node(1).counter("replied_too_big") > 0);
    },
  ],
  ["another overlay's packets are not let in", async (cluster) => {
    const inner = udp({ src: "10.244.2.2:1", dst: `${POD}:9` });
    const vxlan = (vni: number) => `08000000${vni.toString(16).padStart(6, "0")}00${inner.toHex()}`;
    const foreign = await cluster.node(1).counting("drop_unknown_vni", async () => {
      fine(await cluster.run(cluster.node(2).self, "datagram", NODE1, 4789, vxlan(43)));
    });
    assert.equal(foreign, 1);
    const own = await cluster.node(1).counting("direct_delivered", async () => {
      fine(await cluster.run(cluster.node(2).self, "datagram", NODE1, 4789, vxlan(42)));
    });
    assert(own >= 1);
  }],
  ["only nodes of the cluster speak to the overlay", async (cluster) => {
    const node = cluster.node(1);
    const inner = udp({ src: "10.244.2.2:1", dst: `${POD}:9` });
    const vxlan = `0800000000002a00${inner.toHex()}`;
    const send = async () =>
      fine(await cluster.run(cluster.outside, "datagram", NODE1, 4789, vxlan));
    assert.equal(await node.counting("drop_unknown_vtep", send), 1);
    // That of a node behind NAT.
    node.maps.vteps.set({ addr: OUTSIDE }, vtep(2));
    try {
      assert.equal(await node.counting("drop_unknown_vtep", send), 0);
      assert(await node.counting("direct_delivered", send) >= 1);
      node.maps.vteps.set({ addr: OUTSIDE }, { ...vtep(2), pod_mask: "0.0.0.0" });
      assert(await node.counting("direct_delivered", send) >= 1);
      // Several nodes are behind it, but neither this one nor its pods.
      for (const src of ["10.244.1.3", NODE1, OUTSIDE, "127.0.0.1"]) {
        const packet = udp({ src: `${src}:1`, dst: `${POD}:9` });
        const args = ["datagram", NODE1, 4789, `0800000000002a00${packet.toHex()}`] as const;
        const forge = async () => fine(await cluster.run(cluster.outside, ...args));
        const expected = src === OUTSIDE ? 0 : 1; // the outer address itself
        assert.equal(await node.counting("drop_tunnel_source", forge), expected, src);
      }
    } finally {
      node.maps.vteps.delete({ addr: OUTSIDE });
    }
  }],
  ["a node speaks for its own pods only", async (cluster) => {
    const [node, other] = [cluster.node(1), cluster.node(2)];
    const send = (src: string) => async () => {
      const inner = udp({ src: `${src}:1`, dst: `${POD}:9` });
      const vxlan = `0800000000002a00${inner.toHex()}`;
      fine(await cluster.run(other.self, "datagram", NODE1, 4789, vxlan));
    };
    for (const src of ["10.244.3.2", "10.244.1.2", "10.244.1.9", NODE1, OUTSIDE, "127.0.0.1"]) {
      assert.equal(await node.counting("drop_tunnel_source", send(src)), 1, src);
    }
    for (const src of ["10.244.2.2", "10.244.2.1", other.addr]) {
      assert.equal(await node.counting("drop_tunnel_source", send(src)), 0, src);
    }
  }],
  ["no device writes a checksum over what a node says", async (cluster) => {
    const [node, other] = [cluster.node(1), cluster.node(2)];
    const macs = {
      ethSrc: other.self.nl.link("eth0")!.mac,
      ethDst: node.self.nl.link("eth0")!.mac,
    };
    const inner = udp({ src: "10.244.2.2:1", dst: `${POD}:9`, payload: pattern(64) });
    const payload = concat(Uint8Array.fromHex("0800000000002a00"), inner);
    const frame = udp({ src: `${other.addr}:1`, dst: `${NODE1}:4789`, payload, ...macs }).toHex();
    /** From the inner IP header on. */
    const send = (start: number, offset: number) => async () => {
      const argv = [PYTHON, FRAMES, "send", "eth0"];
      const args = ["netns", "exec", other.self.name, ...argv];
      const child = new Deno.Command("ip", { args, stdin: "piped", stdout: "null" }).spawn();
      const line = new Blob([`${14 + 28 + 8 + 14 + start}:${offset}:${frame}`]);
      await line.stream().pipeTo(child.stdin);
      assert.equal((await child.status).code, 0);
    };
    const forged = [[0, 12], [12, 0], [14, 0], [16, 0], [20, 0], [20, 2]] as const;
    for (const [start, offset] of csumTold() ? forged : []) {
      assert.equal(
        await node.counting("drop_checksum", send(start, offset)),
        1,
        `${start},${offset}`,
      );
    }
    assert.equal(await node.counting("drop_checksum", send(20, 6)), 0);
    assert(await node.counting("direct_delivered", send(20, 6)) >= 1);
  }],
]);

for (const routing of ["overlay", "direct"] as RoutingMode[]) {
  for (const mode of ["tcx", "clsact"] as const) {
    Deno.test({
      name: `k8sdispatcher (${routing}, ${mode})`,
      ignore: !available || (mode === "tcx" && !tcx),
      async fn(t) {
        await using cluster = new Cluster({ mode, routing });
        await prepare(cluster);
        const all = routing === "overlay" ? [...steps, ...overlayOnly] : steps;
        for (const [name, run] of all) await t.step(name, () => run(cluster));
      },
    });
  }
}
