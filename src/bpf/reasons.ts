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

  reason("pass", "pass_runt", "shorter than the headers it must have"),
  reason("pass", "pass_arp", "ARP"),
  reason("pass", "pass_ipv6", "IPv6"),
  reason("pass", "pass_vlan", "VLAN tagged"),
  reason("pass", "pass_ethertype", "an unknown ethertype"),
  reason("pass", "pass_malformed", "an IPv4 header that contradicts itself or the frame"),
  reason("pass", "pass_protocol", "neither TCP nor UDP nor ICMP"),
  reason("pass", "pass_fragment", "a fragment of no flow of ours, or ahead of the first"),
  reason("pass", "pass_icmp", "ICMP that concerns no service and no local pod"),
  reason("pass", "pass_icmp_error", "an ICMP error about no translated flow"),
  reason("pass", "pass_no_service", "to neither a service nor a local pod"),
  reason("pass", "pass_no_session", "of no session: into a pod, or out of the node from no pod"),
  reason("pass", "pass_tunnel", "the overlay's own packets"),
  reason("pass", "pass_other_host", "a frame for another host"),
  reason("pass", "pass_own_source", "from outside, with the address of a pod of this node"),
  reason("pass", "pass_private", "from a pod to where its own address is known"),
  reason("pass", "pass_ttl", "its time is up: the stack tells its sender"),
  reason("pass", "pass_too_big", "too big for its way: the stack tells its sender or cuts it up"),

  reason("handled", "forward_delivered", "client to a local backend"),
  reason("handled", "forward_sent", "client to a backend elsewhere, past the stack"),
  reason("handled", "forward_routed", "client to a backend, by the node's stack"),
  reason("handled", "reply_delivered", "backend to a local client, or the world to a local pod"),
  reason("handled", "reply_sent", "backend to a client elsewhere, past the stack"),
  reason("handled", "reply_routed", "backend to a client, by the node's stack"),
  reason("handled", "direct_delivered", "to a local pod without a service"),
  reason("handled", "direct_sent", "pod to another node's pod without a service"),
  reason("handled", "masqueraded", "pod to the world, with the node's address"),
  reason("handled", "icmp_error_delivered", "an ICMP error translated, to a local pod"),
  reason("handled", "icmp_error_sent", "an ICMP error translated, past the stack"),
  reason("handled", "icmp_error_routed", "an ICMP error translated, by the node's stack"),
  reason("handled", "echo_answered", "a ping of a service address"),
  reason("handled", "refused_no_backend", "refused: the service has no backends"),
  reason("handled", "refused_no_port", "refused: the service address has no such port"),
  reason("handled", "answered_ttl", "answered: time exceeded"),
  reason("handled", "answered_too_big", "answered: fragmentation needed"),

  reason("drop", "drop_reset", "a TCP reset that finds nothing to reset"),
  reason("drop", "drop_unanswerable", "to be refused, but its source must not be answered"),
  reason("drop", "drop_sessions_full", "no room for a session"),
  reason("drop", "drop_ports_exhausted", "every source port tried was taken"),
  reason("drop", "drop_rewrite", "the kernel refused to change the packet"),
  reason("drop", "drop_no_local_backend", "traffic policy Local, and no backend on this node"),
  reason("drop", "drop_source_range", "a service that is not for this client"),
  reason("drop", "drop_no_address", "the node's own address, to be put in, is not known"),
  reason("drop", "drop_ttl", "an ICMP error whose time is up"),
  reason("drop", "drop_no_route", "to a backend that no uplink leads to"),
  reason("drop", "drop_too_big", "too big for its way, and not to be cut up here"),
  reason("drop", "drop_too_many_answers", "more refusals or ICMP errors than may leave the node"),
  reason("drop", "drop_foreign_overlay", "of another overlay's network identifier"),

  reason("event", "event_session_created", "sessions created"),
  reason("event", "event_session_repaired", "session entries lost and made again"),
  reason("event", "event_session_without_syn", "TCP sessions made in the middle of a connection"),
  reason("event", "event_port_changed", "flows that got another source port"),
  reason("event", "event_backend_missing", "services that point behind the backends"),
  reason(
    "event",
    "event_session_yielded",
    "sessions that gave way to a direct flow of the same ports",
  ),

  reason("drop", "drop_fragment", "pod to the world: a fragment ahead of the first"),
  reason("drop", "drop_icmp", "pod to the world: neither an echo nor an error of a known flow"),
  reason("drop", "drop_protocol", "pod to the world: neither TCP nor UDP nor ICMP"),

  reason(
    "event",
    "event_monitor_lost",
    "packets that pcnk monitor was not told of: too many at once",
  ),
  reason("drop", "drop_unknown_vtep", "out of the overlay, from no node of the cluster"),
] as const;

/** Name of a reason. */
export type Reason = typeof reasons[number]["name"];

/** Index of a reason in the `counters` map. */
export function reasonIndex(name: Reason): number {
  return reasons.findIndex((reason) => reason.name === name);
}
