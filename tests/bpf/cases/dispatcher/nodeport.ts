/** Clients outside, backends on this node: the client's address stays. */
import assert from "node:assert/strict";
import { SCOPE, SERVICE_FLAG } from "../../../../src/bpf/layout.ts";
import { PROTO, tcp, text, udp } from "../../support/packet.ts";
import { external, IN, into, LEAVING, NODE, OTHER_NODE, OUTSIDE } from "../../support/node.ts";
import { CLIENT, FROM_LOCAL, INTO_LOCAL, LOCAL, LOCAL_MAC, test } from "../../support/scene.ts";
import { UPLINK } from "../../support/world.ts";

const program = "k8sd_from_uplink";
const client = `${OUTSIDE}:50000`;
const nodePort = `${NODE}:30080`;
const backend = `${LOCAL}:8080`;
const ANY = "0.0.0.0:30080";

test("service_inbound() leads a NodePort's client to a pod of this node as itself", (w) => {
  external(w, ANY, [backend]);
  for (const [flags, events] of [["S", ["event_session_created"]], ["A", []]] as const) {
    w.check({
      program,
      packet: tcp({ src: client, dst: nodePort, flags, ...IN }),
      out: tcp({ src: client, dst: backend, flags, ...into(LOCAL_MAC) }),
      reason: "forward_delivered",
      events: [...events],
    });
  }
});

test("lbrp_from_pod() sends the reply to a client outside by the client's uplink", (w) => {
  external(w, ANY, [backend]);
  w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
  assert.equal(w.session({ src: backend, dst: client })?.ifindex, UPLINK);
  w.check({
    packet: tcp({ src: backend, dst: client, flags: "SA", ...FROM_LOCAL }),
    out: tcp({ src: nodePort, dst: client, flags: "SA", ...FROM_LOCAL, ...LEAVING }),
    reason: "reply_sent",
    events: [],
  });
});

test("service_inbound() serves UDP both ways, with and without checksum", (w) => {
  external(w, "0.0.0.0:30053", [`${LOCAL}:5353`], { proto: PROTO.UDP });
  for (const checksum of [undefined, "none"] as const) {
    const src = `${OUTSIDE}:${checksum ? 50001 : 50002}`;
    const rest = { payload: text("odd"), checksum };
    w.check({
      program,
      packet: udp({ src, dst: `${NODE}:30053`, ...rest, ...IN }),
      out: udp({ src, dst: `${LOCAL}:5353`, ...rest, ...into(LOCAL_MAC) }),
      reason: "forward_delivered",
    });
    w.check({
      packet: udp({ src: `${LOCAL}:5353`, dst: src, ...rest, ...FROM_LOCAL }),
      out: udp({ src: `${NODE}:30053`, dst: src, ...rest, ...FROM_LOCAL, ...LEAVING }),
      reason: "reply_sent",
    });
  }
});

test("address_inbound() takes NodePorts at this node's addresses only", (w) => {
  external(w, ANY, [backend]);
  for (const addr of [OTHER_NODE, "192.0.2.99", "10.96.0.10"]) {
    w.check({
      program,
      packet: tcp({ src: client, dst: `${addr}:30080`, flags: "S", ...IN }),
      reason: "pass_no_service",
    });
  }
});

test("address_inbound() takes an external address before a NodePort of the node", (w) => {
  external(w, ANY, [`${CLIENT}:1`]);
  external(w, nodePort, [backend], { id: 2 });
  w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
  assert.equal(w.target({ src: client, dst: nodePort }), backend);
});

test("address_inbound() serves an address that is no node's", (w) => {
  external(w, "203.0.113.9:80", [backend]);
  w.check({
    program,
    packet: tcp({ src: client, dst: "203.0.113.9:80", flags: "S", ...IN }),
    out: tcp({ src: client, dst: backend, flags: "S", ...into(LOCAL_MAC) }),
    reason: "forward_delivered",
  });
});

test("address_inbound() offers nothing that is for the cluster alone", (w) => {
  w.service("10.96.0.10:80", [backend]);
  w.service(ANY, [backend], { addressEntry: false });
  for (const dst of ["10.96.0.10:80", nodePort]) {
    w.check({
      program,
      packet: tcp({ src: client, dst, flags: "S", ...IN }),
      reason: "pass_no_service",
    });
  }
});

test("service_inbound() leaves a backend in the node's own network to the stack", (w) => {
  external(w, ANY, [`${NODE}:8080`]);
  w.check({
    program,
    packet: tcp({ src: client, dst: nodePort, flags: "S", ...IN }),
    out: tcp({ src: client, dst: `${NODE}:8080`, flags: "S", ...IN }),
    reason: "forward_routed",
  });
  w.check({
    program: "k8sd_to_uplink",
    packet: tcp({ src: `${NODE}:8080`, dst: client, flags: "SA" }),
    out: tcp({ src: nodePort, dst: client, flags: "SA" }),
    reason: "reply_routed",
  });
});

