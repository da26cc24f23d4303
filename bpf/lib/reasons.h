/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reasons for verdicts. Every packet is counted once, under the reason for its verdict;
 * EVENT_* are counted besides. Append only: the numbers are indices of pinned counters.
 * Comments are the help texts of metrics, `pcnk monitor` and docs/reasons.md.
 */
#pragma once

enum reason {
	REASON_NONE = 0, /* not counted */

	/* Passed on untouched. */
	PASS_TRUNCATED, /* shorter than the headers it must have */
	PASS_ARP, /* ARP */
	PASS_IPV6, /* IPv6 */
	PASS_VLAN, /* VLAN tagged */
	PASS_ETHERTYPE, /* an unknown ethertype */
	PASS_MALFORMED, /* an IPv4 header that contradicts itself or the frame */
	PASS_PROTOCOL, /* neither TCP nor UDP nor ICMP */
	PASS_FRAGMENT, /* a fragment of no session, or ahead of the first one without room to wait */
	PASS_ICMP, /* ICMP to neither a service nor a local pod */
	PASS_ICMP_ERROR, /* an ICMP error about no translated flow */
	PASS_NO_SERVICE, /* to neither a service nor a local pod */
	PASS_NO_SESSION, /* of no session: into a pod, or out of the node from no pod */
	PASS_TUNNEL, /* the overlay's own packets */
	PASS_OTHER_HOST, /* a frame for another host */
	PASS_LOCAL_SOURCE, /* from outside to the node, with the address of a local pod */
	PASS_NOT_MASQUERADED, /* from a pod to a masquerade-exempt destination or client */
	PASS_TTL_EXPIRED, /* TTL expired: the stack sends ICMP time exceeded */
	PASS_TOO_BIG, /* larger than the path's MTU: the stack fragments or rejects it */

	/* Handled. "Delivered": redirected into a local pod; "sent": redirected to another
	 * node or out of an uplink; "routed": left to the stack. */
	FORWARD_DELIVERED, /* client to a local backend */
	FORWARD_SENT, /* client to a backend elsewhere, past the stack */
	FORWARD_ROUTED, /* client to a backend, by the node's stack */
	REPLY_DELIVERED, /* backend to a local client, or the world to a masqueraded pod */
	REPLY_SENT, /* backend to a client elsewhere, past the stack */
	REPLY_ROUTED, /* backend to a client, by the node's stack */
	DIRECT_DELIVERED, /* to a local pod without a service */
	DIRECT_SENT, /* pod to another node's pod without a service */
	MASQUERADED, /* pod to the world, with the node's address */
	ICMP_ERROR_DELIVERED, /* an ICMP error translated, to a local pod */
	ICMP_ERROR_SENT, /* an ICMP error translated, past the stack */
	ICMP_ERROR_ROUTED, /* an ICMP error translated, by the node's stack */
	ECHO_REPLIED, /* a ping of a service address */
	REJECTED_NO_BACKEND, /* rejected: the service has no backends */
	REJECTED_NO_PORT, /* rejected: the service address has no such port */
	REPLIED_TTL_EXPIRED, /* replied with ICMP time exceeded: TTL expired */
	REPLIED_TOO_BIG, /* replied with ICMP fragmentation needed: larger than the path's MTU */

	/* Dropped. */
	DROP_RST_NO_SESSION, /* a TCP reset of no session */
	DROP_INVALID_SOURCE, /* no reply may go to its source: no unicast address of a host */
	DROP_SESSIONS_FULL, /* no room for a session */
	DROP_PORTS_EXHAUSTED, /* every source port tried was in use */
	DROP_REWRITE_FAILED, /* the kernel refused to change the packet */
	DROP_NO_LOCAL_BACKEND, /* traffic policy Local, and no backend on this node */
	DROP_SOURCE_RANGE, /* client outside the service's loadBalancerSourceRanges */
	DROP_NO_SNAT_ADDRESS, /* the node's own source address is not known */
	DROP_TTL_EXPIRED, /* an ICMP error, TTL expired */
	DROP_NO_ROUTE, /* to a backend that no uplink leads to */
	DROP_TOO_BIG, /* a later fragment, larger than the path's MTU */
	DROP_RATE_LIMITED, /* a rejection or ICMP error above the node's rate limit */
	DROP_UNKNOWN_VNI, /* out of the overlay, of another VXLAN network identifier */

