/** Source ports of flows that get an address of this node: free on all sides, or none. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { PROTO, tcp, udp } from "../../support/packet.ts";
import { external, IN, NODE, OUTSIDE } from "../../support/node.ts";
import { CLIENT, LOCAL, REMOTE, test } from "../../support/scene.ts";
import type { World } from "../../support/world.ts";

const MASQUERADE = 1;
const world = `${OUTSIDE}:443`;

/** A pod's flow to the world; the port it got, or undefined when it was dropped. */
function open(w: World, src: string, dst = world, proto: number = PROTO.TCP): number | undefined {
  const packet = proto === PROTO.TCP ? tcp({ src, dst, flags: "S" }) : udp({ src, dst });
  const { verdict } = w.run(packet, "k8sd_to_uplink");
  const session = w.session({ src, dst, proto, zone: MASQUERADE });
  assert.equal(verdict === 2, session === undefined);
  return session?.sport;
}

test("snat_claim() gives each flow to one far end a port of its own", (w) => {
  w.configure({ snat_first: 20000, snat_last: 29999 });
  const ports = Array.from({ length: 500 }, (_, i) => open(w, `${CLIENT}:${1000 + i}`));
  assert.equal(new Set(ports).size, 500);
  assert(ports.every((port) => port! >= 20000 && port! <= 29999));
});

test("snat_claim() uses a range to its last port, and counts those it cannot serve", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20007 });
  const ports = Array.from({ length: 8 }, (_, i) => open(w, `${CLIENT}:${1000 + i}`));
  assert.deepEqual(ports.sort(), [20000, 20001, 20002, 20003, 20004, 20005, 20006, 20007]);
  w.check({
    program: "k8sd_to_uplink",
    packet: tcp({ src: `${CLIENT}:2000`, dst: world, flags: "S" }),
    reason: "drop_ports_exhausted",
  });
  // Another far end, or another protocol, is another matter.
  assert(open(w, `${CLIENT}:2000`, `${OUTSIDE}:444`));
  assert(open(w, `${CLIENT}:2000`, world, PROTO.UDP));
});

test("snat_claim() tries another port each time, whatever the range", (w) => {
  // 32 are tried: while no more than 31 are taken, each flow finds a free one.
  for (const count of [33, 35, 39, 45, 51, 63, 64, 96, 105, 257, 514]) {
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    w.configure({ snat_first: 20000, snat_last: 20000 + count - 1 });
    const ports = Array.from({ length: 32 }, (_, i) => open(w, `${CLIENT}:${1000 + i}`));
    assert.equal(ports.filter((port) => port === undefined).length, 0, `${count} ports`);
    assert.equal(new Set(ports).size, 32);
  }
});

test("snat_claim() shares ports between masquerade and flows of clients outside", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20000, snat_addr: NODE });
  external(w, "0.0.0.0:30080", [`${REMOTE}:443`]);
  w.run(
    tcp({ src: `${OUTSIDE}:50000`, dst: `${NODE}:30080`, flags: "S", ...IN }),
    "k8sd_from_uplink",
  );
  w.maps.no_masquerade.deleteBatch(w.maps.no_masquerade.keys());
  assert.equal(open(w, `${CLIENT}:1000`, `${REMOTE}:443`), undefined);
  assert.equal(open(w, `${CLIENT}:1000`, `${REMOTE}:444`), 20000);
});

test("snat_claim() takes over the port of a flow that is over", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20000 });
  const first = { src: `${CLIENT}:1000`, dst: world, zone: MASQUERADE };
  assert.equal(open(w, first.src), 20000);
  assert.equal(open(w, `${LOCAL}:1000`), undefined);
  w.age(first, 65);
  w.age({ src: world, dst: `${NODE}:20000` }, 65);
  assert.equal(open(w, `${LOCAL}:1000`), 20000);
  // And the first one, when it goes on, finds itself out.
  w.check({
    program: "k8sd_to_uplink",
    packet: tcp({ src: first.src, dst: world, flags: "A" }),
    reason: "drop_ports_exhausted",
  });
});

/** Ends the flow of `src` that has this port: F the client's FIN, f the far end's, R a reset of the client. */
function end(w: World, src: string, port: number, how: string): void {
  for (const step of how) {
    if (step === "f") {
      w.run(tcp({ src: world, dst: `${NODE}:${port}`, flags: "FA", ...IN }), "k8sd_from_uplink");
    } else w.run(tcp({ src, dst: world, flags: step === "F" ? "FA" : "R" }), "k8sd_to_uplink");
  }
}

/** Removes all flows. */
function forget(w: World): void {
  for (const map of [w.maps.assured, w.maps.sessions]) map.deleteBatch(map.keys());
  w.forgetScarcePorts();
}

