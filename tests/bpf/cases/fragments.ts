/** Fragments: those of a translated datagram go with it, all others pass. */
import assert from "node:assert/strict";
import { fragments, type IpOptions, pattern, PROTO, tcp, udp } from "../support/packet.ts";
import {
  CLIENT,
  FROM_LOCAL,
  INTO_CLIENT,
  INTO_LOCAL,
  LOCAL,
  REMOTE,
  test,
  VIP,
} from "../support/scene.ts";

const client = `${CLIENT}:40000`;
const vip = `${VIP}:53`;

/** A datagram in three fragments. */
function cut(src: string, dst: string, options: IpOptions = {}, checksum?: "none") {
  const payload = pattern(4000);
  return fragments(udp({ src, dst, payload, df: false, checksum, ...options }), 1480);
}

test("lbrp_from_pod() translates all fragments of a datagram, delivered here", (w) => {
  w.service(vip, [`${LOCAL}:5353`], { proto: PROTO.UDP });
  const out = cut(client, `${LOCAL}:5353`, INTO_LOCAL);
  cut(client, vip).forEach((packet, i) =>
    w.check({ packet, out: out[i]!, reason: "forward_delivered" })
  );
});

test("lbrp_from_pod() translates all fragments of a datagram, routed", (w) => {
  w.service(vip, [`${REMOTE}:5353`], { proto: PROTO.UDP });
  const out = cut(client, `${REMOTE}:5353`, {}, "none");
  cut(client, vip, {}, "none").forEach((packet, i) =>
    w.check({ packet, out: out[i]!, reason: "forward_routed" })
  );
});

test("lbrp_from_pod() translates the fragments of a local backend's answer", (w) => {
  w.service(vip, [`${LOCAL}:5353`], { proto: PROTO.UDP });
  w.run(udp({ src: client, dst: vip }));
  const out = cut(vip, client, INTO_CLIENT);
  cut(`${LOCAL}:5353`, client, FROM_LOCAL).forEach((packet, i) =>
    w.check({ packet, out: out[i]!, reason: "reply_delivered" })
  );
});

test("lbrp_to_pod() translates the fragments of a remote backend's answer", (w) => {
  w.service(vip, [`${REMOTE}:5353`], { proto: PROTO.UDP });
  w.run(udp({ src: client, dst: vip }));
  const out = cut(vip, client, INTO_CLIENT);
  cut(`${REMOTE}:5353`, client, INTO_CLIENT).forEach((packet, i) =>
    w.check({ program: "lbrp_to_pod", packet, out: out[i]!, reason: "reply_routed" })
  );
});

test("lbrp_from_pod() delivers all fragments between pods", (w) => {
  const out = cut(client, `${LOCAL}:5353`, INTO_LOCAL);
  cut(client, `${LOCAL}:5353`).forEach((packet, i) =>
    w.check({ packet, out: out[i]!, reason: "direct_delivered" })
  );
});

test("lbrp_to_pod() passes fragments of no session", (w) => {
  for (const packet of cut(`${REMOTE}:5353`, client, INTO_CLIENT)) {
    w.check({ program: "lbrp_to_pod", packet, reason: "pass_fragment" });
  }
});

test("later_from_pod() drops a later fragment whose session is gone", (w) => {
  w.service(vip, [`${LOCAL}:5353`], { proto: PROTO.UDP });
  const [first, second] = cut(client, vip);
  w.run(first!);
  w.maps.sessions.deleteBatch(w.maps.sessions.keys());
  w.check({ packet: second!, reason: "drop_fragment_overlap" });
  assert.deepEqual(w.sessions(), []);
});

test("lbrp_from_pod() translates fragments of TCP", (w) => {
  w.service(`${VIP}:80`, [`${REMOTE}:8080`]);
  const segment = { flags: "PA", payload: pattern(3000), df: false };
  const out = fragments(tcp({ src: client, dst: `${REMOTE}:8080`, ...segment }), 1480);
  fragments(tcp({ src: client, dst: `${VIP}:80`, ...segment }), 1480).forEach((packet, i) =>
    w.check({ packet, out: out[i]!, reason: "forward_routed" })
  );
});

test("packet_parse() and fragment_enter() drop fragments that cut the transport header", (w) => {
  w.service(`${VIP}:80`, [`${REMOTE}:8080`]);
  const tiny = fragments(tcp({ src: client, dst: `${VIP}:80`, flags: "S", df: false }), 8);
  for (const packet of tiny) w.check({ packet, reason: "drop_fragment_tiny" });
});