test("k8sd_to_uplink() sends a reply out by the uplink that its client came in by", (w) => {
  external(w, ANY, [`${NODE}:8080`]);
  w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
  w.edit({ src: `${NODE}:8080`, dst: client }, { ifindex: 77 });
  w.check({
    program: "k8sd_to_uplink",
    packet: tcp({ src: `${NODE}:8080`, dst: client, flags: "SA" }),
    out: tcp({ src: nodePort, dst: client, flags: "SA" }),
    reason: "reply_sent",
  });
});

test("service_inbound() lets only the clients in that source ranges name", (w) => {
  external(w, "203.0.113.9:80", [backend], { id: 5, flags: SERVICE_FLAG.SOURCE_RANGES });
  external(w, "203.0.113.9:81", [backend], { id: 6, flags: SERVICE_FLAG.SOURCE_RANGES });
  w.maps.source_ranges.set({ prefixlen: 32 + 24, service_id: 5, addr: "198.51.100.0" }, 0);
  w.maps.source_ranges.set({ prefixlen: 32, service_id: 6, addr: "0.0.0.0" }, 0);
  const ask = (src: string, port: number) =>
    tcp({ src, dst: `203.0.113.9:${port}`, flags: "S", ...IN });
  w.check({
    program,
    packet: ask(client, 80),
    out: tcp({ src: client, dst: backend, flags: "S", ...into(LOCAL_MAC) }),
    reason: "forward_delivered",
  });
  w.check({
    program,
    packet: ask("198.51.101.7:50000", 80),
    reason: "drop_source_range",
    events: [],
  });
  w.run(ask("203.0.113.77:50000", 81), program);
  assert.equal(w.target({ src: "203.0.113.77:50000", dst: "203.0.113.9:81" }), backend);
});

test("service_from_pod() asks source ranges of pods too", (w) => {
  w.service("203.0.113.9:80", [backend], { id: 5, flags: SERVICE_FLAG.SOURCE_RANGES });
  const packet = tcp({ src: `${CLIENT}:40000`, dst: "203.0.113.9:80", flags: "S" });
  w.check({ packet, reason: "drop_source_range", events: [] });
  w.maps.source_ranges.set({ prefixlen: 32 + 16, service_id: 5, addr: "10.1.0.0" }, 0);
  w.run(packet);
  assert.equal(w.target({ src: `${CLIENT}:40000`, dst: "203.0.113.9:80" }), backend);
});

test("service_inbound() drops where only local backends count and there is none", (w) => {
  external(w, ANY, [], { flags: SERVICE_FLAG.LOCAL_ONLY });
  w.check({
    program,
    packet: tcp({ src: client, dst: nodePort, flags: "S", ...IN }),
    reason: "drop_no_local_backend",
    events: [],
  });
  external(w, ANY, [backend], { flags: SERVICE_FLAG.LOCAL_ONLY });
  w.check({
    program,
    packet: tcp({ src: client, dst: nodePort, flags: "S", ...IN }),
    out: tcp({ src: client, dst: backend, flags: "S", ...into(LOCAL_MAC) }),
    reason: "forward_delivered",
  });
});

test("session_track() keeps a client outside on its backend", (w) => {
  external(w, ANY, [backend]);
  w.run(tcp({ src: client, dst: nodePort, flags: "S", ...IN }), program);
  external(w, ANY, [`${CLIENT}:8080`]);
  w.removeService(ANY, PROTO.TCP, SCOPE.EXTERNAL);
  w.check({
    program,
    packet: tcp({ src: client, dst: nodePort, flags: "PA", payload: text("x"), ...IN }),
    out: tcp({ src: client, dst: backend, flags: "PA", payload: text("x"), ...into(LOCAL_MAC) }),
    reason: "forward_delivered",
    events: [],
  });
});

test("service_of() gives pods NodePorts at every node's address", (w) => {
  w.service(ANY, [backend], { addressEntry: false });
  for (const addr of [NODE, OTHER_NODE]) {
    w.check({
      packet: tcp({ src: `${CLIENT}:40000`, dst: `${addr}:30080`, flags: "S" }),
      out: tcp({ src: `${CLIENT}:40000`, dst: backend, flags: "S", ...INTO_LOCAL }),
      reason: "forward_delivered",
    });
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
  }
  for (const dst of ["203.0.113.9:30080", `${NODE}:30081`]) {
    w.check({
      packet: tcp({ src: `${CLIENT}:40000`, dst, flags: "S" }),
      reason: "pass_no_service",
    });
  }
});
