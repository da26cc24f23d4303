/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gives a packet the addresses and ports of its session, and updates checksums. */
#pragma once

#include "csum.h"
#include "eth.h"
#include "ip4.h"
#include "l4.h"

/* The transport checksum. Two differences, because a packet that a pod has just
 * sent usually carries the sum of its pseudo header only and leaves the rest to the
 * device (CHECKSUM_PARTIAL): there the ports must not be counted. Only the helper
 * can see which it is. A UDP checksum of zero (none) stays zero, one that becomes
 * zero is written as 0xffff (RFC 768). */
static __always_inline long nat_csum(struct __sk_buff *skb, const struct packet *pkt,
				     __u32 addr_diff, __u32 port_diff)
{
	bool tcp = pkt->key.proto == IPPROTO_TCP;
	__u32 at = pkt->l4 + (tcp ? offsetof(struct tcphdr, check) :
				    offsetof(struct udphdr, check));
	__u64 flags = tcp ? 0 : BPF_F_MARK_MANGLED_0;
	long failed;

	failed = bpf_l4_csum_replace(skb, at, 0, addr_diff, flags | BPF_F_PSEUDO_HDR);
	/* A difference of zero, in either of its two forms. */
	if (!failed && port_diff && ~port_diff)
		failed = bpf_l4_csum_replace(skb, at, 0, port_diff, flags);
	return failed;
}

/* An echo has one port, its identifier, and a checksum without pseudo header, which no
 * device computes. */
static __always_inline long nat_echo(struct __sk_buff *skb, const struct packet *pkt,
				     const struct session *to)
{
	struct icmphdr *icmp = packet_l4(skb, pkt);
	__be16 *id = (void *)icmp + ICMP_ID;
	port_be port = to->sport | to->dport; /* the other one is 0 */

	if ((void *)(icmp + 1) > packet_end(skb))
		return -1;
	icmp->checksum = csum_update(icmp->checksum, csum_diff(*id, port));
	*id = port;
	return 0;
}

/* Translates the packet to `to`. With `mac`, the frame goes to that address; with `hop`,
 * the TTL is decremented. All direct writes come before the first helper, which
 * invalidates packet pointers. Returns nonzero when the packet is broken. */
static __always_inline long nat_rewrite(struct __sk_buff *skb, const struct packet *pkt,
					const struct session *to, const __u8 *mac, bool hop)
{
	void *frame = packet_data(skb);
	struct iphdr *ip = frame + MAC_HLEN;
	__u32 addr_diff, port_diff, ports;
	__u32 *l4;

	if ((void *)(ip + 1) > packet_end(skb))
		return -1;
	if (mac)
		eth_set(frame, mac);
	if (hop)
		ip_decrement_ttl(ip);
	addr_diff = ip_rewrite(ip, to->src, to->dst);
	if (unlikely(pkt->fragment == FRAGMENT_LATER))
		return 0;
	if (unlikely(pkt->key.proto == IPPROTO_ICMP))
		return nat_echo(skb, pkt, to);

	l4 = packet_l4(skb, pkt);
	if ((void *)(l4 + 1) > packet_end(skb))
		return -1;
	ports = csum_pair(to->sport, to->dport);
	port_diff = csum_diff(*l4, ports);
	*l4 = ports;
	return nat_csum(skb, pkt, addr_diff, port_diff);
}
