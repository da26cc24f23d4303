/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Out of the node: replies to clients of the world leave by the uplink that they came in
 * by, past the stack, which would drop the source address, one of its own, as a martian.
 */
#pragma once

#include "maps.h"
#include "nat.h"
#include "path.h"
#include "verdict.h"

static __always_inline struct uplink *uplink_find(__u32 ifindex)
{
	struct uplink_key key = { .ifindex = ifindex };

	return bpf_map_lookup_elem(&uplinks, &key);
}

/* May the packet leave there? REASON_NONE, PASS_TTL_EXPIRED or PASS_TOO_BIG. */
static __always_inline enum reason uplink_check(struct __sk_buff *skb, const struct packet *pkt,
						__u32 ifindex)
{
	struct uplink *uplink = uplink_find(ifindex);

	return path_check(skb, pkt, uplink ? uplink->mtu : 0);
}

/* In __sk_buff.tc_index: a program has finished this packet, k8sd_to_uplink has nothing to
 * do. */
#define TC_INDEX_SENT 0x7063

/* The kernel looks up the route by this device, and the neighbour. */
static __always_inline int uplink_send(struct __sk_buff *skb, __u32 ifindex)
{
	if (eth_push(skb, NULL))
		return drop(skb, DROP_REWRITE_FAILED);
	skb->tc_index = TC_INDEX_SENT;
	return bpf_redirect_neigh(ifindex, NULL, 0, 0);
}

/* Lets a packet out that uplink_send() has sent and its caller counted. */
static __always_inline int uplink_sent(struct __sk_buff *skb)
{
	skb->tc_index = 0;
	return TC_ACT_UNSPEC;
}

/* Translates a reply, and sends it. */
static __noinline int uplink_reply(struct __sk_buff *skb, const struct packet *pkt,
				   const struct session *session)
{
	__u32 ifindex = session->ifindex;

	if (nat_rewrite(skb, pkt, session, NULL, true))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, REPLY_SENT);
	return uplink_send(skb, ifindex);
}

/* Sends a translated ICMP error. No error is sent about one whose TTL expired. */
static __noinline int uplink_error(struct __sk_buff *skb, const struct packet *pkt, __u32 ifindex)
{
	struct iphdr *ip = packet_data(skb) + MAC_HLEN;

	if ((void *)(ip + 1) > packet_end(skb) || pkt->ttl <= 1)
		return drop(skb, DROP_TTL_EXPIRED);
	ip_decrement_ttl(ip);
	count(skb, ICMP_ERROR_SENT);
	return uplink_send(skb, ifindex);
}
