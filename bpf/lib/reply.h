/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rewrites a packet to the node's own reply to it: a TCP reset, an ICMP error, an echo
 * reply. reject.h decides when, and sends it.
 *
 * reply_reset() and reply_icmp() are not static, and so take nothing but the context: see
 * timed_out().
 */
#pragma once

#include "csum.h"
#include "eth.h"
#include "ip4.h"
#include "l4.h"

/* Bytes of a packet that skb_sum() reads at a time. Twice as many are too many for the
 * stack of k8sd_from_l3 on 5.10 (tests/bpf/stack_test.ts). */
#define CHUNK 32

/* Stores the IP header, and swaps the addresses of the Ethernet header. */
static __always_inline long reply_store(struct __sk_buff *skb, const struct iphdr *ip)
{
#ifndef L3
	struct ethhdr eth;

	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return -1;
	eth_swap(&eth);
	if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0))
		return -1;
#endif
	return bpf_skb_store_bytes(skb, MAC_HLEN, ip, sizeof(*ip), 0);
}

/* The reset for a segment: RFC 9293, 3.10.7.1. */
static __always_inline void reset_header(const struct packet *pkt, const struct tcphdr *segment,
					 struct tcphdr *reset)
{
	__u32 headers = pkt->l4 - MAC_HLEN + segment->doff * 4;
	__u32 len = pkt->ip_len > headers ? pkt->ip_len - headers : 0;

	*reset = (struct tcphdr){
		.source = segment->dest,
		.dest = segment->source,
		.doff = sizeof(*reset) / 4,
		.rst = 1,
	};
	if (segment->ack) {
		reset->seq = segment->ack_seq;
		return;
	}
	len += segment->syn + segment->fin;
	reset->ack_seq = bpf_htonl(bpf_ntohl(segment->seq) + len);
	reset->ack = 1;
}

/* A size between 1 and `max`, a power of two, with bounds that the verifier of 5.10
 * accepts: clang merges the two comparisons that would prove them. */
#define chunk_size(size, max) (bounded((size) - 1, (max) - 1) + 1)

/* The IP header keeps its length, options become "end of list": cutting them out
 * would move headers whose place the kernel has stored. */
static __always_inline long clear_options(struct __sk_buff *skb, __u32 header)
{
	const __u32 fixed = sizeof(struct iphdr);
	__u8 zeros[64] = {}; /* options take up to 40 */

	if (header == fixed)
		return 0;
	return bpf_skb_store_bytes(skb, MAC_HLEN + fixed, zeros,
				   chunk_size(header - fixed, sizeof(zeros)), 0);
}

/* Rewrites a segment to the TCP reset for it. 0, or an error: the packet is broken. */
__noinline int reply_reset(struct __sk_buff *skb)
{
	struct tcphdr segment, reset;
	struct packet pkt;
	struct iphdr ip;
	__u32 header;
	bool partial;
	__u16 check;
	__u32 sum;

	if (ip_reply_parse(skb, &pkt) ||
	    bpf_skb_load_bytes(skb, pkt.l4, &segment, sizeof(segment)) ||
	    csum_probe(skb, pkt.l4 + offsetof(struct tcphdr, check), &check, &partial) ||
	    bpf_skb_change_tail(skb, pkt.l4 + sizeof(reset), 0))
		return -1;
	header = pkt.l4 - MAC_HLEN;
	ip_reply_header(&pkt, &ip, header, header + sizeof(reset), IPPROTO_TCP, 0);
	reset_header(&pkt, &segment, &reset);
	sum = pseudo_header(pkt.key.src, pkt.key.dst, IPPROTO_TCP, sizeof(reset));
	if (!partial)
		sum = bpf_csum_diff(NULL, 0, (__be32 *)&reset, sizeof(reset), sum);
	reset.check = partial ? csum_fold(sum) : ~csum_fold(sum);
	if (clear_options(skb, header) || reply_store(skb, &ip))
		return -1;
	return bpf_skb_store_bytes(skb, pkt.l4, &reset, sizeof(reset), 0);
}

