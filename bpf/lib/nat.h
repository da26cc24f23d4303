/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gives a packet the addresses and ports of its session, and repairs checksums. */
#pragma once

#include "csum.h"
#include "deliver.h"
#include "packet.h"

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
	struct icmphdr *icmp = packet_data(skb) + bounded(pkt->l4, 127);
	__be16 *id = (void *)icmp + ICMP_ID;
	__be16 port = to->sport | to->dport; /* the other one is 0 */

	if ((void *)(icmp + 1) > packet_end(skb))
		return -1;
	icmp->checksum = csum_update(icmp->checksum, csum_diff(*id, port));
	*id = port;
	return 0;
}

/* A hop more: the packet is on its way to another host. */
static __always_inline void ttl_step(struct iphdr *ip)
{
	__u16 *word = (__u16 *)&ip->ttl, old = *word;

	ip->ttl--;
	ip->check = csum_update(ip->check, csum_diff(old, *word));
}

/* Translates the packet to `to`. All that is written directly is written before the
 * first helper, which would take the pointers away: so the frame is addressed here
 * too, to `mac` if there is one, and `hops` counted. The IP checksum is never left to a
 * device. Returns nonzero when the packet is spoilt. */
static __always_inline long nat_rewrite(struct __sk_buff *skb, const struct packet *pkt,
					const struct session *to, const __u8 *mac, bool hops)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);
	__u32 addr_diff, port_diff, ports;
	__u32 *l4;

	if ((void *)(ip + 1) > packet_end(skb))
		return -1;
	if (mac)
		frame_address(eth, mac);
	if (hops)
		ttl_step(ip);
	addr_diff = csum_add(csum_diff(ip->saddr, to->src), csum_diff(ip->daddr, to->dst));
	ip->saddr = to->src;
	ip->daddr = to->dst;
	ip->check = csum_update(ip->check, addr_diff);
	if (unlikely(pkt->fragment == FRAGMENT_LATER))
		return 0;
	if (unlikely(pkt->key.proto == IPPROTO_ICMP))
		return nat_echo(skb, pkt, to);

	l4 = packet_data(skb) + bounded(pkt->l4, 127);
	if ((void *)(l4 + 1) > packet_end(skb))
		return -1;
	ports = csum_pair(to->sport, to->dport);
	port_diff = csum_diff(*l4, ports);
	*l4 = ports;
	return nat_csum(skb, pkt, addr_diff, port_diff);
}
