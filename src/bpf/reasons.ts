/**
 * Why a packet ended as it did: mirrors enum reason of bpf/lib/reasons.h. A reason's place in the list is its index in the
 * `counters` map; names are those of C in lower case, which is also how metrics show them.
 */

/** What became of the packets that a reason counts. Events are counted besides the packet's own reason. */
export type ReasonKind = "none" | "pass" | "handled" | "drop" | "event";

/** A reason as people see it. */
export interface ReasonInfo {
  readonly name: string;
  readonly kind: ReasonKind;
  /** One line. */
  readonly help: string;
}

function reason<N extends string>(kind: ReasonKind, name: N, help: string) {
  return { name, kind, help } as const satisfies ReasonInfo;
}

/** Every reason, in the order of the C enum. */
export const reasons = [
  reason("none", "reason_none", "not counted"),

  reason("pass", "pass_truncated", "shorter than the headers it must have"),
  reason("pass", "pass_arp", "ARP"),
  reason("pass", "pass_ipv6", "IPv6"),
  reason("pass", "pass_vlan", "VLAN tagged"),
  reason("pass", "pass_ethertype", "an unknown ethertype"),
  reason("pass", "pass_malformed", "an IPv4 header that contradicts itself or the frame"),
  reason("pass", "pass_protocol", "neither TCP nor UDP nor ICMP"),
  reason("pass", "pass_fragment", "a fragment of no session, or ahead of the first fragment"),
  reason("pass", "pass_icmp", "ICMP to neither a service nor a local pod"),
  reason("pass", "pass_icmp_error", "an ICMP error about no translated flow"),
  reason("pass", "pass_no_service", "to neither a service nor a local pod"),
  reason("pass", "pass_no_session", "of no session: into a pod, or out of the node from no pod"),
  reason("pass", "pass_tunnel", "the overlay's own packets"),
  reason("pass", "pass_other_host", "a frame for another host"),
  reason("pass", "pass_local_source", "from outside, with the address of a local pod"),
  reason("pass", "pass_not_masqueraded", "from a pod to a masquerade-exempt destination or client"),
  reason("pass", "pass_ttl_expired", "TTL expired: the stack sends ICMP time exceeded"),
  reason("pass", "pass_too_big", "larger than the path's MTU: the stack fragments or rejects it"),

  reason("handled", "forward_delivered", "client to a local backend"),
  reason("handled", "forward_sent", "client to a backend elsewhere, past the stack"),
  reason("handled", "forward_routed", "client to a backend, by the node's stack"),
  reason(
    "handled",
    "reply_delivered",
    "backend to a local client, or the world to a masqueraded pod",
  ),
  reason("handled", "reply_sent", "backend to a client elsewhere, past the stack"),
  reason("handled", "reply_routed", "backend to a client, by the node's stack"),
  reason("handled", "direct_delivered", "to a local pod without a service"),
  reason("handled", "direct_sent", "pod to another node's pod without a service"),
  reason("handled", "masqueraded", "pod to the world, with the node's address"),
  reason("handled", "icmp_error_delivered", "an ICMP error translated, to a local pod"),
  reason("handled", "icmp_error_sent", "an ICMP error translated, past the stack"),
  reason("handled", "icmp_error_routed", "an ICMP error translated, by the node's stack"),
  reason("handled", "echo_replied", "a ping of a service address"),
  reason("handled", "rejected_no_backend", "rejected: the service has no backends"),
  reason("handled", "rejected_no_port", "rejected: the service address has no such port"),
  reason("handled", "replied_ttl_expired", "replied with ICMP time exceeded: TTL expired"),
  reason(
    "handled",
    "replied_too_big",
    "replied with ICMP fragmentation needed: larger than the path's MTU",
  ),

  reason("drop", "drop_rst_no_session", "a TCP reset of no session"),
  reason(
    "drop",
    "drop_invalid_source",
    "no reply may go to its source: no unicast address of a host",
  ),
  reason("drop", "drop_sessions_full", "no room for a session"),
  reason("drop", "drop_ports_exhausted", "every source port tried was in use"),
  reason("drop", "drop_rewrite_failed", "the kernel refused to change the packet"),
  reason("drop", "drop_no_local_backend", "traffic policy Local, and no backend on this node"),
  reason("drop", "drop_source_range", "client outside the service's loadBalancerSourceRanges"),
  reason("drop", "drop_no_snat_address", "the node's own source address is not known"),
  reason("drop", "drop_ttl_expired", "an ICMP error, TTL expired"),
  reason("drop", "drop_no_route", "to a backend that no uplink leads to"),
  reason(
    "drop",
    "drop_too_big",
    "larger than the path's MTU, and would have to be fragmented here",
  ),
  reason("drop", "drop_rate_limited", "a rejection or ICMP error above the node's rate limit"),
  reason("drop", "drop_unknown_vni", "out of the overlay, of another VXLAN network identifier"),

  reason("event", "event_session_created", "sessions created"),
  reason("event", "event_session_repaired", "session entries lost and created again"),
  reason(
    "event",
    "event_session_without_syn",
    "TCP sessions created in the middle of a connection",
  ),
  reason("event", "event_port_changed", "flows that got another source port"),
  reason("event", "event_backend_missing", "services that point behind the backends"),
  reason(
    "event",
    "event_session_replaced",
    "sessions that a direct flow with the same 5-tuple replaced",
  ),

  reason("drop", "drop_fragment", "pod to the world: a fragment ahead of the first"),
  reason("drop", "drop_icmp", "pod to the world: neither an echo nor an error of a known flow"),
  reason("drop", "drop_protocol", "pod to the world: neither TCP nor UDP nor ICMP"),

  reason("event", "event_monitor_lost", "packets that pcnk monitor lost: too many at once"),
  reason("drop", "drop_unknown_vtep", "out of the overlay, from no node of the cluster"),
] as const;

/** Name of a reason. */
export type Reason = typeof reasons[number]["name"];

/** Index of a reason in the `counters` map. */
export function reasonIndex(name: Reason): number {
  return reasons.findIndex((reason) => reason.name === name);
}