/* Sum of `len` bytes from `at` on, `len` at most ICMP_MAX. */
static __noinline long skb_sum(struct __sk_buff *skb, __u32 at, __u32 len, __u32 *sum)
{
	__u8 chunk[CHUNK];
	int i;

	for (i = 0; i < (ICMP_MAX + CHUNK - 1) / CHUNK && len; i++) {
		__u32 n = chunk_size(len < CHUNK ? len : CHUNK, CHUNK);

		__builtin_memset(chunk, 0, CHUNK);
		if (bpf_skb_load_bytes(skb, at, chunk, n))
			return -1;
		*sum = bpf_csum_diff(NULL, 0, (__be32 *)chunk, CHUNK, *sum);
		at += n;
		len -= n;
	}
	return 0;
}

/* Sum of the `quoted` bytes from the IP header on, as they will be in the end: if a
 * device has yet to fill in the packet's checksum, it will, where it is quoted. */
static __always_inline long quoted_sum(struct __sk_buff *skb, const struct packet *pkt,
				       __u32 quoted, __u32 *sum)
{
	__u32 covered = 0;
	bool partial;
	__u16 check;

	if (skb_sum(skb, MAC_HLEN, quoted, sum))
		return -1;
	if (pkt->fragment == FRAGMENT_LATER)
		return 0;
	if (csum_probe(skb, pkt->l4 + csum_offset(pkt->key.proto), &check, &partial))
		return -1;
	if (!partial)
		return 0;
	if (skb_sum(skb, pkt->l4, MAC_HLEN + quoted - pkt->l4, &covered))
		return -1;
	*sum = csum_add(*sum, csum_diff(check, (__u16)~csum_fold(covered)));
	return 0;
}

/* Rewrites a packet to an ICMP error about it; `rest` is the second word of its header. 0, or
 * an error: the packet is broken. */
__noinline int reply_icmp(struct __sk_buff *skb, __u32 type, __u32 code, __be32 rest)
{
	const __u32 headers = sizeof(struct iphdr) + sizeof(struct icmphdr);
	struct icmphdr icmp = { .type = type, .code = code, .rest = rest };
	struct packet pkt;
	struct iphdr ip;
	__u32 quoted;
	__u32 sum = 0;

	if (ip_reply_parse(skb, &pkt))
		return -1;
	quoted = pkt.ip_len < ICMP_MAX - headers ? pkt.ip_len : ICMP_MAX - headers;
	/* First shorter, which also resets GSO, then longer. */
	if (bpf_skb_change_tail(skb, MAC_HLEN + quoted, 0) ||
	    quoted_sum(skb, &pkt, quoted, &sum) ||
	    bpf_skb_adjust_room(skb, headers, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	ip_reply_header(&pkt, &ip, sizeof(ip), headers + quoted, IPPROTO_ICMP, ICMP_TOS);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&icmp, sizeof(icmp), sum);
	icmp.checksum = ~csum_fold(sum);
	if (reply_store(skb, &ip))
		return -1;
	return bpf_skb_store_bytes(skb, MAC_HLEN + sizeof(ip), &icmp, sizeof(icmp), 0);
}

/* Rewrites an echo request to its reply. Later fragments have no ICMP header: only
 * their addresses are swapped. 0, or an error. */
static __always_inline long reply_echo(struct __sk_buff *skb, const struct packet *pkt)
{
	const __u16 request = bpf_htons(ICMP_ECHO << 8), reply = bpf_htons(ICMP_ECHOREPLY << 8);
	void *frame = packet_data(skb);
	struct iphdr *ip = frame + MAC_HLEN;
	__u8 type = ICMP_ECHOREPLY;
	addr_t addr;

	if ((void *)(ip + 1) > packet_end(skb))
		return -1;
#ifndef L3
	eth_swap(frame);
#endif
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	if (pkt->fragment == FRAGMENT_LATER)
		return 0;
	if (bpf_skb_store_bytes(skb, pkt->l4, &type, sizeof(type), 0))
		return -1;
	return bpf_l4_csum_replace(skb, pkt->l4 + offsetof(struct icmphdr, checksum), request,
				   reply, sizeof(request));
}