	/* Events. */
	EVENT_SESSION_CREATED, /* sessions created */
	EVENT_SESSION_REPAIRED, /* session entries lost and created again */
	EVENT_SESSION_WITHOUT_SYN, /* TCP sessions created in the middle of a connection */
	EVENT_PORT_CHANGED, /* flows that got another source port */
	EVENT_BACKEND_MISSING, /* services that point behind the backends */
	EVENT_SESSION_REPLACED, /* sessions that a direct flow with the same 5-tuple replaced */

	/* Dropped, from a pod to the world: cannot be masqueraded. */
	DROP_FRAGMENT, /* pod to the world: a fragment ahead of the first */
	DROP_ICMP, /* pod to the world: neither an echo nor an error of a known flow */
	DROP_PROTOCOL, /* pod to the world: neither TCP nor UDP nor ICMP */

	EVENT_MONITOR_LOST, /* packets that pcnk monitor lost: too many at once */
	DROP_UNKNOWN_VTEP, /* out of the overlay, from no node of the cluster */
	WORLD_SENT, /* pod to the world by an uplink, past the stack */
	PASS_NODE_FLOW, /* to a service's port, but of a flow of the node itself */

	EVENT_FRAGMENT_HELD, /* fragments held until the first one of their datagram came */
	EVENT_FRAGMENT_NOT_HELD, /* fragments ahead of the first one that found no room */
	DROP_FRAGMENT_TINY, /* a fragment that cuts the transport header, or is empty (RFC 1858, 3128) */
	DROP_FRAGMENT_OVERLAP, /* a fragment that overlaps another or ends behind the last one, or of a datagram of which one was refused (RFC 5722) */
	EVENT_SESSION_RESTORED, /* entries of assured sessions that were evicted and restored */
	EVENT_SESSION_UNASSURED, /* sessions not assured: no room, or their client has its share */
	EVENT_SESSION_RECYCLED, /* sessions that newer ones of the same client, above its share, replaced */

	/* From a pod: not what it may send (source_check.h). */
	DROP_SOURCE_ADDRESS, /* from a pod, with a source address that is not its own */
	DROP_SOURCE_MAC, /* from a pod, with a source MAC address that is not its own */
	DROP_ARP_SENDER, /* from a pod, ARP with a sender that it is not, or malformed */
	DROP_ROUTER_MESSAGE, /* from a pod, what routers and DHCP servers say, ICMP errors about others' packets too */
	DROP_ETHERTYPE, /* from a pod, VLAN tagged, or neither IPv4, IPv6 nor ARP */
	DROP_MALFORMED, /* from a pod, headers that contradict themselves or the frame */
	DROP_LOOPBACK, /* from a pod to 127.0.0.0/8 */
	DROP_TUNNEL, /* to a tunnel's port, with the node's address, and not from the node */
	DROP_TUNNEL_SOURCE, /* out of the overlay, from a source that is not of that node */
	REPLIED_ARP, /* replied to a pod's ARP request for another pod of this node */

	EVENT_SEGMENT_IGNORED, /* TCP resets, FINs and SYNs that change no session: not in its window, or with a wrong checksum */

	DROP_UPLINK_SOURCE, /* from an uplink, with the source of a pod, this node, a Service or no host, which never comes from there */
	DROP_CHECKSUM, /* from a pod or out of the overlay, with a checksum that a device would write into a header (CHECKSUM_PARTIAL) */
	DROP_FRAGMENT_SHARE, /* from a pod, a fragment beyond its share of datagrams that are not whole */

	REASON_COUNT,
};
