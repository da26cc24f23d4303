/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Source address validation (RFC 2827): a pod sends from its own addresses only, by the
 * device that its frames come from: IP and MAC addresses, ARP's sender. Nor does it speak as
 * a router or a DHCP server, or to what is the node's alone.
 *
 * An address is its pod's by `endpoints`, of which a pod may have several. Frames without one
 * that could be looked up have their MAC address checked by `pod_devices`.
 *
 * Limitations. Of IPv6, the MAC address is checked, and what only routers send. The programs
 * of a conversion, which run for seconds, check nothing.
 */
#pragma once

#include <linux/in6.h>

#include "arp.h"
#include "config.h"
#include "deliver.h"
#include "node_addrs.h"
#include "remotes.h"
#include "partial.h"
#include "segment.h"

#ifdef CONVERTING
#define source_check(skb, pkt, parsed) (REASON_NONE)
#else

#define DHCP_SERVER bpf_htons(67)
#define DHCP_CLIENT bpf_htons(68)
#define DHCP6_CLIENT bpf_htons(546)
#define DHCP6_SERVER bpf_htons(547)
#define ADDR_BROADCAST 0xffffffff

static __always_inline bool mac_equals(const void *a, const void *b)
{
	const __u16 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

static __always_inline bool sent_by_mac(struct __sk_buff *skb, const __u8 *mac)
{
	struct ethhdr *eth = packet_data(skb);

	return (void *)(eth + 1) <= packet_end(skb) && mac_equals(eth->h_source, mac);
}

/* The pod's own address? REASON_NONE, or why it is not. */
static __always_inline enum reason address_check(struct __sk_buff *skb, addr_t addr)
{
	struct endpoint *endpoint = endpoint_find(addr);

	if (!endpoint || endpoint->ifindex != skb->ifindex)
		return DROP_SOURCE_ADDRESS;
	return sent_by_mac(skb, endpoint->mac) ? REASON_NONE : DROP_SOURCE_MAC;
}

/* A probe (RFC 5227) has no sender's address; it is for an address of the pod. */
static __noinline enum reason arp_check(struct __sk_buff *skb)
{
	struct endpoint *endpoint;
	struct arp arp;

	if (!arp_load(skb, &arp))
		return DROP_ARP_SENDER;
	endpoint = endpoint_find(arp.sender ? arp.sender : arp.target);
	if (!endpoint || endpoint->ifindex != skb->ifindex ||
	    !mac_equals(endpoint->mac, arp.sender_mac) || !sent_by_mac(skb, endpoint->mac))
		return DROP_ARP_SENDER;
	return csum_written(skb, 0);
}

#define IPV6_HLEN 40
#define IPV6_EXTENSIONS 4 /* more than any host sends */

/* The upper layer's protocol and offset, past the extension headers (RFC 8200, 4); false: not
 * found. IPPROTO_NONE: of a later fragment. */
static __always_inline bool ip6_upper(struct __sk_buff *skb, __u8 *proto, __u32 *at)
{
	__u8 next[4];
	int i;

	if (bpf_skb_load_bytes(skb, ETH_HLEN + 6, proto, 1))
		return false;
	*at = ETH_HLEN + IPV6_HLEN;
#pragma unroll
	for (i = 0; i <= IPV6_EXTENSIONS; i++) {
		if (*proto != IPPROTO_HOPOPTS && *proto != IPPROTO_ROUTING &&
		    *proto != IPPROTO_DSTOPTS && *proto != IPPROTO_FRAGMENT && *proto != IPPROTO_AH)
			return true;
		if (bpf_skb_load_bytes(skb, *at, next, sizeof(next)))
			return false;
		if (*proto == IPPROTO_FRAGMENT && (next[2] || next[3] & 0xf8)) {
			*proto = IPPROTO_NONE;
			return true;
		}
		if (*proto == IPPROTO_AH)
			*at += (next[1] + 2) * 4;
		else
			*at += *proto == IPPROTO_FRAGMENT ? 8 : (next[1] + 1) * 8;
		*proto = next[0];
	}
	return false;
}

/* ICMPv6 types (RFC 4861). */
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_REDIRECT 137

static __noinline enum reason ip6_check(struct __sk_buff *skb, const struct pod_device *device)
{
	struct node_config *config = node_config();
	__be16 ports[2];
	__u8 proto, type;
	__u32 at;

	if (device && !sent_by_mac(skb, device->mac))
		return DROP_SOURCE_MAC;
	if (!ip6_upper(skb, &proto, &at))
		return DROP_MALFORMED;
	if (proto == IPPROTO_ICMPV6) {
		if (bpf_skb_load_bytes(skb, at, &type, 1))
			return DROP_MALFORMED;
		return type == ND_ROUTER_ADVERTISEMENT || type == ND_REDIRECT ?
			       DROP_ROUTER_MESSAGE :
			       csum_written(skb, 0);
	}
	if (proto == IPPROTO_UDP) {
		if (bpf_skb_load_bytes(skb, at, ports, sizeof(ports)))
			return DROP_MALFORMED;
		if (ports[0] == DHCP6_SERVER || ports[1] == DHCP6_CLIENT)
			return DROP_ROUTER_MESSAGE;
		if (config && config->overlay_port && ports[1] == config->overlay_port)
			return DROP_TUNNEL;
	}
	return csum_written(skb, proto == IPPROTO_NONE ? 0 : at + csum_offset(proto));
}

/* A pod without an address asks for one. */
static __always_inline bool is_dhcp_request(const struct packet *pkt)
{
	return !pkt->key.src && pkt->key.dst == ADDR_BROADCAST &&
	       pkt->key.proto == IPPROTO_UDP && pkt->key.sport == DHCP_CLIENT &&
	       pkt->key.dport == DHCP_SERVER && !pkt->fragment;
}

/* A frame that is not simply from the pod's address: see source_check(). */
static __noinline enum reason frame_check(struct __sk_buff *skb, const struct packet *pkt,
					  enum reason parsed)
{
	struct pod_device *device = pod_device_of(skb);

	if (device && device->flags & POD_UNCHECKED)
		return REASON_NONE;
	switch (parsed) {
	case PASS_ARP:
		return arp_check(skb);
	case PASS_IPV6:
		return ip6_check(skb, device);
	case PASS_VLAN:
	case PASS_ETHERTYPE:
		return DROP_ETHERTYPE;
	case PASS_TRUNCATED:
	case PASS_MALFORMED:
		return DROP_MALFORMED;
	default:
		break;
	}
	if (!parsed && is_dhcp_request(pkt))
		return device && !sent_by_mac(skb, device->mac) ? DROP_SOURCE_MAC : REASON_NONE;
	return address_check(skb, pkt->key.src);
}

/* An error is about a packet to the pod itself. About packets of others only routers send errors:
 * a pod's would end flows of its neighbours, and make their paths and its node's narrow. No
 * host sends one in fragments. */
static __noinline enum reason icmp_check(struct __sk_buff *skb, const struct packet *pkt)
{
	const __u32 quoted = sizeof(struct icmphdr) + offsetof(struct iphdr, daddr);
	bool error = is_error_type(pkt->icmp_type);
	struct pod_device *device;
	struct endpoint *endpoint;
	addr_t addr;

	if (pkt->fragment == FRAGMENT_LATER ||
	    (!error && pkt->icmp_type != ICMP_REDIRECT &&
	     pkt->icmp_type != ICMP_ROUTER_ADVERTISEMENT))
		return REASON_NONE;
	device = pod_device_of(skb);
	if (device && device->flags & POD_UNCHECKED)
		return REASON_NONE;
	if (pkt->fragment || !error ||
	    bpf_skb_load_bytes(skb, pkt->l4 + quoted, &addr, sizeof(addr)))
		return DROP_ROUTER_MESSAGE;
	endpoint = endpoint_find(addr);
	return endpoint && endpoint->ifindex == skb->ifindex ? REASON_NONE : DROP_ROUTER_MESSAGE;
}

/* Is the address one by which a node's own sockets are reached: a node's, a multicast or
 * broadcast address, its gateway's or another one of a podCIDR that no pod can have? Of other
 * nodes' podCIDRs the first two and the last one. */
static __noinline bool reaches_node(const struct node_config *config, addr_t addr)
{
	struct vtep_key key = {};
	struct remote *remote;
	struct vtep *vtep;
	__u32 host, all;

	if (node_addr_find(addr) || bpf_ntohl(addr) >> 28 >= 0xe)
		return true;
	if (is_own_pod(config, addr))
		return !endpoint_find(addr);
	remote = remote_find(addr);
	if (!remote)
		return false;
	key.addr = remote->via;
	vtep = bpf_map_lookup_elem(&vteps, &key);
	if (!vtep || !vtep->pod_mask)
		return false;
	all = bpf_ntohl(~vtep->pod_mask);
	host = bpf_ntohl(addr) & all;
	return host <= 1 || host == all;
}

/* Is it to what no pod may send to, or what no pod may say? */
static __always_inline enum reason destination_check(struct __sk_buff *skb,
						     const struct packet *pkt,
						     const struct node_config *config,
						     enum reason parsed)
{
	if (unlikely(addr_is_loopback(pkt->key.dst)))
		return DROP_LOOPBACK;
	if (parsed || likely(pkt->key.proto == IPPROTO_TCP))
		return REASON_NONE;
	if (pkt->key.proto == IPPROTO_ICMP)
		return icmp_check(skb, pkt);
	if (pkt->key.proto != IPPROTO_UDP)
		return REASON_NONE;
	if (unlikely(is_tunnel(config, &pkt->key)) && reaches_node(config, pkt->key.dst))
		return DROP_TUNNEL;
	if (unlikely(pkt->key.dport == DHCP_CLIENT))
		return DROP_ROUTER_MESSAGE;
	return REASON_NONE;
}

/* May the pod send this? REASON_NONE, or why not. `parsed`: what packet_parse() returned;
 * source and destination are 0 if it is not IPv4. */
static __always_inline enum reason source_check(struct __sk_buff *skb, const struct packet *pkt,
						enum reason parsed)
{
	struct node_config *config = node_config();
	enum reason refused;

	if (!config || !(config->flags & NODE_SOURCE_CHECK))
		return REASON_NONE;
	if (unlikely(parsed) || unlikely(address_check(skb, pkt->key.src))) {
		refused = frame_check(skb, pkt, parsed);
		if (refused)
			return refused;
	}
	return destination_check(skb, pkt, config, parsed);
}
#endif
