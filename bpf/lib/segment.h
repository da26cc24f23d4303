/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A pod's segment ends at its device: what it sends to a pod of this node is handed over by its
 * IP address, whatever MAC address the frame has, and the rest is for the node alone.
 *
 * The ports of the bridge are isolated, which keeps the rest from other pods
 * (src/bpf/segment.ts).
 * Two kinds of ports are not: those of pods whose sending rate is limited, whose frames reach
 * other pods through the bridge, behind the limit; and all of them where the setting
 * `podMulticast` is on. What passes there is addressed here: no unicast frame goes by the MAC
 * address that the pod wrote into it.
 */
#pragma once

#include <linux/in6.h>
#include <linux/ipv6.h>

#include "config.h"
#include "deliver.h"

static __always_inline struct pod_device *pod_device_of(struct __sk_buff *skb)
{
	struct pod_device_key key = { .ifindex = skb->ifindex };

	return bpf_map_lookup_elem(&pod_devices, &key);
}

/* Into the pod; one whose rate is limited leaves that to the bridge, under `limited`. */
static __noinline int into_pod(struct __sk_buff *skb, const struct endpoint *endpoint,
			       enum reason limited)
{
	if (has_rate(skb->ifindex, RATE_EGRESS) && endpoint->ifindex != skb->ifindex)
		return pass(skb, limited);
	return deliver(skb, endpoint, DIRECT_DELIVERED);
}

/* What no session is of: into a pod of this node, else it passes under `reason`. */
static __noinline int local_or_pass(struct __sk_buff *skb, const struct packet *pkt,
				    enum reason reason)
{
	struct endpoint *endpoint = endpoint_find(pkt->key.dst);

	return endpoint ? into_pod(skb, endpoint, reason) : pass(skb, reason);
}

#ifdef CONVERTING
#define to_bridge(skb) 0
#else

/* The pod of this node that the packet is for, as it is now. */
static __always_inline struct endpoint *receiver(struct __sk_buff *skb)
{
	addr_t addrs[2];
	port_be ports[2];

	if (skb->protocol != bpf_htons(ETH_P_IP) || !ip_ends(skb, addrs, ports))
		return NULL;
	return endpoint_find(addrs[1]);
}

/* 0, or an error. Not static: the verifier checks it once. */
__noinline int frame_address(struct __sk_buff *skb, __u32 multicast)
{
	struct pod_device *device = pod_device_of(skb);
	struct endpoint *endpoint;
	__u8 first;

	if (!device || device->flags & POD_UNCHECKED || bpf_skb_load_bytes(skb, 0, &first, 1) ||
	    (multicast && first & 1))
		return 0;
	endpoint = receiver(skb);
	if (endpoint && endpoint->ifindex != skb->ifindex)
		return bpf_skb_store_bytes(skb, 0, endpoint->mac, MAC_LEN, 0);
	/* The bridge gives the node what is for its ports. */
	if (bpf_skb_store_bytes(skb, 0, device->host_mac, MAC_LEN, 0))
		return -1;
	return skb->pkt_type != PACKET_HOST && bpf_skb_change_type(skb, PACKET_HOST);
}

/* Is it a membership report of IGMP or MLD, as the bridge's multicast snooping knows them? */
static __always_inline bool is_membership(struct __sk_buff *skb)
{
	struct ethhdr *eth = packet_data(skb);
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > packet_end(skb) || !(eth->h_dest[0] & 1))
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return ip->protocol == IPPROTO_IGMP;
	return eth->h_proto == bpf_htons(ETH_P_IPV6) && (void *)(ip6 + 1) <= packet_end(skb) &&
	       ip6->nexthdr == IPPROTO_HOPOPTS;
}

/* A fragment to a MAC address that nothing has would count as received: see fragment_load.h. */
static __always_inline bool is_fragment(struct __sk_buff *skb)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);

	return (void *)(ip + 1) <= packet_end(skb) && eth->h_proto == bpf_htons(ETH_P_IP) &&
	       ip->frag_off & bpf_htons(IP_OFFSET | IP_MF);
}

/* The end of a frame that passes: see above. Without `podMulticast` the node alone hears of a
 * pod's groups: reports of thousands would fill the bridge's table, which then snoops no more.
 * 0, or an error. */
static __always_inline long to_bridge(struct __sk_buff *skb)
{
	struct node_config *config = node_config();
	bool multicast = config && config->flags & NODE_POD_MULTICAST;

	/* The port of a pod with a limited rate is not isolated: it would hear others. */
	if (likely(!multicast && !has_rate(0, RATE_EGRESS) &&
		   !has_rate(skb->ifindex, RATE_EGRESS)) &&
	    likely(!is_membership(skb) && !is_fragment(skb)))
		return 0;
	return frame_address(skb, multicast);
}
#endif
