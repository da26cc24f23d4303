/** hostPorts: from outside, from pods, at which addresses, and beside Services. */
import assert from "node:assert/strict";
import { PROTO, tcp, udp } from "../../support/packet.ts";
import { external, IN, into, LEAVING, NODE, OTHER_NODE, OUTSIDE } from "../../support/node.ts";
import {
  CLIENT,
  FROM_LOCAL,
  GATEWAY,
  INTO_CLIENT,
  INTO_LOCAL,
  LOCAL,
  LOCAL_MAC,
  test,
} from "../../support/scene.ts";
import { UPLINK, type World } from "../../support/world.ts";

const program = "k8sd_from_uplink";
const client = `${OUTSIDE}:50000`;
const pod = `${LOCAL}:80`;
const at = (addr: string) => `${addr}:8080`;

/** Port 8080 of the node leads to port 80 of the pod. */
function hostPort(w: World, addr = "0.0.0.0", proto: number = PROTO.TCP): void {
  w.maps.host_ports.set({ addr, port: 8080, proto }, { addr: LOCAL, port: 80 });
}

test("a hostPort leads a client outside to the pod as itself, and its reply back", (w) => {
  const tcpSyn = (ends: Parameters<typeof udp>[0]) => tcp({ ...ends, flags: "S" });
  const cases = [["0.0.0.0", PROTO.TCP, tcpSyn], [NODE, PROTO.UDP, udp]] as const;
  for (const [hostIP, proto, packet] of cases) {
    hostPort(w, hostIP, proto);
    w.check({
      program,
      packet: packet({ src: client, dst: at(NODE), ...IN }),
      out: packet({ src: client, dst: pod, ...into(LOCAL_MAC) }),
      reason: "forward_delivered",
      events: ["event_session_created"],
    });
    assert.equal(w.session({ src: pod, dst: client, proto })?.ifindex, UPLINK);
    w.check({
      packet: packet({ src: pod, dst: client, ...FROM_LOCAL }),
      out: packet({ src: at(NODE), dst: client, ...FROM_LOCAL, ...LEAVING }),
      reason: "reply_sent",
    });
  }
});

test("a hostPort is open at its hostIP and protocol only", (w) => {
  hostPort(w, "127.0.0.1");
  hostPort(w, "192.0.2.99");
  const no = { program, reason: "pass_no_service" } as const;
  w.check({ ...no, packet: tcp({ src: client, dst: at(NODE), flags: "S", ...IN }) });
  hostPort(w);
  w.check({ ...no, packet: udp({ src: client, dst: at(NODE), ...IN }) });
  w.check({ ...no, packet: tcp({ src: client, dst: `${NODE}:8081`, flags: "S", ...IN }) });
  w.check({ ...no, packet: tcp({ src: client, dst: at(OTHER_NODE), flags: "S", ...IN }) });
});

test("a pod reaches hostPorts at the own node's addresses, those of another node by the stack", (w) => {
  hostPort(w);
  const src = `${CLIENT}:40000`;
  w.check({
    packet: tcp({ src, dst: at(NODE), flags: "S" }),
    out: tcp({ src, dst: pod, flags: "S", ...INTO_LOCAL }),
    reason: "forward_delivered",
  });
  w.check({
    packet: tcp({ src: pod, dst: src, flags: "SA", ...FROM_LOCAL }),
    out: tcp({ src: at(NODE), dst: src, flags: "SA", ...INTO_CLIENT }),
    reason: "reply_delivered",
  });
  w.check({ packet: tcp({ src, dst: at(OTHER_NODE), flags: "S" }), reason: "pass_no_service" });
});

test("a pod reaches its own hostPort, and sees its gateway as the client", (w) => {
  hostPort(w);
  const src = `${LOCAL}:40000`;
  const packet = tcp({ src, dst: at(NODE), flags: "S", ...FROM_LOCAL });
  w.run(packet);
  const { sport } = w.session({ src, dst: at(NODE) })!;
  w.check({
    packet,
    out: tcp({ src: `${GATEWAY}:${sport}`, dst: pod, flags: "S", ...INTO_LOCAL }),
    reason: "forward_delivered",
  });
});

test("a Service takes precedence over a hostPort, and a flow keeps what it has", (w) => {
  hostPort(w);
  w.run(tcp({ src: client, dst: at(NODE), flags: "S", ...IN }), program);
  external(w, "0.0.0.0:8080", [`${CLIENT}:1`]);
  w.run(tcp({ src: client, dst: at(NODE), flags: "A", ...IN }), program);
  assert.equal(w.target({ src: client, dst: at(NODE) }), pod);
  const later = `${OUTSIDE}:50001`;
  w.run(tcp({ src: later, dst: at(NODE), flags: "S", ...IN }), program);
  assert.equal(w.target({ src: later, dst: at(NODE) }), `${CLIENT}:1`);
});

test("a reset to a hostPort makes no session", (w) => {
  hostPort(w);
  const packet = tcp({ src: client, dst: at(NODE), flags: "R", ...IN });
  w.check({ program, packet, reason: "drop_rst_no_session" });
});
