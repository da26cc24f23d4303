/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pods' packets to the world and to other nodes' own addresses, past bridge, stack and
 * netfilter: by the node's routes, ip rules included, out of the uplink that they lead to,
 * where k8sd_to_uplink masquerades them.
 *
 * Both directions of a flow go one way, or conntrack sees half of a conversation. Replies
 * of the world come in by k8sd_from_uplink, past the stack. A flow that came into the pod
 * through the stack (a hostPort by netfilter, a route by another device) was noted by
 * lbrp_to_pod with SESSION_STACK, and goes back through it. To the stack go also packets to
 * the node itself, multicast and broadcast, to devices that are no uplinks, with IP options
 * (it checks source routes), those to be fragmented, and TCP segments of no known
 * connection.
 */
#pragma once

#include "deliver.h"
#include "flow.h"
#include "icmp_quote.h"
#include "masquerade_exempt.h"
#include "path.h"
#include "reject.h"
#include "uplinks.h"

/* Is this the packet of a flow that began with one to its source, as far as the source has not
 * begun its own since? */
static __noinline bool flow_is_exempt(const struct packet *pkt)
{
	struct session_key key = pkt->key;
	struct session *session;

	key.zone = ZONE_MASQUERADE;
	session = session_read(&key);
	return session && session->src == key.src && !exempt_yields(pkt, session) &&
	       !session_expired(session, key.proto, bpf_ktime_get_ns());
}

/* Does a flow of this key (ZONE_MASQUERADE) pass by the stack? `opens`: the packet may be its
 * first. REASON_NONE: no; PASS_NO_SERVICE: yes; PASS_NO_SESSION: yes, and the entry point has
 * to call tcp_follow(). */
static __noinline enum reason passes_stack(const struct packet *pkt, const struct session_key *key,
					   bool opens)
{
	struct session *session = session_read(key);
	__u64 now;

	if (!session || !(session->flags & SESSION_STACK))
		return session || opens ? REASON_NONE : PASS_NO_SERVICE;
	now = bpf_ktime_get_ns();
	if (session_expired(session, key->proto, now) || reopens(pkt->tcp_flags, session))
		return opens ? REASON_NONE : PASS_NO_SERVICE;
	session->last_seen = now;
	session_save(key, session);
	return key->proto == IPPROTO_TCP && tcp_note(key, pkt, session) ? PASS_NO_SESSION :
									   PASS_NO_SERVICE;
}

/* The key of a packet's flow where it leaves the node, translated to `to` unless that is
 * NULL. */
static __always_inline void world_key(const struct packet *pkt, const struct session *to,
				      struct session_key *key)
{
	*key = pkt->key;
	key->zone = ZONE_MASQUERADE;
	if (!to)
		return;
	key->src = to->src;
	key->dst = to->dst;
	key->sport = to->sport;
	key->dport = to->dport;
}

/* How a packet leaves. */
struct exit {
	struct bpf_redir_neigh hop;
	__u32 ifindex;
	__u32 mtu; /* where the packet is too big */
};

/* Looks up the node's route. REASON_NONE: by an uplink; PASS_TOO_BIG, PASS_TTL_EXPIRED; else:
 * to the stack. */
static __noinline enum reason world_route(struct __sk_buff *skb, const struct packet *pkt,
					  const struct session_key *key, struct exit *exit)
{
	__u16 len = skb->gso_size ? segment_len(skb, pkt) : pkt->ip_len;
	struct node_config *config = node_config();
	struct bpf_fib_lookup route;
	long result;

	route = fib_params(config && config->pods_ifindex ? config->pods_ifindex : skb->ifindex,
			   key->dst);
	route.ipv4_src = key->src;
	route.l4_protocol = key->proto;
	route.sport = key->sport;
	route.dport = key->dport;
	route.tot_len = len;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, tos), &route.tos, 1))
		return PASS_TRUNCATED;
	result = bpf_fib_lookup(skb, &route, sizeof(route), 0);
	exit->mtu = route.mtu_result;
	/* Linux 5.10 does not return the MTU; there the stack sends the error. */
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED && exit->mtu < len && !ip_may_fragment(skb))
		return PASS_TOO_BIG;
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return PASS_NO_SERVICE;
	if (!uplink_find(route.ifindex))
		return PASS_NO_SERVICE;
	exit->ifindex = route.ifindex;
	exit->hop.nh_family = route.family;
	__builtin_memcpy(exit->hop.ipv6_nh, route.ipv6_dst, sizeof(route.ipv6_dst));
	return pkt->ttl <= 1 ? PASS_TTL_EXPIRED : REASON_NONE;
}

static __always_inline int world_send(struct exit *exit)
{
	return bpf_redirect_neigh(exit->ifindex, &exit->hop, sizeof(exit->hop), 0);
}

/* Verdict for the entry point, which has to call world_refuse(): the calls between leave
 * too little stack for it. */
