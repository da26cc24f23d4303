/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What k8sdispatcher does with packets that come in: replies, packets for pods of this
 * node, for services that clients outside may use, and ICMP errors about any of these.
 */
#pragma once

#include "deliver.h"
#include "icmp_error.h"
#include "masquerade.h"
#include "node_addrs.h"
#include "node_flow.h"
#include "nodeport.h"
#include "path_error.h"
#include "reject.h"
#include "service.h"
#include "session.h"
#include "uplink_source.h"
#include "uplinks.h"

/* A reply to a client outside, of a backend that sees this node as its client. */
static __noinline int reply_to_world(struct __sk_buff *skb, const struct packet *pkt,
				     const struct session *session)
{
	struct uplink *uplink = uplink_find(session->ifindex);
	__u32 mtu = uplink ? uplink->mtu : 0;
	enum reason refused = path_check(skb, pkt, mtu);

	return refused ? reject_path(skb, pkt, refused, mtu) : uplink_reply(skb, pkt, session);
}

static __always_inline bool egress_by_stack(void)
{
	struct node_config *config = node_config();

	return config && config->flags & NODE_EGRESS_STACK;
}

/* A reply to a pod of this node, or to a client outside. A masqueraded flow may have
 * been translated before that, by lbrp: its backend is in the network of another node. */
static __noinline int reply_inbound(struct __sk_buff *skb, struct packet *pkt,
				    const struct session *session)
{
	struct session *first;

	if (session->ifindex)
		return reply_to_world(skb, pkt, session);
	if (session->flags & SESSION_MASQUERADE) {
		if (egress_by_stack()) {
			if (nat_rewrite(skb, pkt, session, NULL, false))
				return drop(skb, DROP_REWRITE_FAILED);
			return pass(skb, REPLY_ROUTED);
		}
		pkt->key.src = session->src;
		pkt->key.dst = session->dst;
		pkt->key.sport = session->sport;
		pkt->key.dport = session->dport;
		first = session_track(skb, pkt);
		if (first && first->flags & SESSION_REPLY)
			session = first;
	}
	return deliver_translated(skb, pkt, session, REPLY_DELIVERED, REPLY_ROUTED);
}

/* To a pod of this node by its own address. */
static __noinline int direct_inbound(struct __sk_buff *skb, const struct packet *pkt,
				     const struct node_config *config,
				     const struct endpoint *endpoint)
{
	if (pkt->fragment != FRAGMENT_LATER)
		exempt_inbound(pkt, config);
	if (pkt->fragment)
		return pass(skb, PASS_FRAGMENT);
	if (config->flags & NODE_EGRESS_STACK && !remote_find(pkt->key.src))
		return pass(skb, PASS_NO_SERVICE);
	return deliver(skb, endpoint, DIRECT_DELIVERED);
}

static __noinline int icmp_error_inbound(struct __sk_buff *skb, struct packet *pkt)
{
	return icmp_error(skb, pkt, ERROR_INBOUND, NULL);
}

static __noinline int echo_inbound(struct __sk_buff *skb, const struct packet *pkt)
{
	return echo(skb, pkt, REPLY_TO_DEVICE);
}

/* Is this the SYN of a new connection, to the service, by the 5-tuple of a noted flow that is
 * over? Of one that is not, the node's own TCP judges it. */
static __noinline bool node_flow_ends(const struct packet *pkt)
{
	struct session_key forward = reverse_tuple(&pkt->key, ZONE_MASQUERADE);
	struct session *session;

	if (!is_syn(pkt))
		return false;
	session = session_read(&forward);
	if (session && session->state != STATE_CLOSED)
		return false;
	session_remove(&forward);
	session_remove(&pkt->key);
	return true;
}

/* To an address of no local pod, by no session. `local`: it is the node's, where
 * NodePorts and hostPorts are open and the stack rejects what no socket takes. */
static __always_inline int address_inbound(struct __sk_buff *skb, const struct packet *pkt,
					   const struct node_config *config, bool local)
{
	struct host_port *host_port = NULL;
	struct service *service;

	if (pkt->key.proto != IPPROTO_ICMP) {
		service = service_find(pkt->key.dst, pkt->key.dport, pkt->key.proto, SCOPE_EXTERNAL);
		if (!service && local) {
			service = service_find(0, pkt->key.dport, pkt->key.proto, SCOPE_EXTERNAL);
			if (!service)
				host_port = host_port_find(pkt->key.dst, pkt->key.dport,
							   pkt->key.proto);
		}
		/* Apart: clang would join both pointers by an OR, which the verifier refuses. */
		if (service)
			return local && node_socket(skb, pkt) ?
				       pass(skb, PASS_NODE_FLOW) :
				       service_inbound(skb, pkt, config, service, NULL);
		if (host_port)
			return node_socket(skb, pkt) ?
				       pass(skb, PASS_NODE_FLOW) :
				       service_inbound(skb, pkt, config, NULL, host_port);
	}
	if ((pkt->key.proto != IPPROTO_TCP || is_syn(pkt)) && client_wrong(pkt, config))
		return drop(skb, DROP_UPLINK_SOURCE);
	if (local || !service_find(pkt->key.dst, 0, 0, SCOPE_EXTERNAL))
		return pass(skb, pkt->fragment ? PASS_FRAGMENT : PASS_NO_SERVICE);
	if (pkt->key.proto != IPPROTO_ICMP)
		return reject_inbound(skb, pkt, REJECTED_NO_PORT);
	return pkt->icmp_type == ICMP_ECHO ? echo_inbound(skb, pkt) : pass(skb, PASS_ICMP);
}

/* Packet from outside, of no session. */
static __always_inline int new_flow_inbound(struct __sk_buff *skb, const struct packet *pkt,
					    const struct node_config *config)
{
	bool local = node_addr_is_local(pkt->key.dst);
	struct endpoint *endpoint;

	if (!local) {
		endpoint = endpoint_find(pkt->key.dst);
		if (endpoint)
			return direct_inbound(skb, pkt, config, endpoint);
	}
	return address_inbound(skb, pkt, config, local);
}

/* May a fragment be of a flow that is translated here? Not if it is only routed. */
static __noinline bool fragment_concerns(const struct packet *pkt, const struct node_config *config)
{
	return node_addr_is_local(pkt->key.dst) || is_own_pod(config, pkt->key.dst) ||
	       service_find(pkt->key.dst, 0, 0, SCOPE_EXTERNAL);
}

/* Later fragments of a ping have no type; the first one was replied to. */
static __noinline int fragment_inbound(struct __sk_buff *skb, const struct packet *pkt)
{
	if (pkt->key.proto == IPPROTO_ICMP && pkt->key.sport &&
	    !node_addr_is_local(pkt->key.dst) && service_find(pkt->key.dst, 0, 0, SCOPE_EXTERNAL))
		return echo_inbound(skb, pkt);
	return pass(skb, PASS_FRAGMENT);
}
