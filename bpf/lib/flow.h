/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packet in: how every packet program parses a packet and finds its session. */
#pragma once

#include "fragments.h"
#include "ip4.h"
#include "l4.h"
#include "session.h"

static __always_inline enum reason ethertype_reason(__be16 proto)
{
	switch (proto) {
	case bpf_htons(ETH_P_IPV6):
		return PASS_IPV6;
	case bpf_htons(ETH_P_ARP):
		return PASS_ARP;
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return PASS_VLAN;
	default:
		return PASS_ETHERTYPE;
	}
}

/* Fills in `pkt`: Ethernet, IP, transport header. REASON_NONE, or why the packet is to
 * pass. Later fragments have no ports. */
static __always_inline enum reason packet_parse(struct __sk_buff *skb, struct packet *pkt)
{
	enum reason reason;
#ifdef L3

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return ethertype_reason(skb->protocol);
#else
	struct ethhdr *eth = packet_data(skb);

	if ((void *)(eth + 1) > packet_end(skb))
		return PASS_TRUNCATED;
	if (unlikely(skb->vlan_present)) /* the tag is in the skb, not the frame */
		return PASS_VLAN;
	if (unlikely(eth->h_proto != bpf_htons(ETH_P_IP)))
		return ethertype_reason(eth->h_proto);
#endif
	reason = ip_parse(skb, pkt);
	if (reason || pkt->fragment == FRAGMENT_LATER)
		return reason;
	if (pkt->ip_len < pkt->l4 - MAC_HLEN + l4_size(pkt->key.proto))
		return pkt->fragment ? DROP_FRAGMENT_TINY : PASS_TRUNCATED;
	return l4_parse(skb, pkt);
}

/* The end of a packet that packet_parse() gave this reason. */
static __always_inline int unparsed(struct __sk_buff *skb, enum reason reason)
{
	return reason == DROP_FRAGMENT_TINY ? drop(skb, reason) : pass(skb, reason);
}
