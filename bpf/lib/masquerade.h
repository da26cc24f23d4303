/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Masquerade: pods' packets to the world get the address of their node's uplink.
 *
 * Flows that the world began with a pod, by a route to the pods' network, are exempt,
 * though the pod's packets look alike. They have sessions that translate to themselves,
 * created when their first packet comes in.
 */
#pragma once

#include "config.h"
#include "masquerade_exempt.h"
#include "nat.h"
#include "node_addrs.h"
#include "node_flow.h"
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
	/* It would be taken for this node's own, at whichever address of another node. */
	if (is_tunnel(config, &pkt->key))
		return drop(skb, DROP_TUNNEL);
	pkt->key.zone = ZONE_MASQUERADE;
	session = session_track(skb, pkt);
	if (session && !exempt_yields(pkt, session))
		return masquerade_packet(skb, pkt, session);
	if (pkt->fragment == FRAGMENT_LATER)
		return drop(skb, DROP_FRAGMENT);
	if (pkt->key.proto == IPPROTO_ICMP && pkt->icmp_type != ICMP_ECHO)
		return drop(skb, DROP_ICMP);
	return masquerade_flow(skb, pkt, config);
}

/* Does a node itself send, from the port of a NodePort? */
static __always_inline bool is_node_port_client(const struct packet *pkt)
{
	return node_addr_find(pkt->key.src) &&
	       port_taken(pkt->key.src, pkt->key.sport, pkt->key.proto);
}

/* Notes a flow from outside to a pod's own address, at a SYN, an echo request or a datagram that
 * does not look like a reply, which may be forged: of replies to an exempt source only those
 * that a service would take (service_of()). */
static __noinline void exempt_inbound(const struct packet *pkt, const struct node_config *config)
{
	struct session_key forward = reverse_tuple(&pkt->key, ZONE_MASQUERADE);

	if (!may_begin(pkt))
		return;
	if (!is_masquerade_exempt(config, pkt->key.src) || is_node_port_client(pkt))
		exempt_create(pkt, &forward, STATE_NEW, 0);
}
