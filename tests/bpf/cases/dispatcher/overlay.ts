/** What comes out of the overlay. */
import { ICMP, icmp, PROTO, tcp, udp } from "../../support/packet.ts";
import { IN, into, NODE, VNI } from "../../support/node.ts";
import {
  CLIENT,
  CLIENT_MAC,
  GATEWAY,
  LOCAL,
  LOCAL_MAC,
  REMOTE,
  test,
  VIP,
} from "../../support/scene.ts";

const program = "k8sd_from_overlay";

test("k8sd_from_overlay() hands packets of other nodes' pods straight to a pod", (w) => {
  const make = [
    (frame = IN) => tcp({ src: `${REMOTE}:1000`, dst: `${LOCAL}:80`, flags: "S", ...frame }),
    (frame = IN) => udp({ src: `${REMOTE}:1000`, dst: `${LOCAL}:80`, ...frame }),
    (frame = IN) => icmp({ src: REMOTE, dst: LOCAL, type: ICMP.ECHO, rest: 1, ...frame }),
    (frame = IN) => icmp({ src: REMOTE, dst: LOCAL, type: ICMP.ECHO_REPLY, rest: 1, ...frame }),
  ];
  for (const packet of make) {
    w.check({
      program,
      packet: packet(),
      out: packet(into(LOCAL_MAC)),
      reason: "direct_delivered",
      events: [],
    });
  }
});

for (const program of ["k8sd_from_overlay", "k8sd_from_uplink"] as const) {
  test(`${program}() gives a far backend's reply the service's address`, (w) => {
    for (const [proto, port] of [[PROTO.TCP, 80], [PROTO.UDP, 53]] as const) {
      w.service(`${VIP}:${port}`, [`${REMOTE}:8080`], { proto });
      const make = (src: string, dst: string, frame = IN) =>
        proto === PROTO.TCP
          ? tcp({ src, dst, flags: "SA", ...frame })
          : udp({ src, dst, ...frame });
      const client = `${CLIENT}:${40000 + port}`;
      w.run(
        proto === PROTO.TCP
          ? tcp({ src: client, dst: `${VIP}:${port}`, flags: "S" })
          : udp({ src: client, dst: `${VIP}:${port}` }),
      );
      w.check({
        program,
        packet: make(`${REMOTE}:8080`, client),
        out: make(`${VIP}:${port}`, client, into(CLIENT_MAC)),
        reason: "reply_delivered",
        events: [],
      });
    }
  });
}

test("k8sd_from_overlay() leaves the node's own packets to the stack", (w) => {
  for (const dst of [`${GATEWAY}:10250`, `${NODE}:10250`, "10.1.0.77:80"]) {
    w.check({
      program,
      packet: tcp({ src: `${REMOTE}:1000`, dst, flags: "S", ...IN }),
      reason: "pass_no_service",
    });
  }
});

test("k8sd_from_overlay() takes one network identifier, when it knows it", (w) => {
  w.configure({ overlay_vni: VNI });
  // Packets of BPF_PROG_TEST_RUN have none.
  w.check({
    program,
    packet: tcp({ src: `${REMOTE}:1000`, dst: `${LOCAL}:80`, flags: "S", ...IN }),
    reason: "drop_unknown_vni",
  });
});
