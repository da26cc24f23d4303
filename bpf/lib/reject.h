/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Answers of the node itself, made of the packet that they answer; it is the caller's
 * to send them back. A refusal of a packet to a service address: TCP gets a reset, UDP
 * an ICMP port unreachable.
 * There is no limit on the rate of what goes back into the pod that asks for it. What
 * leaves the node is limited, by who sends it.
 */
#pragma once

#include "csum.h"
#include "deliver.h"
#include "packet.h"

#define REPLY_TTL 64 /* RFC 1700 */
#define ICMP_MAX 576 /* RFC 1812, 4.3.2.3: length of an ICMP error */
#define ICMP_TOS 0xc0 /* RFC 1812, 4.3.2.5: internetwork control */
#define CHUNK 64

/* An answer goes to a single host only: RFC 1122, 3.2.2. */
static __always_inline bool answerable(const struct packet *pkt)
{
	__u8 first = bpf_ntohl(pkt->key.src) >> 24;

	return first != 0 && first != 127 && first < 224;
}

/* Reads again what an answer needs to know. The functions that make answers are not
 * static, and so take nothing but the packet: see timed_out(). */
static __always_inline long asked(struct __sk_buff *skb, struct packet *pkt)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.ihl * 4 < sizeof(ip))
		return -1;
	pkt->key.src = ip.saddr;
	pkt->key.dst = ip.daddr;
	pkt->key.proto = ip.protocol;
	pkt->l4 = ETH_HLEN + ip.ihl * 4;
	pkt->ip_len = ip_length(skb, &ip);
	pkt->fragment = ip.frag_off & bpf_htons(IP_OFFSET) ? FRAGMENT_LATER : FRAGMENT_WHOLE;
	return 0;
}

/* IP header of an answer, from the packet's destination to its source. `header` is
 * its length with options, which are zeros and do not count in the checksum. */
static __always_inline void answer_ip(const struct packet *pkt, struct iphdr *ip, __u32 header,
				      __u32 len, __u8 proto, __u8 tos)
{
	*ip = (struct iphdr){
		.version = 4,
		.ihl = header / 4,
		.tos = tos,
		.tot_len = bpf_htons(len),
		.frag_off = bpf_htons(IP_DF),
		.ttl = REPLY_TTL,
		.protocol = proto,
		.saddr = pkt->key.dst,
		.daddr = pkt->key.src,
	};
	ip->check = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

static __always_inline long answer_store(struct __sk_buff *skb, const struct ethhdr *eth,
					 const struct iphdr *ip)
{
	return bpf_skb_store_bytes(skb, 0, eth, sizeof(*eth), 0) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN, ip, sizeof(*ip), 0);
}

/* Does a device still have to compute the transport checksum at `at`, over all that
 * follows the transport header's start? Nothing tells, and nothing can be done about
 * it; but a change that is not of the pseudo header leaves such a checksum alone,
 * which gives it away. `check` is what the packet has there. */
static __always_inline long csum_probe(struct __sk_buff *skb, __u32 at, __u16 *check,
				       bool *partial)
{
	__u16 after;

	if (bpf_skb_load_bytes(skb, at, check, sizeof(*check)) ||
	    bpf_l4_csum_replace(skb, at, 0, 0x1234, sizeof(*check)) ||
	    bpf_skb_load_bytes(skb, at, &after, sizeof(after)))
		return -1;
	*partial = after == *check;
	return bpf_skb_store_bytes(skb, at, check, sizeof(*check), 0);
}

