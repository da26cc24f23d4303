/** Pods of other nodes: through the overlay, directly, or by the node's routes. */
import { REMOTE_MODE } from "../../../src/bpf/layout.ts";
import {
  type Bytes,
  CODE,
  fragments,
  ICMP,
  icmp,
  icmpError,
  type IpOptions,
  pattern,
  PROTO,
  tcp,
  udp,
} from "../support/packet.ts";
import { direct, overlay, OVERLAY_MTU, PEER_MAC } from "../support/node.ts";
import { CLIENT, FROM_LOCAL, GATEWAY_MAC, LOCAL, REMOTE, test, VIP } from "../support/scene.ts";
import type { World } from "../support/world.ts";

const client = `${CLIENT}:40000`;
const vip = `${VIP}:80`;
const backend = `${REMOTE}:8080`;
/** Bytes of an IP and a UDP header. */
const HEADERS = 28;

type Way = [name: string, set: (w: World) => void, onward: IpOptions];
const ways: Way[] = [
  ["overlay", overlay, { ethSrc: GATEWAY_MAC, ethDst: PEER_MAC, ttl: 63 }],
  // The kernel addresses the frame.
  ["direct", direct, { ethSrc: GATEWAY_MAC, ethDst: "00:00:00:00:00:00", ttl: 63 }],
];

for (const [name, set, onward] of ways) {
  test(`translate_away() sends a flow to another node's pod (${name})`, (w) => {
    set(w);
    w.service(vip, [backend]);
    w.service(vip, [backend], { proto: PROTO.UDP });
    for (const make of makers) {
      w.check({
        packet: make(client, vip),
        out: make(client, backend, onward),
        reason: "forward_sent",
      });
    }
  });

  test(`direct_from_pod() sends packets to another node's pod (${name})`, (w) => {
    set(w);
    for (const make of [...makers, ...pings]) {
      w.check({
        packet: make(client, backend),
        out: make(client, backend, onward),
        reason: "direct_sent",
        events: [],
      });
    }
  });

  test(`icmp_error_from_pod() sends errors to another node's pod (${name})`, (w) => {
    set(w);
    w.service(vip, [backend], { proto: PROTO.UDP });
    w.run(udp({ src: client, dst: vip }));
    const error = { src: CLIENT, type: ICMP.UNREACHABLE, code: CODE.PORT };
    w.check({
      packet: icmpError({ ...error, dst: VIP, about: udp({ src: vip, dst: client }) }),
      out: icmpError({
        ...error,
        dst: REMOTE,
        about: udp({ src: backend, dst: client }),
        ...onward,
      }),
      reason: "icmp_error_sent",
    });
    const about = udp({ src: `${REMOTE}:9`, dst: client });
    w.check({
      packet: icmpError({ ...error, dst: REMOTE, about }),
      out: icmpError({ ...error, dst: REMOTE, about, ...onward }),
      reason: "direct_sent",
    });
  });

  test(`path_check() leaves what does not go this way to the stack (${name})`, (w) => {
    set(w);
    w.service(vip, [backend], { proto: PROTO.UDP });
    const mtu = name === "overlay" ? OVERLAY_MTU : 1500;
    const fits = { payload: pattern(mtu - HEADERS) }, big = { payload: pattern(mtu - HEADERS + 1) };
    const udpTo = (dst: string, options: object) => udp({ src: client, dst, ...options });
    w.check({
      packet: udpTo(vip, fits),
      out: udpTo(backend, { ...fits, ...onward }),
      reason: "forward_sent",
    });
    for (const options of [big, { ttl: 1 }, { ttl: 0 }]) {
      w.check({
        packet: udpTo(vip, options),
        out: udpTo(backend, options),
        reason: "forward_routed",
      });
    }
    w.check({ packet: udpTo(backend, big), reason: "pass_too_big" });
    w.check({ packet: udpTo(backend, { ttl: 1 }), reason: "pass_ttl_expired" });
    w.check({
      packet: udpTo(backend, { ttl: 2 }),
      out: udpTo(backend, { ...onward, ttl: 1 }),
      reason: "direct_sent",
    });
  });
}

