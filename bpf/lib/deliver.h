/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Local delivery: a packet for a pod of this node is redirected into that pod, past
 * bridge, stack and netfilter.
 */
#pragma once

#include <linux/if_packet.h>

#include "eth.h"
#include "maps.h"
#include "nat.h"
#include "verdict.h"

static __always_inline struct endpoint *endpoint_find(addr_t addr)
{
	struct endpoint_key key = { .addr = addr };

	return bpf_map_lookup_elem(&endpoints, &key);
}

/* Has the device of a pod such a limit? The programs of a conversion, which run for seconds
 * and are near the verifier's limit on 5.10, go past it. */
static __always_inline bool has_rate(__u32 ifindex, enum rate_flag flag)
{
#ifdef CONVERTING
	(void)ifindex;
	(void)flag;
	return false;
#else
	__u32 slot = ifindex % RATE_SLOTS;
	struct rate *rate = bpf_map_lookup_elem(&rates, &slot);

	return rate && unlikely(rate->flags & flag) && rate->ifindex == ifindex;
#endif
}

/* Redirects into the pod behind `ifindex`, which may be the one that sent the packet. `mac`
 * is the pod's; a packet with an Ethernet header has it already.
 * The frame was not addressed to the host end of the veth pair, so the kernel has marked
 * it PACKET_OTHERHOST. Linux 5.10 would drop it in the pod (6.18 resets the mark). Where
 * the pod's device has a rate, the packet goes through its qdisc. */
static __always_inline int redirect_into_pod(struct __sk_buff *skb, __u32 ifindex,
					     const __u8 *mac)
{
#ifdef L3
	if (eth_push(skb, mac))
		return drop(skb, DROP_REWRITE_FAILED);
	return peer_after_push ? bpf_redirect_peer(ifindex, 0) : bpf_redirect(ifindex, 0);
#else
	(void)mac;
	if (has_rate(ifindex, RATE_INGRESS))
		return bpf_redirect(ifindex, 0);
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(ifindex, 0);
#endif
}

/* The same for a packet whose Ethernet header is not rewritten yet; counted under
 * `reason`. */
static __always_inline int deliver(struct __sk_buff *skb, const struct endpoint *endpoint,
				   enum reason reason)
{
	void *frame = packet_data(skb);

	if (frame + ETH_HLEN > packet_end(skb))
		return drop(skb, DROP_REWRITE_FAILED);
	eth_set(frame, endpoint->mac);
	count(skb, reason);
	return redirect_into_pod(skb, endpoint->ifindex, endpoint->mac);
}

/* Translates a packet by its session: into the pod it is then for, counted under
 * `delivered`, else to the stack, counted under `routed`. */
static __always_inline int deliver_translated(struct __sk_buff *skb, const struct packet *pkt,
					      const struct session *session, enum reason delivered,
					      enum reason routed)
{
	struct endpoint *endpoint = endpoint_find(session->dst);

	if (!endpoint) {
		if (nat_rewrite(skb, pkt, session, NULL, false))
			return drop(skb, DROP_REWRITE_FAILED);
		return pass(skb, routed);
	}
	if (nat_rewrite(skb, pkt, session, endpoint->mac, false))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, delivered);
	return redirect_into_pod(skb, endpoint->ifindex, endpoint->mac);
}
