/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Transport headers: TCP, UDP, ICMP. */
#pragma once

#include <linux/tcp.h>
#include <linux/udp.h>

#include "icmp4.h"
#include "packet.h"
#include "reasons.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* The transport header is at least this long, and all of it is in reach. */
static __always_inline __u32 l4_size(__u8 proto)
{
	return proto == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
}

/* Where in it the checksum is. */
static __always_inline __u32 csum_offset(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		return offsetof(struct udphdr, check);
	default:
		return offsetof(struct icmphdr, checksum);
	}
}

/* A TCP segment that opens a connection. */
static __always_inline bool is_syn(const struct packet *pkt)
{
	return (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Reads ports, flags, ICMP type. The header may lie in a page of its own, where a
 * program cannot read it before it is pulled in. */
static __always_inline enum reason l4_parse(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 size = l4_size(pkt->key.proto);
	__u8 *l4 = packet_l4(skb, pkt);

	if (unlikely((void *)l4 + size > packet_end(skb))) {
		if (bpf_skb_pull_data(skb, pkt->l4 + size))
			return PASS_TRUNCATED;
		l4 = packet_l4(skb, pkt);
	}
	if ((void *)l4 + sizeof(struct udphdr) > packet_end(skb))
		return PASS_TRUNCATED;
	if (pkt->key.proto == IPPROTO_ICMP) {
		pkt->icmp_type = l4[0];
		if (pkt->icmp_type == ICMP_ECHO)
			pkt->key.sport = *(__be16 *)(l4 + ICMP_ID);
		else if (pkt->icmp_type == ICMP_ECHOREPLY)
			pkt->key.dport = *(__be16 *)(l4 + ICMP_ID);
		return REASON_NONE;
	}
	pkt->key.sport = *(__be16 *)l4;
	pkt->key.dport = *(__be16 *)(l4 + 2);
	if (pkt->key.proto == IPPROTO_TCP) {
		if ((void *)l4 + sizeof(struct tcphdr) > packet_end(skb))
			return PASS_TRUNCATED;
		pkt->tcp_flags = l4[13];
	}
	return REASON_NONE;
}
