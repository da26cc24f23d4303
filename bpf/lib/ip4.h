/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4: all that the data path knows of the IP header, of addresses, and of the helpers'
 * arguments that hold addresses.
 */
#pragma once

#include <linux/ip.h>

#include "csum.h"
#include "packet.h"
#include "reasons.h"

#define ADDR_FAMILY 2 /* AF_INET */
#define ADDR_BITS 32
#define ADDR_LOOPBACK bpf_htonl(0x7f000001)
/* Source of hairpin flows of a pod whose gateway is unknown: link-local, so no pod has
 * it, and the reply comes to the pod's default gateway. */
#define ADDR_HAIRPIN bpf_htonl(0xa9fe2a01) /* 169.254.42.1 */

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

#define IP_DEFAULT_TTL 64 /* RFC 1700 */

static __always_inline bool addr_is_loopback(addr_t addr)
{
	return (addr & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

/* The address of a single host: RFC 1122, 3.2.2 allows no ICMP error to any other. */
static __always_inline bool addr_is_host(addr_t addr)
{
	__u8 first = bpf_ntohl(addr) >> 24;

	return first != 0 && first != 127 && first < 224;
}

/* From the IP header on, without Ethernet's padding. */
static __always_inline __u32 ip_length(struct __sk_buff *skb, const struct iphdr *ip)
{
	__u32 length = bpf_ntohs(ip->tot_len);

	/* BIG TCP: a GSO packet that is longer than tot_len can say. */
	return unlikely(!length && skb->gso_size) ? skb->len - MAC_HLEN : length;
}

/* Fills in `pkt` from the IP header behind Ethernet's, with ports, flags and type 0.
 * REASON_NONE, or why the packet is to pass. */
static __always_inline enum reason ip_parse(struct __sk_buff *skb, struct packet *pkt)
{
	struct iphdr *ip = packet_data(skb) + MAC_HLEN;
	__u32 header;

	if (unlikely((void *)(ip + 1) > packet_end(skb))) {
		if (bpf_skb_pull_data(skb, MAC_HLEN + sizeof(*ip)))
			return PASS_TRUNCATED;
		ip = packet_data(skb) + MAC_HLEN;
		if ((void *)(ip + 1) > packet_end(skb))
			return PASS_TRUNCATED;
	}

	header = ip->ihl * 4;
	pkt->ip_len = ip_length(skb, ip);
	if (ip->version != 4 || header < sizeof(*ip) || pkt->ip_len < header ||
	    pkt->ip_len > skb->len - MAC_HLEN)
		return PASS_MALFORMED;

	pkt->key.src = ip->saddr;
	pkt->key.dst = ip->daddr;
	pkt->key.sport = 0;
	pkt->key.dport = 0;
	pkt->key.proto = ip->protocol;
	pkt->key.zone = ZONE_SERVICE;
	pkt->key.reserved = 0;
	pkt->l4 = MAC_HLEN + header;
	pkt->fragment = FRAGMENT_WHOLE;
	pkt->tcp_flags = 0;
	pkt->icmp_type = 0;
	pkt->ttl = ip->ttl;

	if (unlikely(ip->frag_off & bpf_htons(IP_OFFSET | IP_MF)))
		pkt->fragment = ip->frag_off & bpf_htons(IP_OFFSET) ? FRAGMENT_LATER :
								      FRAGMENT_FIRST;
	return ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP ||
			       ip->protocol == IPPROTO_ICMP ?
		       REASON_NONE :
		       PASS_PROTOCOL;
}

/* Source and destination of the packet as it is now; false if it is not IPv4. Ports stay
 * as they are where there are none. */
static __always_inline bool ip_ends(struct __sk_buff *skb, addr_t addrs[2], port_be ports[2])
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, MAC_HLEN, &ip, sizeof(ip)) || ip.version != 4)
		return false;
	if (ip.protocol == IPPROTO_TCP || ip.protocol == IPPROTO_UDP)
		bpf_skb_load_bytes(skb, MAC_HLEN + ip.ihl * 4, ports, 2 * sizeof(*ports));
	addrs[0] = ip.saddr;
	addrs[1] = ip.daddr;
	return true;
}

/* May the path's routers fragment the packet? */
static __always_inline bool ip_may_fragment(struct __sk_buff *skb)
{
	__be16 flags;

	return !bpf_skb_load_bytes(skb, MAC_HLEN + offsetof(struct iphdr, frag_off), &flags,
				   sizeof(flags)) &&
	       !(flags & bpf_htons(IP_DF));
}

/* One hop more. */
static __always_inline void ip_decrement_ttl(struct iphdr *ip)
{
	__u16 *word = (__u16 *)&ip->ttl, old = *word;

	ip->ttl--;
	ip->check = csum_update(ip->check, csum_diff(old, *word));
}

/* Replaces both addresses. Returns the difference for the pseudo header's checksum. The
 * IP checksum is never left to a device. */
