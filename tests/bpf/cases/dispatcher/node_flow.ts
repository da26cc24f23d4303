/** The node's own flows from ports that Services have, and pods' flows that came by the stack. */
import assert from "node:assert/strict";
import { SCOPE, SESSION_FLAG, SESSION_STATE, SESSION_ZONE } from "../../../../src/bpf/layout.ts";
import { CODE, ICMP, icmpError, PROTO, tcp, udp } from "../../support/packet.ts";
import { external, IN, into, NODE, OTHER_NODE, OUTSIDE } from "../../support/node.ts";
import { UPLINK } from "../../support/world.ts";
import { CLIENT, INTO_LOCAL, LOCAL, LOCAL_MAC, test } from "../../support/scene.ts";

const out = "k8sd_to_uplink", back = "k8sd_from_uplink", intoPod = "lbrp_to_pod";
const own = `${NODE}:30080`, world = `${OUTSIDE}:53`;
const MASQUERADE = SESSION_ZONE.MASQUERADE;

test("node_flow_note() keeps replies to the node's own datagrams from a NodePort's Service", (w) => {
  external(w, "0.0.0.0:30080", [`${LOCAL}:8080`], { proto: PROTO.UDP });
  const events = ["event_session_created"] as const;
  w.check({
    program: out,
    packet: udp({ src: own, dst: world }),
    reason: "pass_no_session",
    events,
  });
  w.check({
    program: out,
    packet: udp({ src: own, dst: world }),
    reason: "pass_no_session",
    events: [],
  });
  const reply = udp({ src: world, dst: own, ...IN });
  w.check({ program: back, packet: reply, reason: "pass_node_flow" });
  // Another client's is the Service's.
  const other = `${OUTSIDE}:54`;
  w.check({
    program: back,
    packet: udp({ src: other, dst: own, ...IN }),
    out: udp({ src: other, dst: `${LOCAL}:8080`, ...into(LOCAL_MAC) }),
    reason: "forward_delivered",
  });
});

test("node_flow_note() notes a container's connection that runs as a Service takes its port, also at an external IP", (w) => {
  for (const frontend of ["0.0.0.0:30080", own]) {
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    external(w, frontend, [`${LOCAL}:8080`]);
    w.check({
      program: out,
      packet: tcp({ src: own, dst: world, flags: "A" }),
      reason: "pass_no_session",
      ingress: UPLINK, // masqueraded by netfilter; a socket of the node is looked up
    });
    w.check({
      program: back,
      packet: tcp({ src: world, dst: own, flags: "PA", ...IN }),
      reason: "pass_node_flow",
    });
    const syn = tcp({ src: world, dst: own, flags: "S", ...IN });
    w.check({ program: back, packet: syn, reason: "pass_node_flow" });
    w.run(tcp({ src: world, dst: own, flags: "R", ...IN }), back);
    // It is over: a SYN opens a connection to the Service.
    w.check({
      program: back,
      packet: syn,
      out: tcp({ src: world, dst: `${LOCAL}:8080`, flags: "S", ...into(LOCAL_MAC) }),
      reason: "forward_delivered",
    });
    w.removeService(frontend, PROTO.TCP, 1);
  }
});

test("node_flow_note() leaves ports alone that no Service has", (w) => {
  external(w, "0.0.0.0:30081", [`${LOCAL}:8080`], { proto: PROTO.UDP });
  w.check({
    program: out,
    packet: udp({ src: own, dst: world }),
    reason: "pass_no_session",
    events: [],
  });
  assert.deepEqual(w.sessions(), []);
});

test("a noted flow does not replace a Service's session", (w) => {
  external(w, "0.0.0.0:30080", [`${LOCAL}:8080`], { proto: PROTO.UDP });
  w.run(udp({ src: world, dst: own, ...IN }), back);
  w.run(udp({ src: own, dst: world }), out);
  w.check({
    program: back,
    packet: udp({ src: world, dst: own, ...IN }),
    out: udp({ src: world, dst: `${LOCAL}:8080`, ...into(LOCAL_MAC) }),
    reason: "forward_delivered",
  });
});

test("stack_note() notes what comes into a pod by the stack, and its reply goes back by it", (w) => {
  const client = `${OUTSIDE}:50000`, pod = `${CLIENT}:8080`;
  for (
    const [flags, state] of [["S", SESSION_STATE.NEW], ["A", SESSION_STATE.ESTABLISHED]] as const
  ) {
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    w.check({
      program: intoPod,
      packet: tcp({ src: client, dst: pod, flags }),
      reason: "pass_no_session",
    });
    const noted = w.session({ src: pod, dst: client, zone: MASQUERADE })!;
    assert.equal(noted.state, state);
    assert.equal(noted.flags, SESSION_FLAG.MASQUERADE | SESSION_FLAG.STACK);
    w.check({
      packet: tcp({ src: pod, dst: client, flags: "A" }),
      reason: "pass_no_service",
      events: [],
    });
    const after = w.session({ src: pod, dst: client, zone: MASQUERADE })!;
    assert.equal(after.state, SESSION_STATE.ESTABLISHED);
  }
});

test("stack_note() does not note the node's own flows", (w) => {
  w.check({
    program: intoPod,
    packet: tcp({ src: `${NODE}:40000`, dst: `${CLIENT}:8080`, flags: "S" }),
    reason: "pass_no_session",
    events: [],
  });
});

test("icmp_error_inbound() leaves errors about the node's own flow to the node", (w) => {
  external(w, "0.0.0.0:30080", [`${LOCAL}:8080`], { proto: PROTO.UDP });
  const sent = udp({ src: own, dst: world });
  w.run(sent, out);
  const error = icmpError({
    src: OUTSIDE,
    dst: NODE,
    type: ICMP.UNREACHABLE,
    code: CODE.PORT,
    about: sent,
    ...IN,
  });
  w.check({ program: back, packet: error, reason: "icmp_error_routed" });
});

test("service_of() leaves a pod's reply to another node's own connection from a NodePort alone", (w) => {
  const peer = `${OTHER_NODE}:30080`, pod = `${CLIENT}:8080`;
  for (const scope of [SCOPE.CLUSTER, SCOPE.EXTERNAL]) {
    external(w, "0.0.0.0:30080", [`${LOCAL}:8080`], { scope });
  }
  w.maps.no_masquerade.set({ prefixlen: 24, addr: "192.0.2.0" }, 0);
  w.run(tcp({ src: peer, dst: pod, flags: "S", ...IN }), back);
  w.check({
    packet: tcp({ src: pod, dst: peer, flags: "SA" }),
    reason: "pass_no_service",
    events: [],
  });
  // A pod's own connection is for the Service.
  w.check({
    packet: tcp({ src: `${CLIENT}:40000`, dst: peer, flags: "S" }),
    out: tcp({ src: `${CLIENT}:40000`, dst: `${LOCAL}:8080`, flags: "S", ...INTO_LOCAL }),
    reason: "forward_delivered",
  });
});