#define WORLD_REFUSED 256
/* Likewise: it has to call tcp_follow(). The packet was passed on. */
#define WORLD_FOLLOWED 258

/* The error of the pod's gateway about a packet that cannot leave: larger than the MTU in
 * cb[0], or, with 0 there, TTL expired. */
static __noinline int world_refuse(struct __sk_buff *skb, const struct packet *pkt)
{
	__u32 mtu = skb->cb[0];
	struct endpoint *endpoint = endpoint_find(pkt->key.src);
	addr_t gateway = endpoint && endpoint->gateway ? endpoint->gateway : pkt->key.dst;
	__u32 addr_diff, diff;
	long failed;

	if (!mtu)
		failed = reply_icmp(skb, ICMP_TIME_EXCEEDED, 0, 0);
	else
		failed = reply_icmp(skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, bpf_htonl(mtu));
	if (failed || ip_rewrite_at(skb, ETH_HLEN, gateway, pkt->key.src, &addr_diff, &diff))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, !mtu ? REPLIED_TTL_EXPIRED : REPLIED_TOO_BIG);
	return reply_send(skb, REPLY_TO_POD);
}

static __always_inline bool may_bypass(const struct node_config *config, const struct packet *pkt,
				       addr_t src)
{
	return config && !(config->flags & NODE_EGRESS_STACK) &&
	       pkt->l4 == ETH_HLEN + sizeof(struct iphdr) && is_own_pod(config, src);
}

/* May the packet be the first of its flow? No flow to an exempt destination is noted where
 * it leaves. */
static __always_inline bool may_open(const struct node_config *config, const struct packet *pkt,
				     addr_t dst)
{
	return pkt->key.proto != IPPROTO_TCP || is_syn(pkt) || is_masquerade_exempt(config, dst);
}

/* Where a packet of a pod goes, translated to `to` unless that is NULL: see world_route(). */
static __noinline enum reason world_judge(struct __sk_buff *skb, const struct packet *pkt,
					  const struct session *to, struct exit *exit)
{
	struct node_config *config = node_config();
	struct session_key key;
	enum reason stack;

	world_key(pkt, to, &key);
	if (!addr_is_host(key.dst) || has_rate(skb->ifindex, RATE_EGRESS) ||
	    !may_bypass(config, pkt, key.src))
		return PASS_NO_SERVICE;
	stack = passes_stack(pkt, &key, may_open(config, pkt, key.dst));
	return stack ? stack : world_route(skb, pkt, &key, exit);
}

/* Sends a packet that is not translated. */
static __always_inline int world_forward(struct __sk_buff *skb, struct exit *exit)
{
	struct iphdr *ip = packet_data(skb) + ETH_HLEN;

	if ((void *)(ip + 1) > packet_end(skb))
		return drop(skb, DROP_REWRITE_FAILED);
	ip_decrement_ttl(ip);
	count(skb, WORLD_SENT);
	return world_send(exit);
}

/* A pod's packet to no pod, translated to `to` unless that is NULL. If it has to pass by
 * the stack it is counted under `routed`. */
static __noinline int world_from_pod(struct __sk_buff *skb, const struct packet *pkt,
				     const struct session *to, enum reason routed)
{
	struct exit exit = {};
	enum reason refused = world_judge(skb, pkt, to, &exit);
	int verdict;

	if ((refused == PASS_TTL_EXPIRED || refused == PASS_TOO_BIG) &&
	    pkt->fragment != FRAGMENT_LATER) {
		skb->cb[0] = refused == PASS_TOO_BIG ? exit.mtu : 0;
		return WORLD_REFUSED;
	}
	if (to && nat_rewrite(skb, pkt, to, NULL, !refused))
		return drop(skb, DROP_REWRITE_FAILED);
	if (refused) {
		verdict = pass(skb, routed);
		return refused == PASS_NO_SESSION ? WORLD_FOLLOWED : verdict;
	}
	if (to) {
		count(skb, to->flags & SESSION_REPLY ? REPLY_SENT : FORWARD_SENT);
		return world_send(&exit);
	}
	return world_forward(skb, &exit);
}

/* Does a pod's ICMP error quote a flow with the world that does not pass by the stack? */
static __noinline bool quotes_bypass(struct __sk_buff *skb, const struct packet *pkt)
{
	struct node_config *config = node_config();
	struct session *session;
	struct quote quote;

	if (!may_bypass(config, pkt, pkt->key.src) || !quote_parse(skb, pkt, &quote))
		return false;
	quote.key.zone = ZONE_MASQUERADE;
	session = session_read(&quote.key);
	return session && !(session->flags & SESSION_STACK);
}

/* Sends such an error. */
static __noinline int world_error_from_pod(struct __sk_buff *skb, const struct packet *pkt)
{
	struct exit exit = {};

	if (world_route(skb, pkt, &pkt->key, &exit))
		return pass(skb, PASS_ICMP_ERROR);
	return world_forward(skb, &exit);
}
