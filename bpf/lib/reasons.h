/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Why a packet ended as it did, and how often. Every packet is counted once, under
 * its verdict; EVENT_* are counted besides. src/bpf/reasons.ts mirrors the names
 * and is compared with this enum through BTF. Append only: dashboards know the
 * numbers.
 */
#pragma once

#include "maps.h"
#include "monitor.h"

enum reason {
	REASON_NONE = 0, /* go on; never counted */

	/* Passed on untouched. */
	PASS_RUNT, /* shorter than the headers it must have */
	PASS_ARP,
	PASS_IPV6,
	PASS_VLAN,
	PASS_ETHERTYPE, /* neither IPv4 nor one of the above */
	PASS_MALFORMED, /* IPv4 header that contradicts itself or the frame */
	PASS_PROTOCOL, /* neither TCP nor UDP nor ICMP, e.g. SCTP */
	PASS_FRAGMENT, /* of a datagram that is not ours, or whose first fragment was not seen */
	PASS_ICMP, /* neither an echo nor an error, or none that concerns us */
	PASS_ICMP_ERROR, /* about no flow that was translated */
	PASS_NO_SERVICE, /* to neither a service nor a pod of this node */
	PASS_NO_SESSION, /* into a pod, from no backend of its sessions; out of the node, from no pod */
	PASS_TUNNEL, /* of the overlay itself; what is in it comes by again */
	PASS_OTHER_HOST, /* a frame for another host */
	PASS_OWN_SOURCE, /* from outside, with the address of a pod of this node */
	PASS_PRIVATE, /* from a pod to where its own address is known */
	PASS_TTL, /* its time is up: the stack tells its sender */
	PASS_TOO_BIG, /* for the way it is to go: the stack tells its sender, or cuts it up */

	/* Handled. "Delivered" went straight into a pod of this node, "sent" straight
	 * to another node or out by an uplink, "routed" goes on to the stack. */
	FORWARD_DELIVERED, /* client to backend */
	FORWARD_SENT,
	FORWARD_ROUTED,
	REPLY_DELIVERED, /* backend to client, or the world to a masqueraded pod */
	REPLY_SENT,
	REPLY_ROUTED,
	DIRECT_DELIVERED, /* to a pod, no service */
	DIRECT_SENT,
	MASQUERADED, /* pod to the world, as the node */
	ICMP_ERROR_DELIVERED, /* translated together with its flow */
	ICMP_ERROR_SENT,
	ICMP_ERROR_ROUTED,
	ECHO_ANSWERED, /* ping of a service address */
	REFUSED_NO_BACKEND, /* TCP reset or ICMP port unreachable went back */
	REFUSED_NO_PORT, /* the address has no such service port; same answer */
	ANSWERED_TTL, /* ICMP time exceeded went back */
	ANSWERED_TOO_BIG, /* ICMP fragmentation needed went back */

	/* Dropped. */
	DROP_RESET, /* a reset that finds nothing to reset: never answered, RFC 9293, 3.10.7.1 */
	DROP_UNANSWERABLE, /* would be refused, but its source must not be answered */
	DROP_SESSIONS_FULL, /* no room for a session */
	DROP_PORTS_EXHAUSTED, /* every source port tried was taken */
	DROP_REWRITE, /* the kernel refused to change the packet */
	DROP_NO_LOCAL_BACKEND, /* a traffic policy Local, and no backend here */
	DROP_SOURCE_RANGE, /* the service is not for this client */
	DROP_NO_ADDRESS, /* this node's own address, to take its place, is not known */
	DROP_TTL, /* an ICMP error whose time is up; nobody is told */
	DROP_NO_ROUTE, /* to a backend outside the cluster's pods */
	DROP_TOO_BIG, /* for the way it is to go, and must not be cut up here */
	DROP_TOO_MANY_ANSWERS, /* more refusals or ICMP errors than may leave the node */
	DROP_FOREIGN_OVERLAY, /* of another network identifier */

	/* Events. */
	EVENT_SESSION_CREATED,
	EVENT_SESSION_REPAIRED, /* the other direction's entry was gone and came back */
	EVENT_SESSION_WITHOUT_SYN, /* a TCP flow whose session was lost got a backend anew */
	EVENT_PORT_CHANGED, /* the source port was taken; the flow got another */
	EVENT_BACKEND_MISSING, /* a service points behind the backends */
	EVENT_SESSION_YIELDED, /* a direct flow took over the ports of a former one to a service */

	/* Dropped, too: a pod's, to the world, that cannot be masqueraded. */
	DROP_FRAGMENT, /* a later one whose first was not seen */
	DROP_ICMP, /* neither an echo nor an error about a flow that is known */
	DROP_PROTOCOL, /* neither TCP nor UDP nor ICMP, or too short to tell */

	EVENT_MONITOR_LOST, /* a listener was not told of a packet: no room in the ring buffer */
	DROP_UNKNOWN_VTEP, /* out of the overlay, from no node of the cluster */

	REASON_COUNT,
};

/* The map is per CPU and programs are not preempted by one that counts the same
 * reason, hence no atomic add. */
static __always_inline void count_bytes(enum reason reason, __u32 bytes)
{
	__u32 key = reason;
	struct counter *counter = bpf_map_lookup_elem(&counters, &key);

	if (!counter)
		return;
	counter->packets += 1;
	counter->bytes += bytes;
}

/* Counts a packet of so many bytes, and tells a listener of it. */
static __always_inline void count_packet(struct __sk_buff *skb, enum reason reason, __u32 bytes)
{
	count_bytes(reason, bytes);
#ifndef PCNK_NO_MONITOR /* the benchmark of what a silent monitor costs */
	if (__builtin_expect(monitor_asked(reason), 0) && monitor_emit(skb, reason))
		count_bytes(EVENT_MONITOR_LOST, 0);
#endif
}

static __always_inline void count(struct __sk_buff *skb, enum reason reason)
{
	count_packet(skb, reason, skb->len);
}

/* Not inlined, for the sake of code size. */
static __noinline void event(enum reason reason)
{
	count_bytes(reason, 0);
}
