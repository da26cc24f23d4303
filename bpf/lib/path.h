/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a router checks before it forwards a packet: TTL and MTU. */
#pragma once

#include "l4.h"

/* Length of the longest segment of a GSO packet, from the IP header on. */
static __noinline __u32 segment_len(struct __sk_buff *skb, const struct packet *pkt)
{
	__u32 header = sizeof(struct udphdr);
	__u8 offset;

	if (pkt->key.proto == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(skb, pkt->l4 + 12, &offset, sizeof(offset)))
			return pkt->ip_len;
		header = (offset >> 4) * 4;
	}
	return pkt->l4 - MAC_HLEN + header + skb->gso_size;
}

/* `mtu` 0: unlimited. */
static __always_inline bool too_big(struct __sk_buff *skb, const struct packet *pkt, __u32 mtu)
{
	if (likely(pkt->ip_len <= mtu) || !mtu)
		return false;
	return !skb->gso_size || segment_len(skb, pkt) > mtu;
}

/* REASON_NONE, PASS_TTL_EXPIRED or PASS_TOO_BIG. */
static __always_inline enum reason path_check(struct __sk_buff *skb, const struct packet *pkt,
					      __u32 mtu)
{
	if (unlikely(pkt->ttl <= 1))
		return PASS_TTL_EXPIRED;
	return unlikely(too_big(skb, pkt, mtu)) ? PASS_TOO_BIG : REASON_NONE;
}
