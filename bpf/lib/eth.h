/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rewriting the Ethernet header. */
#pragma once

#include <linux/if_ether.h>
#include <linux/types.h>

/* Forwards a frame as the gateway would: it was sent to the gateway, and comes from
 * there. One that was sent to `to_mac` itself stays as it is. */
static __always_inline void eth_rewrite(struct ethhdr *eth, const __u8 *to_mac)
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

/* Swaps the addresses: a reply to the frame's sender. */
static __always_inline void eth_swap(struct ethhdr *eth)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
}
