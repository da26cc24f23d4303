/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ARP of Ethernet and IPv4 (RFC 826). A pod's request for another pod of this node gets its
 * reply here, as no other pod hears it; requests for other addresses are the node's. The node's
 * requests go to the pod in question alone.
 */
#pragma once

#include "deliver.h"

#define ARPHRD_ETHER 1 /* <linux/if_arp.h> pulls in the C library */
#define ARP_REQUEST bpf_htons(1)
#define ARP_REPLY bpf_htons(2)

struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	mac_t sender_mac;
	addr_t sender;
	mac_t target_mac;
	addr_t target;
} __attribute__((packed, aligned(4)));

/* False: cut short, or of other protocols. */
static __always_inline bool arp_load(struct __sk_buff *skb, struct arp *arp)
{
	return !bpf_skb_load_bytes(skb, ETH_HLEN, arp, sizeof(*arp)) &&
	       arp->hardware == bpf_htons(ARPHRD_ETHER) && arp->protocol == bpf_htons(ETH_P_IP) &&
	       arp->hardware_len == MAC_LEN && arp->protocol_len == sizeof(addr_t);
}

/* Makes a pod's request the reply of the pod that it is for. 1: done; 0: that is not for this
 * program to reply to, such as a request for an address of the pod itself (RFC 5227, gratuitous
 * ARP); below 0: an error. This and the next one are not static: the verifier checks them once. */
__noinline int arp_reply(struct __sk_buff *skb)
{
	struct endpoint *endpoint;
	struct ethhdr eth;
	struct arp arp;
	addr_t sender;

	if (!arp_load(skb, &arp) || arp.operation != ARP_REQUEST ||
	    bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return 0;
	endpoint = endpoint_find(arp.target);
	if (!endpoint || endpoint->ifindex == skb->ifindex)
		return 0;
	__builtin_memcpy(eth.h_dest, eth.h_source, MAC_LEN);
	__builtin_memcpy(eth.h_source, endpoint->mac, MAC_LEN);
	arp.operation = ARP_REPLY;
	__builtin_memcpy(arp.target_mac, arp.sender_mac, MAC_LEN);
	__builtin_memcpy(arp.sender_mac, endpoint->mac, MAC_LEN);
	sender = arp.sender;
	arp.sender = arp.target;
	arp.target = sender;
	if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &arp, sizeof(arp), 0))
		return -1;
	return 1;
}

static __always_inline int arp_from_pod(struct __sk_buff *skb)
{
	int replied = arp_reply(skb);

	if (!replied)
		return pass(skb, PASS_ARP);
	if (replied < 0)
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, REPLIED_ARP);
	return redirect_into_pod(skb, skb->ifindex, NULL);
}

#ifdef CONVERTING
#define arp_address(skb) 0
#else
/* Addresses a request of the node to the pod that it is for, if it is for one. 0, or an error. */
__noinline int arp_address(struct __sk_buff *skb)
{
	struct endpoint *endpoint;
	struct arp arp;

	if (!arp_load(skb, &arp) || arp.operation != ARP_REQUEST)
		return 0;
	endpoint = endpoint_find(arp.target);
	return endpoint && bpf_skb_store_bytes(skb, 0, endpoint->mac, MAC_LEN, 0);
}
#endif