/* The reset that answers a segment: RFC 9293, 3.10.7.1. */
static __always_inline void answer_tcp(const struct packet *pkt, const struct tcphdr *segment,
				       struct tcphdr *reset)
{
	/* As much as its header says, or nothing. */
	__u32 headers = pkt->l4 - ETH_HLEN + segment->doff * 4;
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

static __always_inline __u32 pseudo_header(__be32 a, __be32 b, __u8 proto, __u16 len)
{
	return csum_add(csum_add(a, b), csum_add(bpf_htonl(proto), bpf_htonl(len)));
}

/* A size between 1 and CHUNK as the verifier of 5.10 understands it: clang makes one
 * comparison of the two that would say so. */
#define chunk_size(size) (bounded((size) - 1, CHUNK - 1) + 1)

/* The IP header keeps its length, options become "end of list": cutting them out
 * would move headers that the kernel has noted the place of. */
static __always_inline long clear_options(struct __sk_buff *skb, __u32 header)
{
	const __u32 fixed = sizeof(struct iphdr);
	__u8 zeros[CHUNK] = {};

	if (header == fixed)
		return 0;
	return bpf_skb_store_bytes(skb, ETH_HLEN + fixed, zeros, chunk_size(header - fixed), 0);
}

__noinline int reject_tcp(struct __sk_buff *skb)
{
	struct tcphdr segment, reset;
	struct packet pkt;
	struct ethhdr eth;
	struct iphdr ip;
	__u32 header;
	bool partial;
	__u16 check;
	__u32 sum;

	if (asked(skb, &pkt) || bpf_skb_load_bytes(skb, pkt.l4, &segment, sizeof(segment)) ||
	    bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) ||
	    csum_probe(skb, pkt.l4 + offsetof(struct tcphdr, check), &check, &partial) ||
	    bpf_skb_change_tail(skb, pkt.l4 + sizeof(reset), 0))
		return -1;
	header = pkt.l4 - ETH_HLEN;
	frame_turn(&eth);
	answer_ip(&pkt, &ip, header, header + sizeof(reset), IPPROTO_TCP, 0);
	answer_tcp(&pkt, &segment, &reset);
	sum = pseudo_header(pkt.key.src, pkt.key.dst, IPPROTO_TCP, sizeof(reset));
	if (!partial)
		sum = bpf_csum_diff(NULL, 0, (__be32 *)&reset, sizeof(reset), sum);
	reset.check = partial ? csum_fold(sum) : ~csum_fold(sum);
	if (clear_options(skb, header) || answer_store(skb, &eth, &ip))
		return -1;
	return bpf_skb_store_bytes(skb, pkt.l4, &reset, sizeof(reset), 0);
}

/* Sum of `len` bytes from `at` on, `len` at most ICMP_MAX. */
static __noinline long skb_sum(struct __sk_buff *skb, __u32 at, __u32 len, __u32 *sum)
{
	__u8 chunk[CHUNK];
	int i;

	for (i = 0; i < (ICMP_MAX + CHUNK - 1) / CHUNK && len; i++) {
		__u32 n = chunk_size(len < CHUNK ? len : CHUNK);

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

	if (skb_sum(skb, ETH_HLEN, quoted, sum))
		return -1;
	if (pkt->fragment == FRAGMENT_LATER)
		return 0;
	if (csum_probe(skb, pkt->l4 + csum_offset(pkt->key.proto), &check, &partial))
		return -1;
	if (!partial)
		return 0;
	if (skb_sum(skb, pkt->l4, ETH_HLEN + quoted - pkt->l4, &covered))
		return -1;
	*sum = csum_add(*sum, csum_diff(check, (__u16)~csum_fold(covered)));
	return 0;
}

/* Makes an ICMP error about the packet. */
__noinline int answer_icmp(struct __sk_buff *skb, __u32 type, __u32 code, __be32 rest)
{
	const __u32 headers = sizeof(struct iphdr) + sizeof(struct icmphdr);
	struct icmphdr icmp = { .type = type, .code = code, .rest = rest };
	struct packet pkt;
	struct ethhdr eth;
	struct iphdr ip;
	__u32 quoted;
	__u32 sum = 0;

	if (asked(skb, &pkt) || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return -1;
	quoted = pkt.ip_len < ICMP_MAX - headers ? pkt.ip_len : ICMP_MAX - headers;
	/* First shorter, which also makes one datagram of a pack (GSO), then longer. */
	if (bpf_skb_change_tail(skb, ETH_HLEN + quoted, 0) ||
	    quoted_sum(skb, &pkt, quoted, &sum) ||
	    bpf_skb_adjust_room(skb, headers, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	frame_turn(&eth);
	answer_ip(&pkt, &ip, sizeof(ip), headers + quoted, IPPROTO_ICMP, ICMP_TOS);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&icmp, sizeof(icmp), sum);
	icmp.checksum = ~csum_fold(sum);
	if (answer_store(skb, &eth, &ip))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &icmp, sizeof(icmp), 0);
}

/* Makes a refusal of the packet. REASON_NONE, or why there is none. */
static __noinline enum reason reject(struct __sk_buff *skb, const struct packet *pkt)
{
	long failed;

	if (pkt->tcp_flags & TCP_RST)
		return DROP_RST_NO_SESSION;
	if (!answerable(pkt))
		return DROP_INVALID_SOURCE;
	if (pkt->key.proto == IPPROTO_TCP)
		failed = reject_tcp(skb);
	else
		failed = answer_icmp(skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0);
	return failed ? DROP_REWRITE_FAILED : REASON_NONE;
}