/** A source of `pod` whose flow gets port 20000 when that is free. */
function wanting(w: World, pod: string): string {
  for (let port = 1000; port < 1100; port++) {
    forget(w);
    if (open(w, `${pod}:${port}`) === 20000) return `${pod}:${port}`;
  }
  throw new Error("none of a hundred begins there");
}

/** After how many seconds another flow gets the port of one that ended so. */
function rest(w: World, how: string): number {
  const [first, second] = [wanting(w, CLIENT), wanting(w, LOCAL)];
  const forward = { src: first, dst: world, zone: MASQUERADE };
  const reply = { src: world, dst: `${NODE}:20000` };
  for (const seconds of [0, 0.5, 1.5, 9, 11, 119, 121]) {
    forget(w);
    assert.equal(open(w, first), 20000);
    w.run(tcp({ ...reply, flags: "SA", ...IN }), "k8sd_from_uplink");
    w.run(tcp({ src: first, dst: world, flags: "A" }), "k8sd_to_uplink");
    w.age(forward, 0.9); // what counts is when it ended
    w.age(reply, 0.9);
    end(w, first, 20000, how);
    w.age(forward, seconds);
    w.age(reply, seconds);
    if (open(w, second) === 20000) return seconds;
  }
  throw new Error(`never free: ${how}`);
}

test("port_time_wait() keeps a port as long as the far end may know the connection", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20001 });
  assert.equal(rest(w, "Ff"), 1.5, "the client was first to close: no TIME-WAIT at the far end");
  assert.equal(rest(w, "fF"), 121, "the far end was");
  assert.equal(rest(w, "R"), 11, "a reset");
  assert.equal(rest(w, "FR"), 11, "a reset after the client's FIN");
});

test("port_time_wait() lets the last tries have any port that rested for a second", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20000 });
  for (const how of ["Ff", "fF", "R"]) assert.equal(rest(w, how), 1.5, how);
});

test("reply_alive() leaves a connection its port that one side has closed", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20000 });
  for (const how of ["F", "f"]) assert.throws(() => rest(w, how), /never free/, how);
});

test("port_reserved() keeps away from NodePorts and services of this node", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20003 });
  external(w, "0.0.0.0:20000", [`${LOCAL}:1`]);
  external(w, `${NODE}:20002`, [`${LOCAL}:1`], { id: 2 });
  const ports = [1000, 1001].map((port) => open(w, `${CLIENT}:${port}`));
  assert.deepEqual(ports.sort(), [20001, 20003]);
  assert.equal(open(w, `${CLIENT}:1002`), undefined);
  // They are TCP's only.
  assert.equal(new Set([1, 2, 3, 4].map((i) => open(w, `${CLIENT}:${i}`, world, 17))).size, 4);
});

test("port_reserved() keeps away from the tunnel's port", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20001, overlay_port: 20000 });
  assert.equal(open(w, `${CLIENT}:1000`, world, PROTO.UDP), 20001);
  assert.equal(open(w, `${CLIENT}:1001`, world, PROTO.UDP), undefined);
});

test("port_reserved() keeps away from sockets of the node's own processes", async (w) => {
  using tcpSocket = Deno.listen({ hostname: "0.0.0.0", port: 0 });
  const { port } = tcpSocket.addr as Deno.NetAddr;
  w.configure({ snat_first: port, snat_last: port });
  assert.equal(open(w, `${CLIENT}:1000`), undefined);
  const udpSocket = createSocket("udp4").bind(0);
  try {
    await once(udpSocket, "listening");
    const { port } = udpSocket.address();
    w.configure({ snat_first: port, snat_last: port });
    assert.equal(open(w, `${CLIENT}:1000`, world, PROTO.UDP), undefined);
  } finally {
    udpSocket.close();
  }
});

test("snat_claim() gives a flow that was forgotten its port again", (w) => {
  w.configure({ snat_first: 1024, snat_last: 29999 });
  for (let i = 0; i < 20; i++) {
    const src = `${CLIENT}:${40000 + i}`;
    const port = open(w, src);
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    w.run(tcp({ src, dst: world, flags: "A" }), "k8sd_to_uplink");
    assert.equal(w.session({ src, dst: world, zone: MASQUERADE })?.sport, port);
  }
});

test("snat_claim() stays in the default range when none is configured", (w) => {
  w.configure({ snat_first: 0, snat_last: 0 });
  for (let i = 0; i < 200; i++) {
    const port = open(w, `${CLIENT}:${1000 + i}`)!;
    assert(port >= 1024 && port <= 29999, `${port}`);
  }
});
