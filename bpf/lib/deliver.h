/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbrp is the switch of its node: a packet for a pod that lives here goes straight
 * into that pod, past bridge, stack and netfilter.
 */
#pragma once

#include <linux/if_packet.h>

#include "maps.h"
#include "packet.h"
#include "verdict.h"

static __always_inline struct endpoint *endpoint_find(__be32 addr)
{
	struct endpoint_key key = { .addr = addr };

	return bpf_map_lookup_elem(&endpoints, &key);
}

/* Readdresses a frame as the gateway would: it was sent to the gateway, and comes
 * from there. One that was sent to `to_mac` itself stays as it is. */
static __always_inline void frame_address(struct ethhdr *eth, const __u8 *to_mac)
{
	const __u16 *mac = (const __u16 *)to_mac;
	__u16 *to = (__u16 *)eth->h_dest, *from = (__u16 *)eth->h_source;

	if (to[0] == mac[0] && to[1] == mac[1] && to[2] == mac[2])
		return;
	from[0] = to[0];
	from[1] = to[1];
	from[2] = to[2];
	to[0] = mac[0];
	to[1] = mac[1];
	to[2] = mac[2];
}

/* Hands the packet to the pod behind `ifindex`, which may be the one it comes from.
 * The frame was not addressed to the host's end of the veth pair, so the kernel
 * has marked it as somebody else's. Linux 5.10 would drop it in the pod (6.18 takes
 * the mark away by itself). */
static __always_inline int redirect_into_pod(struct __sk_buff *skb, __u32 ifindex)
{
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(ifindex, 0);
}

/* The same for a packet whose frame is not readdressed yet; counted under `reason`. */
static __always_inline int deliver(struct __sk_buff *skb, const struct endpoint *endpoint,
				   enum reason reason)
{
	struct ethhdr *eth = packet_data(skb);

	if ((void *)(eth + 1) > packet_end(skb))
		return drop(skb, DROP_REWRITE_FAILED);
	frame_address(eth, endpoint->mac);
	count(skb, reason);
	return redirect_into_pod(skb, endpoint->ifindex);
}

/* Sends a packet back into the pod it came from; its frame must be turned around. */
static __always_inline int send_back(struct __sk_buff *skb)
{
	return redirect_into_pod(skb, skb->ifindex);
}

static __always_inline void frame_turn(struct ethhdr *eth)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
}