static __always_inline __u32 ip_rewrite(struct iphdr *ip, addr_t src, addr_t dst)
{
	__u32 diff = csum_add(csum_diff(ip->saddr, src), csum_diff(ip->daddr, dst));

	ip->saddr = src;
	ip->daddr = dst;
	ip->check = csum_update(ip->check, diff);
	return diff;
}

/* The part of an IP header that a translation changes: checksum and addresses. */
struct ip_tail {
	__u16 check;
	addr_t src;
	addr_t dst;
} __attribute__((packed));

#define IP_TAIL offsetof(struct iphdr, check)

/* ip_rewrite() for the header at offset `at`. `diff` is the difference of all that
 * changed, `addr_diff` of the addresses. */
static __always_inline long ip_rewrite_at(struct __sk_buff *skb, __u32 at, addr_t src, addr_t dst,
					  __u32 *addr_diff, __u32 *diff)
{
	struct ip_tail tail;
	__u16 check;

	if (bpf_skb_load_bytes(skb, at + IP_TAIL, &tail, sizeof(tail)))
		return -1;
	*addr_diff = csum_add(csum_diff(tail.src, src), csum_diff(tail.dst, dst));
	check = csum_update(tail.check, *addr_diff);
	*diff = csum_add(*addr_diff, csum_diff(tail.check, check));
	tail.check = check;
	tail.src = src;
	tail.dst = dst;
	return bpf_skb_store_bytes(skb, at + IP_TAIL, &tail, sizeof(tail), 0);
}

/* Reads the IP header at offset `at` of a packet quoted by an ICMP error, which ends at
 * `end`: the reverse of its addresses into `key`, without zone and ports. Returns the
 * length of the header; 0: too short, or a later fragment. */
static __always_inline __u32 ip_quoted(struct __sk_buff *skb, __u32 at, __u32 end,
				       struct session_key *key)
{
	struct iphdr ip;
	__u32 header;

	if (at + sizeof(ip) > end || bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return 0;
	header = ip.ihl * 4;
	if (ip.version != 4 || header < sizeof(ip) || ip.frag_off & bpf_htons(IP_OFFSET))
		return 0;
	*key = (struct session_key){ .src = ip.daddr, .dst = ip.saddr, .proto = ip.protocol };
	return header;
}

/* Reads from the packet's IP header what a reply to it needs. */
static __always_inline long ip_reply_parse(struct __sk_buff *skb, struct packet *pkt)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, MAC_HLEN, &ip, sizeof(ip)) || ip.ihl * 4 < sizeof(ip))
		return -1;
	pkt->key.src = ip.saddr;
	pkt->key.dst = ip.daddr;
	pkt->key.proto = ip.protocol;
	pkt->l4 = MAC_HLEN + ip.ihl * 4;
	pkt->ip_len = ip_length(skb, &ip);
	pkt->fragment = ip.frag_off & bpf_htons(IP_OFFSET) ? FRAGMENT_LATER : FRAGMENT_WHOLE;
	return 0;
}

/* IP header of a reply, from the packet's destination to its source. `header` is
 * its length with options, which are zeros and do not count in the checksum. */
static __always_inline void ip_reply_header(const struct packet *pkt, struct iphdr *ip,
					    __u32 header, __u32 len, __u8 proto, __u8 tos)
{
	*ip = (struct iphdr){
		.version = 4,
		.ihl = header / 4,
		.tos = tos,
		.tot_len = bpf_htons(len),
		.frag_off = bpf_htons(IP_DF),
		.ttl = IP_DEFAULT_TTL,
		.protocol = proto,
		.saddr = pkt->key.dst,
		.daddr = pkt->key.src,
	};
	ip->check = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

static __always_inline __u32 pseudo_header(addr_t a, addr_t b, __u8 proto, __u16 len)
{
	return csum_add(csum_add(a, b), csum_add(bpf_htonl(proto), bpf_htonl(len)));
}

/* Arguments of helpers that hold addresses. */

static __always_inline struct bpf_fib_lookup fib_params(__u32 ifindex, addr_t dst)
{
	return (struct bpf_fib_lookup){
		.family = ADDR_FAMILY,
		.ifindex = ifindex,
		.ipv4_dst = dst,
	};
}

static __always_inline struct bpf_redir_neigh next_hop(addr_t via)
{
	return (struct bpf_redir_neigh){ .nh_family = ADDR_FAMILY, .ipv4_nh = via };
}

#define SOCK_TUPLE_LEN sizeof(((struct bpf_sock_tuple *)0)->ipv4)

static __always_inline struct bpf_sock_tuple sock_tuple(addr_t src, addr_t dst, port_be sport,
							port_be dport)
{
	return (struct bpf_sock_tuple){
		.ipv4 = { .saddr = src, .daddr = dst, .sport = sport, .dport = dport },
	};
}
