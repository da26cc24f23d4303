/**
 * What is larger than a pod's device takes. Every kernel drops it where the device has a rate, as here; before Linux 5.12
 * everywhere.
 */
import { RATE_FLAG } from "../../../../src/bpf/layout.ts";
import { fragments, pattern, PROTO, tcp, udp } from "../../support/packet.ts";
import { external, IN, into, NODE, OUTSIDE } from "../../support/node.ts";
import { LOCAL, LOCAL_MAC, test } from "../../support/scene.ts";
import { UPLINK, type World } from "../../support/world.ts";

const program = "k8sd_from_uplink";
const client = `${OUTSIDE}:50000`;
const port = `${NODE}:30053`;
const backend = `${LOCAL}:5353`;
const MTU = 1450;
/** Bytes of an IP and a UDP header. */
const HEADERS = 28;

function serve(w: World, flags: number): void {
  w.configure({ pods_mtu: MTU });
  w.rate(flags);
  external(w, "0.0.0.0:30053", [backend], { proto: PROTO.UDP });
}

const sized = (src: string, dst: string, size: number, options: typeof IN) =>
  udp({ src, dst, payload: pattern(size - HEADERS), df: false, ...options });

test("deliver_translated() leaves to the stack what the pod's device would drop", (w) => {
  serve(w, RATE_FLAG.INGRESS);
  w.check({
    program,
    packet: sized(client, port, MTU, IN),
    out: sized(client, backend, MTU, into(LOCAL_MAC)),
    reason: "forward_delivered",
  });
  w.check({
    program,
    packet: sized(client, port, MTU + 1, IN),
    out: sized(client, backend, MTU + 1, IN),
    reason: "forward_routed",
  });
});

test("deliver_translated() leaves all fragments to it, of which one may be too large", (w) => {
  serve(w, RATE_FLAG.INGRESS);
  const out = fragments(sized(client, backend, 3000, IN), 1480);
  fragments(sized(client, port, 3000, IN), 1480).forEach((packet, i) =>
    w.check({ program, packet, out: out[i]!, reason: "forward_routed" })
  );
});

test("deliver_translated() delivers fragments where none can be too large", (w) => {
  serve(w, RATE_FLAG.INGRESS);
  w.maps.uplinks.set({ ifindex: UPLINK }, { addr: NODE, mtu: MTU });
  const out = fragments(sized(client, backend, 3000, into(LOCAL_MAC)), 1400);
  fragments(sized(client, port, 3000, IN), 1400).forEach((packet, i) =>
    w.check({ program, packet, out: out[i]!, reason: "forward_delivered" })
  );
});

test("deliver() leaves to the stack what the pod's device would drop", (w) => {
  serve(w, RATE_FLAG.INGRESS);
  w.check({
    program,
    packet: tcp({ src: client, dst: `${LOCAL}:1`, flags: "A", payload: pattern(MTU - 39), ...IN }),
    reason: "pass_too_big",
  });
});

test("deliver_translated() knows no limit where bpf_redirect_peer() has none", (w) => {
  serve(w, 0);
  w.check({
    program,
    packet: sized(client, port, 1500, IN),
    out: sized(client, backend, 1500, into(LOCAL_MAC)),
    reason: "forward_delivered",
  });
});