const makers: ((src: string, dst: string, options?: IpOptions) => Bytes)[] = [
  (src, dst, options = {}) => tcp({ src, dst, flags: "S", ...options }),
  (src, dst, options = {}) => udp({ src, dst, ...options }),
  (src, dst, options = {}) => udp({ src, dst, checksum: "none", ...options }),
  (src, dst, options = {}) =>
    tcp({ src, dst, flags: "A", options: new Uint8Array(8).fill(1), ...options }),
];
const pings = [ICMP.ECHO, ICMP.ECHO_REPLY].map((type) => {
  return (src: string, dst: string, options: IpOptions = {}) =>
    icmp({ src, dst, type, rest: 0x00010001, ...options });
});

test("remote_bypasses_stack() leaves pods that the node's routes reach to the stack", (w) => {
  const routed = { via: "0.0.0.0", vni: 0, mtu: 0, mac: "00:00:00:00:00:00" };
  w.service(vip, [backend]);
  for (
    const remote of [
      { ...routed, ifindex: 1, mode: REMOTE_MODE.ROUTED },
      { ...routed, ifindex: 0, mode: REMOTE_MODE.OVERLAY },
      { ...routed, ifindex: 0, mode: REMOTE_MODE.DIRECT },
    ]
  ) {
    w.remote("10.2.0.0/16", remote);
    w.check({
      packet: tcp({ src: client, dst: vip, flags: "S" }),
      out: tcp({ src: client, dst: backend, flags: "S" }),
      reason: "forward_routed",
    });
    w.check({ packet: tcp({ src: client, dst: backend, flags: "S" }), reason: "pass_no_service" });
  }
});

test("remote_find() takes the longest prefix, and pods of this node first", (w) => {
  overlay(w);
  const other = "02:70:c0:00:02:0d";
  w.remote("10.2.0.0/24", {
    via: "192.0.2.13",
    ifindex: 1,
    vni: 42,
    mtu: 0,
    mode: REMOTE_MODE.OVERLAY,
    mac: other,
  });
  w.remote("10.1.0.0/16", {
    via: "192.0.2.13",
    ifindex: 1,
    vni: 42,
    mtu: 0,
    mode: REMOTE_MODE.OVERLAY,
    mac: other,
  });
  const packet = (dst: string, options: IpOptions = {}) => udp({ src: client, dst, ...options });
  for (const [dst, ethDst] of [["10.2.0.9:1", other], ["10.2.9.9:1", PEER_MAC]] as const) {
    w.check({
      packet: packet(dst),
      out: packet(dst, { ethSrc: GATEWAY_MAC, ethDst, ttl: 63 }),
      reason: "direct_sent",
    });
  }
  const direct = { ethDst: FROM_LOCAL.ethSrc! };
  w.check({
    packet: packet(`${LOCAL}:1`, direct),
    out: packet(`${LOCAL}:1`, direct),
    reason: "direct_delivered",
  });
});

test("new_flow_from_pod() lets fragments for other nodes' pods pass, all of them", (w) => {
  overlay(w);
  const cut = fragments(
    udp({ src: client, dst: backend, payload: pattern(3000), df: false }),
    1200,
  );
  for (const packet of cut) w.check({ packet, reason: "pass_fragment" });
});

test("translate_away() sends all fragments of a flow the same way", (w) => {
  overlay(w);
  w.service(vip, [backend], { proto: PROTO.UDP });
  const cut = (dst: string, options: IpOptions = {}) =>
    fragments(udp({ src: client, dst, payload: pattern(3000), df: false, ...options }), 1200);
  const out = cut(backend, { ethSrc: GATEWAY_MAC, ethDst: PEER_MAC, ttl: 63 });
  cut(vip).forEach((packet, i) => w.check({ packet, out: out[i]!, reason: "forward_sent" }));
});
