/** Forged resets, FINs and SYNs from outside: of NodePort flows, masqueraded flows and flows to a pod's own address. */
import assert from "node:assert/strict";
import { SESSION_STATE, SESSION_ZONE } from "../../../../src/bpf/layout.ts";
import { external, IN, NODE, OUTSIDE } from "../../support/node.ts";
import { pattern, tcp, type TcpOptions } from "../../support/packet.ts";
import { CLIENT, FROM_LOCAL, LOCAL, REMOTE, test } from "../../support/scene.ts";
import type { World } from "../../support/world.ts";

const { ESTABLISHED, CLOSING, CLOSED } = SESSION_STATE;
const inbound = "k8sd_from_uplink", outbound = "k8sd_to_uplink";

type Segment = Omit<TcpOptions, "src" | "dst">;
type Send = (segment: Segment) => void;

/** The connection in which both ends have sent their SYN; `outside` and `inside` send on, `state` is its session's. */
interface Connection {
  outside: Send;
  inside: Send;
  state: () => number | undefined;
  /** Whom the session leads to. */
  target: () => string | undefined;
}

const kinds: Record<string, (w: World) => Connection> = {
  "a NodePort's flow to a pod of this node": (w) => {
    const [src, dst, pod] = [`${OUTSIDE}:50000`, `${NODE}:30080`, `${LOCAL}:8080`];
    external(w, "0.0.0.0:30080", [pod]);
    return {
      outside: (segment) => w.run(tcp({ src, dst, ...segment, ...IN }), inbound),
      inside: (segment) => w.run(tcp({ src: pod, dst: src, ...segment, ...FROM_LOCAL })),
      state: () => w.session({ src, dst })?.state,
      target: () => w.target({ src, dst }),
    };
  },
  "a NodePort's flow to a pod of another node": (w) => {
    const [src, dst, pod] = [`${OUTSIDE}:50000`, `${NODE}:30080`, `${REMOTE}:8080`];
    external(w, "0.0.0.0:30080", [pod]);
    return {
      outside: (segment) => w.run(tcp({ src, dst, ...segment, ...IN }), inbound),
      inside: (segment) => {
        const { src: node, sport } = w.session({ src, dst })!;
        w.run(tcp({ src: pod, dst: `${node}:${sport}`, ...segment, ...IN }), inbound);
      },
      state: () => w.session({ src, dst })?.state,
      target: () => w.target({ src, dst }),
    };
  },
  "a masqueraded flow": (w) => {
    const [src, dst] = [`${CLIENT}:40000`, `${OUTSIDE}:443`];
    const flow = { src, dst, zone: SESSION_ZONE.MASQUERADE };
    return {
      outside: (segment) => {
        const { src: node, sport } = w.session(flow)!;
        w.run(tcp({ src: dst, dst: `${node}:${sport}`, ...segment, ...IN }), inbound);
      },
      inside: (segment) => w.run(tcp({ src, dst, ...segment }), outbound),
      state: () => w.session(flow)?.state,
      target: () => w.target(flow),
    };
  },
  "a flow from outside to a pod's own address": (w) => {
    const [src, dst] = [`${OUTSIDE}:50000`, `${LOCAL}:8080`];
    const flow = { src: dst, dst: src, zone: SESSION_ZONE.MASQUERADE };
    return {
      outside: (segment) => w.run(tcp({ src, dst, ...segment, ...IN }), inbound),
      inside: (segment) => w.run(tcp({ src: dst, dst: src, ...segment }), outbound),
      state: () => w.session(flow)?.state,
      target: () => w.target(flow),
    };
  },
};

for (const [kind, make] of Object.entries(kinds)) {
  /** Connects, and exchanges a line. The outer end goes on with 1011, the inner one with 5011. */
  const connect = (w: World): Connection => {
    const connection = make(w);
    const { inside, outside } = connection;
    const payload = pattern(10);
    if (kind.startsWith("a masq")) {
      inside({ flags: "S", seq: 5000 });
      outside({ flags: "SA", seq: 1000, ack: 5001 });
      inside({ flags: "A", seq: 5001, ack: 1001 });
    } else {
      outside({ flags: "S", seq: 1000 });
      inside({ flags: "SA", seq: 5000, ack: 1001 });
      outside({ flags: "A", seq: 1001, ack: 5001 });
    }
    outside({ flags: "PA", seq: 1001, ack: 5001, payload });
    inside({ flags: "PA", seq: 5001, ack: 1011, payload });
    outside({ flags: "A", seq: 1011, ack: 5011 });
    assert.equal(connection.state(), ESTABLISHED);
    return connection;
  };

  test(`${kind}: forged segments neither end nor move it, the right ones do`, (w) => {
    const { outside, inside, state, target } = connect(w);
    const before = target();
    external(w, "0.0.0.0:30080", [`${CLIENT}:8080`]);
    for (const seq of [0, 1, 1010, 1012, 5011, 70_000, 2 ** 31 + 1011]) {
      for (const flags of ["R", "RA", "FA", "S", "SR", "SF"]) {
        outside({ flags, seq, ack: 5011 });
        assert.deepEqual([state(), target()], [ESTABLISHED, before], `${flags} ${seq}`);
      }
    }
    inside({ flags: "A", seq: 5011, ack: 1011 }); // the challenge ACK
    outside({ flags: "PA", seq: 1011, ack: 5011, payload: pattern(9) });
    inside({ flags: "A", seq: 5011, ack: 1020 });
    outside({ flags: "FA", seq: 1020, ack: 5011 });
    assert.equal(state(), CLOSING);
    outside({ flags: "S", seq: 3, ack: 0 });
    assert.deepEqual([state(), target()], [CLOSING, before], "half-closed");
    inside({ flags: "FA", seq: 5011, ack: 1021 });
    assert.equal(state(), CLOSED);
  });

  for (const [end, seq] of [["outside", 1011], ["inside", 5011]] as const) {
    test(`${kind}: a reset from ${end} ends it, unless its sender goes on`, (w) => {
      const connection = connect(w);
      connection[end]({ flags: "R", seq });
      assert.equal(connection.state(), CLOSED);
      connection[end]({ flags: "A", seq, ack: end === "inside" ? 1011 : 5011 });
      assert.equal(connection.state(), ESTABLISHED);
    });
  }
}

test("a forged SYN to a pod's own address leaves the half-closed masqueraded flow of that port", (w) => {
  const [src, dst] = [`${CLIENT}:40000`, `${OUTSIDE}:443`];
  const flow = { src, dst, zone: SESSION_ZONE.MASQUERADE };
  w.run(tcp({ src, dst, flags: "S" }), outbound);
  const { src: node, sport } = w.session(flow)!;
  const back = { src: dst, dst: `${node}:${sport}` };
  w.run(tcp({ ...back, flags: "SA", ...IN }), inbound);
  w.run(tcp({ src, dst, flags: "A" }), outbound);
  w.run(tcp({ src, dst, flags: "FA" }), outbound);
  w.run(tcp({ src: dst, dst: src, flags: "S", ...IN }), inbound);
  const session = w.session(flow)!;
  assert.deepEqual([session.src, session.sport, session.state], [NODE, sport, CLOSING]);
});
