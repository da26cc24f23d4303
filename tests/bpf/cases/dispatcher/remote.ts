/** Clients outside, backends elsewhere: this node stands in for the client. */
import assert from "node:assert/strict";
import { REMOTE_MODE, SESSION_FLAG } from "../../../../src/bpf/layout.ts";
import { PROTO, tcp, text, udp } from "../../support/packet.ts";
import {
  direct,
  external,
  FORWARDED,
  GATEWAY,
  IN,
  NODE,
  OTHER_NODE,
  OUTSIDE,
  PORTS,
  TO_PEER,
} from "../../support/node.ts";
import { REMOTE, test } from "../../support/scene.ts";
import { UPLINK, type World } from "../../support/world.ts";

const program = "k8sd_from_uplink";
const client = `${OUTSIDE}:50000`;
const nodePort = `${NODE}:30080`;
const backend = `${REMOTE}:8080`;
const ANY = "0.0.0.0:30080";

/** Where the client's flow comes from, for the backend. */
function standIn(w: World, src = client, dst = nodePort, proto: number = PROTO.TCP): string {
  const session = w.session({ src, dst, proto });
  assert(session, "no session");
  return `${session.src}:${session.sport}`;
}

for (const routing of ["overlay", "direct"] as const) {
  // Directly, the kernel addresses the frame, as on the way to the client.
  const onward = routing === "overlay" ? TO_PEER : FORWARDED;
  const from = routing === "overlay" ? "k8sd_from_overlay" : "k8sd_from_uplink";

  test(`forward_snat() sends a client's flow to another node's pod (${routing})`, (w) => {
    if (routing === "direct") direct(w);
    external(w, ANY, [backend]);
    w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
    const source = standIn(w);
    const [addr, port] = source.split(":");
    assert.equal(addr, GATEWAY);
    assert(Number(port) >= PORTS.snat_first && Number(port) <= PORTS.snat_last, port);
    w.check({
      program,
      packet: tcp({ src: client, dst: nodePort, flags: "PA", payload: text("GET"), ...IN }),
      out: tcp({ src: source, dst: backend, flags: "PA", payload: text("GET"), ...onward }),
      reason: "forward_sent",
      events: [],
    });
  });

  test(`reply_inbound() gives the client outside its answer (${routing})`, (w) => {
    if (routing === "direct") direct(w);
    external(w, ANY, [backend]);
    w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
    w.check({
      program: from,
      packet: tcp({ src: backend, dst: standIn(w), flags: "SA", ...IN }),
      out: tcp({ src: nodePort, dst: client, flags: "SA", ...FORWARDED }),
      reason: "reply_sent",
      events: [],
    });
  });

  test(`forward_snat() carries UDP both ways (${routing})`, (w) => {
    if (routing === "direct") direct(w);
    external(w, "0.0.0.0:30053", [`${REMOTE}:5353`], { proto: PROTO.UDP });
    const dst = `${NODE}:30053`;
    for (const checksum of [undefined, "none"] as const) {
      const src = `${OUTSIDE}:${checksum ? 50001 : 50002}`;
      w.run(udp({ src, dst, checksum, ...IN }), program);
      const source = standIn(w, src, dst, PROTO.UDP);
      w.check({
        program,
        packet: udp({ src, dst, checksum, ...IN }),
        out: udp({ src: source, dst: `${REMOTE}:5353`, checksum, ...onward }),
        reason: "forward_sent",
      });
      w.check({
        program: from,
        packet: udp({ src: `${REMOTE}:5353`, dst: source, checksum, ...IN }),
        out: udp({ src: dst, dst: src, checksum, ...FORWARDED }),
        reason: "reply_sent",
      });
    }
  });
}

test("snat_source() marks the session, and both entries know the uplink", (w) => {
  external(w, ANY, [backend], { id: 9 });
  w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
  const forward = w.session({ src: client, dst: nodePort })!;
  const reply = w.session({ src: backend, dst: standIn(w) })!;
  assert.deepEqual([forward.flags, forward.ifindex, forward.service_id], [
    SESSION_FLAG.SNAT,
    UPLINK,
    9,
  ]);
  assert.deepEqual([reply.flags, reply.ifindex], [SESSION_FLAG.SNAT | SESSION_FLAG.REPLY, UPLINK]);
});

test("service_inbound() drops when this node has no address on the pod network", (w) => {
  w.configure({ snat_addr: "0.0.0.0" });
  external(w, ANY, [backend]);
  w.check({
    program,
    packet: tcp({ src: client, dst: nodePort, flags: "S", ...IN }),
    reason: "drop_no_snat_address",
    events: [],
  });
  assert.deepEqual(w.sessions(), []);
});

test("service_inbound() stands in for clients of pods that the node's routes reach", (w) => {
  w.remote("10.2.0.0/16", {
    via: "0.0.0.0",
    ifindex: 0,
    vni: 0,
    mtu: 0,
    mode: REMOTE_MODE.ROUTED,
    mac: "00:00:00:00:00:00",
  });
  external(w, ANY, [backend]);
  // The loopback device leads nowhere.
  w.check({
    program,
    packet: tcp({ src: client, dst: nodePort, flags: "S", ...IN }),
    reason: "drop_no_route",
  });
  assert.match(standIn(w), new RegExp(`^${GATEWAY}:`));
});

test("session_refresh() brings the other entry of such a flow back whole", (w) => {
  external(w, ANY, [backend]);
  w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
  const reply = { src: backend, dst: standIn(w) };
  const { last_seen: _, ...before } = w.session(reply)!;
  w.maps.sessions.deleteBatch([w.key(reply)]);
  w.age({ src: client, dst: nodePort }, 2);
  w.run(tcp({ src: client, dst: nodePort, flags: "A", ...IN }), program);
  const { last_seen: __, ...after } = w.session(reply)!;
  assert.deepEqual(after, before);
});

test("reply_inbound() passes a backend's packet of no flow", (w) => {
  external(w, ANY, [backend]);
  w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
  for (const from of ["k8sd_from_overlay", "k8sd_from_uplink"] as const) {
    w.check({
      program: from,
      packet: tcp({ src: backend, dst: `${GATEWAY}:1`, flags: "SA", ...IN }),
      reason: "pass_no_service",
    });
  }
});

test("k8sd_from_overlay() takes no client's packet of a flow from the uplink", (w) => {
  external(w, ANY, [backend]);
  w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
  w.check({
    program: "k8sd_from_overlay",
    packet: tcp({ src: client, dst: nodePort, flags: "A", ...IN }),
    reason: "pass_no_service",
  });
});

test("k8sd_to_uplink() lets replies pass that are translated already", (w) => {
  external(w, ANY, [backend]);
  w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
  w.check({
    program: "k8sd_to_uplink",
    packet: tcp({ src: nodePort, dst: client, flags: "SA" }),
    reason: "pass_no_session",
  });
  // And so the node's own packets to another node.
  w.check({
    program: "k8sd_to_uplink",
    packet: tcp({ src: `${NODE}:1000`, dst: `${OTHER_NODE}:6443`, flags: "S" }),
    reason: "pass_no_session",
  });
});
