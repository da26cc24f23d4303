/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ethernet, IPv4 with options, TCP, UDP, ICMP: what a packet is. Whatever is none
 * of these gets a PASS_ reason, and passes untouched.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bounded.h"
#include "icmphdr.h"
#include "reasons.h"
#include "types.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

enum fragment_part {
	FRAGMENT_WHOLE = 0, /* not fragmented */
	FRAGMENT_FIRST, /* has the ports */
	FRAGMENT_LATER,
};

struct packet {
	struct session_key key; /* the 5-tuple as carried; ports 0 where there are none. An
				 * echo's identifier is the port of the one who asks. */
	__u32 ip_len; /* bytes from the IP header on, without Ethernet's padding */
	__u32 l4; /* offset of the transport header */
	__be16 ip_id;
	__u8 fragment; /* enum fragment_part */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 ttl;
};

/* The two fields are 32 bits wide to the compiler and pointers to the verifier. A
 * load in assembly keeps clang from moving them through 32-bit registers. */
#define skb_pointer(skb, field)                                                            \
	({                                                                                 \
		void *__pointer;                                                           \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                      \
			     : "=r"(__pointer)                                             \
			     : "r"(skb), "i"(offsetof(struct __sk_buff, field)));          \
		__pointer;                                                                 \
	})

static __always_inline void *packet_data(struct __sk_buff *skb)
{
	return skb_pointer(skb, data);
}

static __always_inline void *packet_end(struct __sk_buff *skb)
{
	return skb_pointer(skb, data_end);
}

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

static __always_inline enum reason ethertype_reason(__be16 proto)
{
	switch (proto) {
	case bpf_htons(ETH_P_IPV6):
		return PASS_IPV6;
	case bpf_htons(ETH_P_ARP):
		return PASS_ARP;
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return PASS_VLAN;
	default:
		return PASS_ETHERTYPE;
	}
}

/* Ports, flags, ICMP type. The header may lie in a page of its own, where a program
 * cannot read it before it is pulled in. */
static __always_inline enum reason packet_parse_l4(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 size = l4_size(pkt->key.proto);
	__u8 *l4 = packet_data(skb) + bounded(pkt->l4, 127);

	if (unlikely((void *)l4 + size > packet_end(skb))) {
		if (bpf_skb_pull_data(skb, pkt->l4 + size))
			return PASS_TRUNCATED;
		l4 = packet_data(skb) + bounded(pkt->l4, 127);
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

/* From the IP header on, without Ethernet's padding. */
static __always_inline __u32 ip_length(struct __sk_buff *skb, const struct iphdr *ip)
{
	__u32 length = bpf_ntohs(ip->tot_len);

	/* "BIG TCP": a segment to be cut up that is longer than tot_len can say. */
	return unlikely(!length && skb->gso_size) ? skb->len - ETH_HLEN : length;
}

/* Fills in `pkt` and returns REASON_NONE, or says why the packet is to pass. */
static __always_inline enum reason packet_parse(struct __sk_buff *skb, struct packet *pkt)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip;
	__u32 header;

	if ((void *)(eth + 1) > packet_end(skb))
		return PASS_TRUNCATED;
	if (unlikely(eth->h_proto != bpf_htons(ETH_P_IP)))
		return ethertype_reason(eth->h_proto);
	if (unlikely(skb->vlan_present)) /* the tag was taken out of the frame */
		return PASS_VLAN;
	ip = (void *)(eth + 1);
	if (unlikely((void *)(ip + 1) > packet_end(skb))) {
		if (bpf_skb_pull_data(skb, ETH_HLEN + sizeof(*ip)))
			return PASS_TRUNCATED;
		ip = packet_data(skb) + ETH_HLEN;
		if ((void *)(ip + 1) > packet_end(skb))
			return PASS_TRUNCATED;
	}

	header = ip->ihl * 4;
	pkt->ip_len = ip_length(skb, ip);
	if (ip->version != 4 || header < sizeof(*ip) || pkt->ip_len < header ||
	    pkt->ip_len > skb->len - ETH_HLEN)
		return PASS_MALFORMED;

	pkt->key.src = ip->saddr;
	pkt->key.dst = ip->daddr;
	pkt->key.sport = 0;
	pkt->key.dport = 0;
	pkt->key.proto = ip->protocol;
	pkt->key.zone = ZONE_SERVICE;
	pkt->key.reserved = 0;
	pkt->l4 = ETH_HLEN + header;
	pkt->ip_id = ip->id;
	pkt->fragment = FRAGMENT_WHOLE;
	pkt->tcp_flags = 0;
	pkt->icmp_type = 0;
	pkt->ttl = ip->ttl;

	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP &&
	    ip->protocol != IPPROTO_ICMP)
		return PASS_PROTOCOL;
	if (unlikely(ip->frag_off & bpf_htons(IP_OFFSET | IP_MF))) {
		if (ip->frag_off & bpf_htons(IP_OFFSET)) {
			pkt->fragment = FRAGMENT_LATER;
			return REASON_NONE;
		}
		pkt->fragment = FRAGMENT_FIRST;
	}
	if (pkt->ip_len < header + l4_size(ip->protocol))
		return PASS_TRUNCATED;
	return packet_parse_l4(skb, pkt);
}
