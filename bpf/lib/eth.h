/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Ethernet header: rewriting it, and adding it where packets have none.
 *
 * k8sdispatcher is compiled a second time with -DL3, for uplinks whose packets begin with
 * the IP header: TUN, WireGuard, IPIP, PPP. There a packet gets an Ethernet header when it
 * leaves for another device: the kernel's redirections need one.
 */
#pragma once

#include "packet.h"

/* Forwards a frame as the gateway would: it was sent to the gateway, and comes from
 * there. One that was sent to `to_mac` itself stays as it is. */
static __always_inline void eth_rewrite(void *frame, const __u8 *to_mac)
{
	struct ethhdr *eth = frame;
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

#ifdef L3
/* Set at load: bpf_skb_change_head() sets mac_len, which bpf_redirect_peer() reads (Linux
 * 5.13). bpf_redirect() heeds the pod's MTU. */
const volatile __u32 peer_after_push SEC(".rodata.peer") = 0;

/* Source of frames made here, which nothing reads: locally administered. */
#define MAC_SOURCE { 2 }

/* Adds an Ethernet header for `mac`; NULL: bpf_redirect_neigh() will replace it. */
static __always_inline long eth_push(struct __sk_buff *skb, const __u8 *mac)
{
	struct ethhdr eth = { .h_source = MAC_SOURCE, .h_proto = bpf_htons(ETH_P_IP) };

	if (mac)
		__builtin_memcpy(eth.h_dest, mac, ETH_ALEN);
	return bpf_skb_change_head(skb, ETH_HLEN, 0) ||
	       bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
}

/* Before Linux 5.14 a packet that comes out of an IPIP or GRE tunnel still has the outer
 * headers in front. Counted from the inner IP header on, it then has fewer bytes than in
 * all. */
static __always_inline bool has_outer_headers(struct __sk_buff *skb)
{
	__u64 len = bounded(packet_end(skb) - packet_data(skb), 0xffff);
	__u8 last;

	return len && bpf_skb_load_bytes_relative(skb, len - 1, &last, 1, BPF_HDR_START_NET);
}

/* Has the device receive such a packet once more, without them. */
static __always_inline int strip_outer_headers(struct __sk_buff *skb)
{
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

#define eth_set(frame, mac) ((void)(frame), (void)(mac))
#else
#define eth_push(skb, mac) ((void)(mac), 0)
#define eth_set eth_rewrite
#endif
