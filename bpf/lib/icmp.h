/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP errors travel with the flow they are about, and service addresses answer
 * pings.
 *
 * An error quotes the packet that caused it as its sender saw it. Turned around,
 * that is the key of a session whose translation, turned around again, is how the
 * quoted packet looks to the one who is told (RFC 5508, 4.2): one rule for the
 * client's errors about replies, for those of a backend, and for a router's "too
 * big" on the way, without which path MTU discovery dies.
 */
#pragma once

#include "csum.h"
#include "nat.h"
#include "packet.h"
#include "session.h"

static __always_inline bool icmp_is_error(__u8 type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

/* The part of an IP header that a translation changes: checksum and addresses. */
struct ip_tail {
	__u16 check;
	__be32 src;
	__be32 dst;
} __attribute__((packed));

#define IP_TAIL offsetof(struct iphdr, check)

/* What is known of the quoted packet; offsets from the frame's start. */
struct quote {
	struct session_key key; /* of the session: the quoted tuple turned around */
	__u32 ip; /* its IP header */
	__u32 l4; /* its transport header */
	__u32 end; /* of what is quoted */
};

/* Reads the ports of what is quoted, and turns them around. */
static __always_inline bool quote_ports(struct __sk_buff *skb, struct quote *quote)
{
	__be16 words[3] = {};

	if (quote->key.proto == IPPROTO_TCP || quote->key.proto == IPPROTO_UDP) {
		if (quote->l4 + 2 * sizeof(*words) > quote->end ||
		    bpf_skb_load_bytes(skb, quote->l4, words, 2 * sizeof(*words)))
			return false;
		quote->key.sport = words[1];
		quote->key.dport = words[0];
		return true;
	}
	if (quote->key.proto != IPPROTO_ICMP || quote->l4 + sizeof(words) > quote->end ||
	    bpf_skb_load_bytes(skb, quote->l4, words, sizeof(words)))
		return false;
	if (words[0] == bpf_htons(ICMP_ECHO << 8))
		quote->key.dport = words[ICMP_ID / 2];
	else if (words[0] == bpf_htons(ICMP_ECHOREPLY << 8))
		quote->key.sport = words[ICMP_ID / 2];
	else
		return false;
	return true;
}

/* False when what is quoted is not, or not enough of, a TCP or UDP packet or an echo.
 * The zone to look in is that of the packet. */
static __always_inline bool icmp_quote(struct __sk_buff *skb, const struct packet *pkt,
				       struct quote *quote)
{
	struct iphdr ip;
	__u32 header;

	quote->ip = pkt->l4 + sizeof(struct icmphdr);
	quote->end = ETH_HLEN + pkt->ip_len;
	if (quote->ip + sizeof(ip) > quote->end ||
	    bpf_skb_load_bytes(skb, quote->ip, &ip, sizeof(ip)))
		return false;
	header = ip.ihl * 4;
	quote->l4 = quote->ip + header;
	if (ip.version != 4 || header < sizeof(ip) || ip.frag_off & bpf_htons(IP_OFFSET))
		return false;
	quote->key = (struct session_key){
		.src = ip.daddr,
		.dst = ip.saddr,
		.proto = ip.protocol,
		.zone = pkt->key.zone,
	};
	return quote_ports(skb, quote);
}

/* Rewrites the addresses of the IP header at `at`; adds what changed to `diff`. */
static __always_inline long ip_readdress(struct __sk_buff *skb, __u32 at, __be32 src, __be32 dst,
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

/* The quoted transport checksum, where the quotation reaches it: receivers need not
 * look at it, but it is put in order as RFC 5508, REQ-4 asks. */
static __always_inline long quote_csum(struct __sk_buff *skb, const struct quote *quote,
				       __u32 changed, __u32 *diff)
{
	__u32 at = quote->l4 + csum_offset(quote->key.proto);
	bool udp = quote->key.proto == IPPROTO_UDP;
	__u16 old, new;

	if (at + sizeof(old) > quote->end)
		return 0;
	if (bpf_skb_load_bytes(skb, at, &old, sizeof(old)))
		return -1;
	if (udp && !old)
		return 0;
	new = csum_update(old, changed);
	if (udp && !new)
		new = 0xffff;
	*diff = csum_add(*diff, csum_diff(old, new));
	return bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0);
}

/* Writes the quoted ports: the reverse of the session's. */
static __always_inline long quote_store_ports(struct __sk_buff *skb, const struct quote *quote,
					      const struct session *session)
{
	__be16 ports[2] = { session->dport, session->sport };
	__be16 id = session->dport | session->sport; /* one of them is 0 */

	if (quote->key.proto == IPPROTO_ICMP)
		return bpf_skb_store_bytes(skb, quote->l4 + ICMP_ID, &id, sizeof(id), 0);
	return bpf_skb_store_bytes(skb, quote->l4, ports, sizeof(ports), 0);
}

/* Translates the quoted packet to the reverse of `session`. */
static __always_inline long quote_rewrite(struct __sk_buff *skb, const struct packet *pkt,
					  const struct quote *quote, const struct session *session)
{
	__u32 addr_diff, port_diff, changed, diff;

	if (ip_readdress(skb, quote->ip, session->dst, session->src, &addr_diff, &diff) ||
	    quote_store_ports(skb, quote, session))
		return -1;
	port_diff = csum_diff(csum_pair(quote->key.dport, quote->key.sport),
			      csum_pair(session->dport, session->sport));
	diff = csum_add(diff, port_diff);
	/* An echo's checksum has no pseudo header. */
	changed = quote->key.proto == IPPROTO_ICMP ? port_diff : csum_add(addr_diff, port_diff);
	if (quote_csum(skb, quote, changed, &diff))
		return -1;
	return bpf_l4_csum_replace(skb, pkt->l4 + offsetof(struct icmphdr, checksum), 0, diff, 0);
}

/* Translates an error about a translated flow. On success the packet's new
 * destination is in pkt->key.dst, and the uplink that the flow's client is behind in
 * `ifindex`, or 0. REASON_NONE, PASS_ICMP_ERROR or DROP_REWRITE_FAILED. */
static __noinline enum reason icmp_error_translate(struct __sk_buff *skb, struct packet *pkt,
						   __u32 *ifindex)
{
	__u32 addr_diff, diff;
	struct session *session;
	struct quote quote;
	__be32 src;

	if (!icmp_quote(skb, pkt, &quote) || pkt->key.dst != quote.key.dst)
		return PASS_ICMP_ERROR;
	session = session_read(&quote.key);
	if (!session)
		return PASS_ICMP_ERROR;
	if (quote_rewrite(skb, pkt, &quote, session))
		return DROP_REWRITE_FAILED;
	/* From the end of the flow itself, or from a router on the way? */
	src = pkt->key.src == quote.key.src ? session->src : pkt->key.src;
	if (ip_readdress(skb, ETH_HLEN, src, session->dst, &addr_diff, &diff))
		return DROP_REWRITE_FAILED;
	pkt->key.dst = session->dst;
	*ifindex = session->flags & SESSION_REPLY ? session->ifindex : 0;
	return REASON_NONE;
}

/* Turns an echo request for a service address into its reply, which is then to be sent
 * back. Later fragments have no ICMP header and are only turned around. */
static __noinline enum reason icmp_echo_answer(struct __sk_buff *skb, const struct packet *pkt)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);
	const __u16 request = bpf_htons(ICMP_ECHO << 8), reply = bpf_htons(ICMP_ECHOREPLY << 8);
	__be32 addr;

	if ((void *)(ip + 1) > packet_end(skb))
		return DROP_REWRITE_FAILED;
	frame_turn(eth);
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	if (pkt->fragment != FRAGMENT_LATER) {
		__u8 type = ICMP_ECHOREPLY;

		if (bpf_skb_store_bytes(skb, pkt->l4, &type, sizeof(type), 0) ||
		    bpf_l4_csum_replace(skb, pkt->l4 + offsetof(struct icmphdr, checksum), request,
					reply, sizeof(request)))
			return DROP_REWRITE_FAILED;
	}
	return ECHO_REPLIED;
}
