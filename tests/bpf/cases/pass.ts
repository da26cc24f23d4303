/** What passes untouched: everything that is none of lbrp's business. */
import {
  be,
  type Bytes,
  concat,
  ethernet,
  ICMP,
  icmp,
  ipv4,
  patch,
  pattern,
  PROTO,
  tcp,
  text,
  udp,
} from "../support/packet.ts";
import { CLIENT, GATEWAY, LOCAL, REMOTE, test, VIP } from "../support/scene.ts";
import type { Reason } from "../../../src/bpf/reasons.ts";

const client = `${CLIENT}:40000`;
const vip = `${VIP}:80`;
const syn = tcp({ src: client, dst: vip, flags: "S" });
const ping = { type: ICMP.ECHO, rest: 0x00010001 };

/** A header that the programs must not believe: `at` is counted from the start of the IP header. */
function broken(at: number, ...bytes: number[]): Bytes {
  return patch(syn, 14 + at, Uint8Array.from(bytes));
}

const untouched: [what: string, packet: Bytes, reason: Reason][] = [
  ["ARP", ethernet(0x0806, concat(be([2, 1], [2, 0x800]), pattern(24))), "pass_arp"],
  ["IPv6", ethernet(0x86dd, concat(be([1, 0x60]), pattern(60))), "pass_ipv6"],
  ["a VLAN tag", ethernet(0x8100, concat(be([2, 5], [2, 0x800]), syn.slice(14))), "pass_vlan"],
  ["a QinQ tag", ethernet(0x88a8, concat(be([2, 5], [2, 0x800]), syn.slice(14))), "pass_vlan"],
  ["LLDP", ethernet(0x88cc, pattern(50)), "pass_ethertype"],
  ["an 802.3 length", ethernet(0x0026, pattern(38)), "pass_ethertype"],
  ["SCTP", ipv4({ src: client, dst: vip }, PROTO.SCTP, pattern(32)), "pass_protocol"],
  ["GRE", ipv4({ src: client, dst: vip }, 47, pattern(8)), "pass_protocol"],
  [
    "IP with nothing in it",
    ipv4({ src: client, dst: vip }, 255, new Uint8Array()),
    "pass_protocol",
  ],
  ["TCP to nowhere", tcp({ src: client, dst: "192.0.2.1:80", flags: "S" }), "pass_no_service"],
  ["UDP to the gateway", udp({ src: client, dst: `${GATEWAY}:53` }), "pass_no_service"],
  ["UDP to a broadcast", udp({ src: client, dst: "255.255.255.255:67" }), "pass_no_service"],
  ["UDP to a group", udp({ src: client, dst: "224.0.0.251:5353" }), "pass_no_service"],
  ["a ping to nowhere", icmp({ src: CLIENT, dst: REMOTE, ...ping }), "pass_icmp"],
  [
    "a timestamp request",
    icmp({ src: CLIENT, dst: VIP, type: 13, payload: pattern(12) }),
    "pass_icmp",
  ],
  // BPF_PROG_TEST_RUN takes no IPv4 packet without a whole header; tests/netns sends some.
  [
    "a TCP header cut short",
    ipv4({ src: client, dst: vip }, PROTO.TCP, pattern(19)),
    "pass_truncated",
  ],
  ["TCP ports alone", ipv4({ src: client, dst: vip }, PROTO.TCP, pattern(4)), "pass_truncated"],
  [
    "a UDP header cut short",
    ipv4({ src: client, dst: vip }, PROTO.UDP, pattern(7)),
    "pass_truncated",
  ],
  [
    "an ICMP header cut short",
    ipv4({ src: CLIENT, dst: VIP }, PROTO.ICMP, pattern(7)),
    "pass_truncated",
  ],
  ["a frame cut short", syn.slice(0, 14 + 39), "pass_malformed"],
  ["IP version 5", broken(0, 0x55), "pass_malformed"],
  ["an IP header of 16 bytes", broken(0, 0x44), "pass_malformed"],
  ["an IP length below its header", broken(2, 0, 19), "pass_malformed"],
  ["an IP length of zero", broken(2, 0, 0), "pass_malformed"],
  ["an IP length beyond the frame", broken(2, 0, 41), "pass_malformed"],
  ["IP options beyond the length", broken(0, 0x4f), "pass_malformed"],
  [
    "padding that would pass for ports",
    ipv4({ src: client, dst: vip }, PROTO.TCP, new Uint8Array(), { padding: 40 }),
    "pass_truncated",
  ],
];

for (const program of ["lbrp_from_pod", "lbrp_to_pod"] as const) {
  for (const [what, packet, reason] of untouched) {
    // Into a pod no service is looked up.
    const expected = program === "lbrp_to_pod" && reason === "pass_no_service"
      ? "pass_no_session"
      : reason;
    test(`${program}() passes ${what}`, (w) => {
      w.service(vip, [`${LOCAL}:8080`]);
      w.check({ program, packet, reason: expected, events: [] });
    });
  }
}

test("lbrp_from_pod() asks for the protocol of a service, not only its port", (w) => {
  w.service(vip, [`${REMOTE}:8080`], { proto: PROTO.TCP, addressEntry: false });
  w.check({
    packet: udp({ src: client, dst: vip, payload: text("x") }),
    reason: "pass_no_service",
  });
});

test("lbrp_from_pod() leaves services of other scopes alone", (w) => {
  const key = { addr: VIP, port: 80, proto: PROTO.TCP, scope: 1 };
  w.maps.backends.set(0, { addr: REMOTE, port: 80, flags: 0, weight_end: 0 });
  const run = { first: 0, count: 1, total_weight: 0 };
  const one = { id: 1, ...run, affinity_seconds: 0, flags: 0, table: 0 };
  w.maps.services.set(key, one);
  w.check({ packet: syn, reason: "pass_no_service" });
});
