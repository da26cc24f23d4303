/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Local delivery: a packet for a pod of this node is redirected into that pod, past
 * bridge, stack and netfilter.
 */
#pragma once

#include <linux/if_packet.h>

#include "config.h"
#include "eth.h"
#include "maps.h"
#include "nat.h"
#include "uplinks.h"
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

/* Set at load: bpf_redirect_peer() heeds the pod's MTU (before Linux 5.12). */
const volatile __u32 peer_heeds_mtu SEC(".rodata.mtu") = 0;

/* Do packets skip the host end of the pod's veth pair? Where it has a rate, they go through its
 * qdisc, by bpf_redirect(). */
static __always_inline bool skips_host_end(__u32 ifindex)
{
#ifdef L3
	if (!peer_after_push)
		return false;
#endif
	return !has_rate(ifindex, RATE_INGRESS);
}

#ifdef CONVERTING
#define exceeds_pod_mtu(skb, ifindex, fragment) false
#else
/* Would the kernel drop the packet on its way into the pod behind `ifindex`? A veth device
 * heeds the MTU of its other end. The stack has to fragment it, or to return an ICMP error;
 * then all fragments of a datagram take that way, as conntrack reassembles them. */
static __always_inline bool exceeds_pod_mtu(struct __sk_buff *skb, __u32 ifindex, bool fragment)
{
	struct node_config *config = node_config();
	__u32 mtu = config ? config->pods_mtu : 0;
	struct uplink *uplink;

	if (likely(!mtu || skb->gso_size || (skb->len <= MAC_HLEN + mtu && !fragment)))
		return false;
	if (skips_host_end(ifindex) && !peer_heeds_mtu)
		return false;
	if (skb->len > MAC_HLEN + mtu)
		return true;
	uplink = uplink_find(skb->ifindex);
	return uplink && uplink->mtu > mtu;
}
#endif

/* Redirects into the pod behind `ifindex`, which may be the one that sent the packet. `mac`
 * is the pod's; a packet with an Ethernet header has it already.
 * The frame was not addressed to the host end of the veth pair, so the kernel has marked
 * it PACKET_OTHERHOST. Linux 5.10 would drop it in the pod (6.18 resets the mark). */
static __always_inline int redirect_into_pod(struct __sk_buff *skb, __u32 ifindex,
					     const __u8 *mac)
{
#ifdef L3
	if (eth_push(skb, mac))
		return drop(skb, DROP_REWRITE_FAILED);
	return skips_host_end(ifindex) ? bpf_redirect_peer(ifindex, 0) : bpf_redirect(ifindex, 0);
#else
	(void)mac;
	if (!skips_host_end(ifindex))
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

	if (exceeds_pod_mtu(skb, endpoint->ifindex, false))
		return pass(skb, PASS_TOO_BIG);
	if (frame + ETH_HLEN > packet_end(skb))
		return drop(skb, DROP_REWRITE_FAILED);
	eth_set(frame, endpoint->mac);
	count(skb, reason);
	return redirect_into_pod(skb, endpoint->ifindex, endpoint->mac);
}

/* Translates a packet by its session: into the pod it is then for, counted under
 * `delivered`, else, or if it is too big for that, to the stack, counted under `routed`. */
static __always_inline int deliver_translated(struct __sk_buff *skb, const struct packet *pkt,
					      const struct session *session, enum reason delivered,
					      enum reason routed)
{
	struct endpoint *endpoint = endpoint_find(session->dst);

	if (!endpoint || exceeds_pod_mtu(skb, endpoint->ifindex, pkt->fragment)) {
		if (nat_rewrite(skb, pkt, session, NULL, false))
			return drop(skb, DROP_REWRITE_FAILED);
		return pass(skb, routed);
	}
	if (nat_rewrite(skb, pkt, session, endpoint->mac, false))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, delivered);
	return redirect_into_pod(skb, endpoint->ifindex, endpoint->mac);
}
