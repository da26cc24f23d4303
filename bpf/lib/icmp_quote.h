/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Translates ICMP errors together with the flow that they are about.
 *
 * An error quotes the packet that caused it as its sender saw it. The reverse of that is
 * the key of a session, and the reverse of that session's translation is the quoted
 * packet as the receiver of the error knows it (RFC 5508, 4.2): one rule for a client's
 * errors about replies, for a backend's, and for a router's "fragmentation needed" on
 * the path, without which path MTU discovery fails.
 */
#pragma once

#include "csum.h"
#include "deliver.h"
#include "ip4.h"
#include "l4.h"
#include "session.h"

/* The quoted packet; offsets from the frame's start. */
struct quote {
	struct session_key key; /* of the session: the reverse of the quoted tuple */
	__u32 ip; /* its IP header */
	__u32 l4; /* its transport header */
	__u32 end; /* of what is quoted */
};

/* Reads the quoted ports, reversed. */
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

/* False when the quotation is not, or not enough of, a TCP or UDP packet or an echo.
 * The key is of the packet's zone. */
static __always_inline bool quote_parse(struct __sk_buff *skb, const struct packet *pkt,
					struct quote *quote)
{
	__u32 header;

	quote->ip = pkt->l4 + sizeof(struct icmphdr);
	quote->end = MAC_HLEN + pkt->ip_len;
	header = ip_quoted(skb, quote->ip, quote->end, &quote->key);
	if (!header)
		return false;
	quote->l4 = quote->ip + header;
	quote->key.zone = pkt->key.zone;
	return quote_ports(skb, quote);
}

/* Updates the quoted transport checksum, where the quotation reaches it: receivers need
 * not check it, but RFC 5508, REQ-4 asks for it. */
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
	port_be ports[2] = { session->dport, session->sport };
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

	if (ip_rewrite_at(skb, quote->ip, session->dst, session->src, &addr_diff, &diff) ||
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

/* Is the error of a pod with a limited rate about what a client outside sent? As with a
 * reply to it, see translate_limited(), it is translated where it leaves. */
static __always_inline bool translated_later(struct __sk_buff *skb, const struct session *session)
{
	return session->flags & SESSION_REPLY && session->ifindex &&
	       has_rate(skb->ifindex, RATE_EGRESS);
}

/* Translates an error about a translated flow. On success the packet's new
 * destination is in pkt->key.dst, and in `uplink` the one that the flow's client is
 * behind, or 0. REASON_NONE, PASS_ICMP_ERROR or DROP_REWRITE_FAILED. */
static __noinline enum reason icmp_error_translate(struct __sk_buff *skb, struct packet *pkt,
						   __u32 *uplink)
{
	__u32 addr_diff, diff;
	struct session *session;
	struct quote quote;
	addr_t src;

	if (!quote_parse(skb, pkt, &quote) || pkt->key.dst != quote.key.dst)
		return PASS_ICMP_ERROR;
	session = session_read(&quote.key);
	if (!session || translated_later(skb, session))
		return PASS_ICMP_ERROR;
	if (quote_rewrite(skb, pkt, &quote, session))
		return DROP_REWRITE_FAILED;
	/* From the flow's other end itself, or from a router on the path? */
	src = pkt->key.src == quote.key.src ? session->src : pkt->key.src;
	if (ip_rewrite_at(skb, MAC_HLEN, src, session->dst, &addr_diff, &diff))
		return DROP_REWRITE_FAILED;
	pkt->key.dst = session->dst;
	*uplink = session->flags & SESSION_REPLY ? session->ifindex : 0;
	return REASON_NONE;
}
