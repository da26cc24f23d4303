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
static __always_inline bool syn_only(__u8 tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline bool is_syn(const struct packet *pkt)
{
	return syn_only(pkt->tcp_flags);
}

/* Does a device still have to compute the transport checksum at `at` (CHECKSUM_PARTIAL),
 * over all that follows the transport header's start? Nothing shows it, and nothing can
 * change it; but a change that is not of the pseudo header leaves such a checksum as it
 * is. `check` is what the packet has there. */
static __always_inline long csum_probe(struct __sk_buff *skb, __u32 at, __u16 *check,
				       bool *partial)
{
	__u16 after;

	if (bpf_skb_load_bytes(skb, at, check, sizeof(*check)) ||
	    bpf_l4_csum_replace(skb, at, 0, 0x1234, sizeof(*check)) ||
	    bpf_skb_load_bytes(skb, at, &after, sizeof(after)))
		return -1;
	*partial = after == *check;
	return *partial ? 0 : bpf_skb_store_bytes(skb, at, check, sizeof(*check), 0);
}

static __always_inline void tcp_parse(struct packet *pkt, const struct tcphdr *tcp)
{
	__u32 flags = ((const __u8 *)tcp)[13];

	pkt->tcp_flags = flags;
#ifndef CONVERTING
	__s32 len = pkt->ip_len + MAC_HLEN - pkt->l4 - tcp->doff * 4;

	pkt->seq = bpf_ntohl(tcp->seq);
	pkt->ack = bpf_ntohl(tcp->ack_seq);
	pkt->seq_end = pkt->seq + (len > 0 ? len : 0) + (flags & TCP_FIN) + ((flags & TCP_SYN) >> 1);
#endif
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
		tcp_parse(pkt, (struct tcphdr *)l4);
	}
	return REASON_NONE;
}
