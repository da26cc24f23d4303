/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pods talk to the world with the address of their node's uplink.
 *
 * Flows that the world began with a pod, by a route to the pods' network, must not be
 * masqueraded, though the pod's packets look alike. They are noted as translations to
 * themselves when they come in.
 */
#pragma once

#include "config.h"
#include "fragments.h"
#include "nat.h"
#include "snat.h"
#include "uplinks.h"
#include "verdict.h"

static __always_inline bool is_own_pod(const struct node_config *config, __be32 addr)
{
	return config->pod_mask && (addr & config->pod_mask) == config->pod_cidr;
}

/* Does a pod talk to this address as itself? */
static __always_inline bool is_private(const struct node_config *config, __be32 addr)
{
	struct cidr_key key = { .prefixlen = 32, .addr = addr };

	return !(config->flags & NODE_MASQUERADE) || bpf_map_lookup_elem(&no_masquerade, &key);
}

/* A packet that cannot be translated, and why it passes where it need not be. It does not
 * leave with the address of a pod where that means nothing: no answer could come back,
 * and the world would learn of the pods' network. */
static __noinline int leave_as_is(struct __sk_buff *skb, const struct packet *pkt,
				  const struct node_config *config, enum reason reason)
{
	if (!is_own_pod(config, pkt->key.src) || is_private(config, pkt->key.dst))
		return pass(skb, reason);
	if (reason == PASS_FRAGMENT)
		return drop(skb, DROP_FRAGMENT);
	if (reason == PASS_PROTOCOL || reason == PASS_TRUNCATED)
		return drop(skb, DROP_PROTOCOL);
	return drop(skb, DROP_ICMP);
}

static __always_inline int masquerade_packet(struct __sk_buff *skb, const struct packet *pkt,
					     const struct session *session)
{
	if (unlikely(pkt->fragment == FRAGMENT_FIRST))
		fragment_remember(pkt);
	if (session->src == pkt->key.src)
		return pass(skb, PASS_NOT_MASQUERADED);
	if (nat_rewrite(skb, pkt, session, NULL, false))
		return drop(skb, DROP_REWRITE_FAILED);
	return pass(skb, MASQUERADED);
}

/* First packet of a flow of a pod to the world. */
static __noinline int masquerade_flow(struct __sk_buff *skb, const struct packet *pkt,
				      const struct node_config *config)
{
	struct uplink *uplink = uplink_find(skb->ifindex);
	struct session session = {};
	enum reason failed;

	if (pkt->tcp_flags & TCP_RST)
		return drop(skb, DROP_RST_NO_SESSION);
	if (!uplink || !uplink->addr)
		return drop(skb, DROP_NO_SNAT_ADDRESS);
	session.src = uplink->addr;
	session.sport = pkt->key.sport;
	session.dst = pkt->key.dst;
	session.dport = pkt->key.dport;
	session.flags = SESSION_MASQUERADE;
	failed = snat_create(skb, pkt, config, &session);
	if (failed)
		return drop(skb, failed);
	return masquerade_packet(skb, pkt, &session);
}

/* A packet of a pod that leaves the node. */
static __noinline int masquerade(struct __sk_buff *skb, struct packet *pkt,
				 const struct node_config *config)
{
	struct session *session;

	if (is_private(config, pkt->key.dst))
		return pass(skb, PASS_NOT_MASQUERADED);
	pkt->key.zone = ZONE_MASQUERADE;
	session = session_find(pkt);
	if (session)
		return masquerade_packet(skb, pkt, session);
	if (pkt->fragment == FRAGMENT_LATER)
		return drop(skb, DROP_FRAGMENT);
	if (pkt->key.proto == IPPROTO_ICMP && pkt->icmp_type != ICMP_ECHO)
		return drop(skb, DROP_ICMP);
	return masquerade_flow(skb, pkt, config);
}

/* Notes one direction of a flow that is not translated, unless a live one that is has the
 * key: its packets would leave with another address in its midst. */
static __noinline bool note_untranslated(const struct session_key *key, const struct session *value)
{
	struct session *found;

	if (!session_write(key, value, BPF_NOEXIST))
		return true;
	found = session_read(key);
	if (found && (found->src != key->src || found->dst != key->dst) &&
	    !session_expired(found, key->proto, value->last_seen))
		return false;
	return !session_write(key, value, BPF_ANY);
}

/* Notes a flow that comes to a pod from outside and by the pod's own address. Of TCP the
 * first packet will do. */
static __noinline void masquerade_except(const struct packet *pkt, const struct node_config *config)
{
	struct session value = {
		.src = pkt->key.dst,
		.dst = pkt->key.src,
		.sport = pkt->key.dport,
		.dport = pkt->key.sport,
		.flags = SESSION_MASQUERADE,
	};
	struct session_key forward = {
		.src = pkt->key.dst,
		.dst = pkt->key.src,
		.sport = pkt->key.dport,
		.dport = pkt->key.sport,
		.proto = pkt->key.proto,
		.zone = ZONE_MASQUERADE,
	};
	struct session reply;

	if (pkt->key.proto == IPPROTO_TCP && (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return;
	if (is_private(config, pkt->key.src))
		return;
	value.created = bpf_ktime_get_ns();
	value.last_seen = value.created;
	twin_value(&forward, &value, &reply);
	if (note_untranslated(&forward, &value) && note_untranslated(&pkt->key, &reply))
		event(EVENT_SESSION_CREATED);
}
