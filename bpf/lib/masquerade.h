/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Masquerade: pods' packets to the world get the address of their node's uplink.
 *
 * Flows that the world began with a pod, by a route to the pods' network, are exempt,
 * though the pod's packets look alike. They have sessions that translate to themselves,
 * created when their first packet comes in.
 */
#pragma once

#include "config.h"
#include "fragments.h"
#include "masquerade_exempt.h"
#include "nat.h"
#include "snat.h"
#include "uplinks.h"
#include "verdict.h"

static __always_inline int masquerade_packet(struct __sk_buff *skb, const struct packet *pkt,
					     const struct session *session)
{
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

	if (is_masquerade_exempt(config, pkt->key.dst))
		return pass(skb, PASS_NOT_MASQUERADED);
	pkt->key.zone = ZONE_MASQUERADE;
	session = session_track(pkt);
	if (session) {
		fragment_note(pkt);
		return masquerade_packet(skb, pkt, session);
	}
	if (pkt->fragment == FRAGMENT_LATER)
		return drop(skb, DROP_FRAGMENT);
	if (pkt->key.proto == IPPROTO_ICMP && pkt->icmp_type != ICMP_ECHO)
		return drop(skb, DROP_ICMP);
	return masquerade_flow(skb, pkt, config);
}

/* Writes one entry of an exempt flow, unless a live flow that is translated has the key:
 * its packets would change their source in the middle of a connection. */
static __noinline bool exempt_entry(const struct session_key *key, const struct session *value)
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

/* Creates the session of a flow from outside to a pod's own address, at a SYN or any
 * datagram. */
static __noinline void exempt_inbound(const struct packet *pkt, const struct node_config *config)
{
	struct session_key forward = reverse_tuple(&pkt->key, ZONE_MASQUERADE);
	struct session value = {
		.src = forward.src,
		.dst = forward.dst,
		.sport = forward.sport,
		.dport = forward.dport,
		.flags = SESSION_MASQUERADE,
	};
	struct session reply;

	if (pkt->key.proto == IPPROTO_TCP && !is_syn(pkt))
		return;
	if (is_masquerade_exempt(config, pkt->key.src))
		return;
	value.created = bpf_ktime_get_ns();
	value.last_seen = value.created;
	reverse_entry(&forward, &value, &reply);
	if (exempt_entry(&forward, &value) && exempt_entry(&pkt->key, &reply))
		event(EVENT_SESSION_CREATED);
}
