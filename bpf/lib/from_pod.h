/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What lbrp does with packets that a pod sends: to the backend of a service, to the client
 * of one, to another pod, or to the node's stack.
 */
#pragma once

#include "backend.h"
#include "deliver.h"
#include "host_port.h"
#include "icmp_error.h"
#include "nat.h"
#include "node_addrs.h"
#include "node_flow.h"
#include "reject.h"
#include "remotes.h"
#include "segment.h"
#include "service.h"
#include "session_evict.h"
#include "snat.h"
#include "uplinks.h"
#include "world.h"

static __noinline int reject_from_pod(struct __sk_buff *skb, const struct packet *pkt,
				      enum reason reason)
{
	return reject(skb, pkt, reason, REPLY_TO_POD);
}

/* A flow whose other end is no pod of this node: one of another node's or of the
 * node's own network, or a client outside. What the stack has to reject goes there
 * translated, if the ICMP error is translated back on its way to the pod. */
static __noinline int translate_away(struct __sk_buff *skb, const struct packet *pkt,
				     const struct session *session)
{
	bool reply = session->flags & SESSION_REPLY;
	struct remote *remote;
	enum reason refused;

	if (reply && session->ifindex) {
		refused = uplink_check(skb, pkt, session->ifindex);
		return refused ? pass(skb, refused) : uplink_reply(skb, pkt, session);
	}
	remote = remote_find(session->dst);
	if (remote ? !remote_bypasses_stack(remote) : !reply)
		return world_from_pod(skb, pkt, session, reply ? REPLY_ROUTED : FORWARD_ROUTED);
	if (!remote || path_check(skb, pkt, remote->mtu)) {
		if (nat_rewrite(skb, pkt, session, NULL, false))
			return drop(skb, DROP_REWRITE_FAILED);
		return pass(skb, reply ? REPLY_ROUTED : FORWARD_ROUTED);
	}
	if (nat_rewrite(skb, pkt, session, remote->mac, true))
		return drop(skb, DROP_REWRITE_FAILED);
	return remote_send(skb, remote, reply ? REPLY_SENT : FORWARD_SENT);
}

/* Translates a packet of a pod whose sending rate is limited: by filters that run after
 * this program and lead to another device's qdisc, from which the packet enters the node
 * anew, past this program. So it is not redirected: to_bridge() addresses it. A reply to a
 * client outside is translated where it leaves: the stack would drop its source, one of its
 * own addresses, as a martian. */
static __noinline int translate_limited(struct __sk_buff *skb, const struct packet *pkt,
					const struct session *session)
{
	bool reply = session->flags & SESSION_REPLY;

	if (reply && session->ifindex)
		return pass(skb, REPLY_ROUTED);
	if (nat_rewrite(skb, pkt, session, NULL, false))
		return drop(skb, DROP_REWRITE_FAILED);
	return pass(skb, reply ? REPLY_ROUTED : FORWARD_ROUTED);
}

/* Translates a packet of a pod by its session, and sends it. */
static __always_inline int translate_from_pod(struct __sk_buff *skb, const struct packet *pkt,
					      const struct session *session)
{
	struct endpoint *endpoint = endpoint_find(session->dst);

	/* No port of a bridge gets back what it sent. */
	if (has_rate(skb->ifindex, RATE_EGRESS) &&
	    (!endpoint || endpoint->ifindex != skb->ifindex))
		return translate_limited(skb, pkt, session);
	if (!endpoint)
		return translate_away(skb, pkt, session);
	if (nat_rewrite(skb, pkt, session, endpoint->mac, false))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, session->flags & SESSION_REPLY ? REPLY_DELIVERED : FORWARD_DELIVERED);
	return redirect_into_pod(skb, endpoint->ifindex, endpoint->mac);
}

/* Verdict for the entry point, which has to create the session, and to translate the
 * packet by it: two calls less deep. */
#define SESSION_PICKED 257

/* First packet of a flow to a service: picks the backend that the flow keeps. Where
 * `service` is NULL, it is to a hostPort. SESSION_PICKED, or a verdict. */
static __noinline int service_from_pod(struct __sk_buff *skb, const struct packet *pkt,
				       const struct service *service, const struct host_port *host_port,
				       struct session *session)
{
	struct backend *backend;

	*session = (struct session){};

	/* It would only create a session for a connection that is gone. */
	if (pkt->tcp_flags & TCP_RST)
		return drop(skb, DROP_RST_NO_SESSION);
	if (service) {
		if (!source_allowed(service, pkt->key.src))
			return drop(skb, DROP_SOURCE_RANGE);
		session->service_id = service->id;
		backend = backend_pick(service, &pkt->key, true);
		if (!backend)
			return service->flags & SERVICE_LOCAL_ONLY ?
				       drop(skb, DROP_NO_LOCAL_BACKEND) :
				       reject_from_pod(skb, pkt, REJECTED_NO_BACKEND);
		session->dst = backend->addr;
		session->dport = backend->port;
	} else if (host_port) {
		session->dst = host_port->addr;
		session->dport = host_port->port;
	}
	session->src = pkt->key.src;
	session->sport = pkt->key.sport;
	return SESSION_PICKED;
}

/* A client that is its own backend would drop a packet from its own address as a
 * martian: it sees its gateway as the source. That is an address of the node, whose own
 * connections to the pod come from it: so the port is one that the node has none from. */
static __always_inline enum reason hairpin_create(struct __sk_buff *skb,
						  const struct packet *pkt,
						  struct session *session)
{
	struct endpoint *endpoint = endpoint_find(pkt->key.src);
	struct node_config *config = node_config();

	if (!config)
		return DROP_NO_SNAT_ADDRESS;
	session->src = endpoint && endpoint->gateway ? endpoint->gateway : ADDR_HAIRPIN;
	session->flags = SESSION_HAIRPIN;
	return snat_create(skb, pkt, config, session);
}

/* Creates the session of a flow whose backend is picked. */
static __always_inline enum reason session_open(struct __sk_buff *skb, const struct packet *pkt,
						struct session *session)
{
	if (unlikely(session->dst == session->src))
		return hairpin_create(skb, pkt, session);
	return session_create(pkt, session);
}

/* To a pod of another node by its own address. */
static __always_inline int direct_from_pod(struct __sk_buff *skb, const struct packet *pkt,
					   const struct remote *remote)
{
	enum reason refused;

	if (!remote_bypasses_stack(remote))
		return world_from_pod(skb, pkt, NULL, PASS_NO_SERVICE);
	refused = path_check(skb, pkt, remote->mtu);
	if (refused)
		return pass(skb, refused);
	return remote_forward(skb, remote, DIRECT_SENT);
}

/* The service that a pod's packet is for, or the hostPort, which is this node's only. A
 * NodePort is open at every node's address, and for a pod its own node chooses the
 * backend: the packets need not go to that node. Replies to a node's own connection from
 * that port are for neither. */
static __noinline struct service *service_of(struct __sk_buff *skb, const struct packet *pkt,
					     struct host_port **host_port)
{
	struct service *service = service_find(pkt->key.dst, pkt->key.dport, pkt->key.proto,
					       SCOPE_CLUSTER);
	struct node_addr *node = node_addr_find(pkt->key.dst);
	struct host_port *found = NULL;

	if (!node)
		return service;
	if (!service)
		service = service_find(0, pkt->key.dport, pkt->key.proto, SCOPE_CLUSTER);
	if (!service && node->flags & NODE_ADDR_LOCAL)
		found = host_port_find(pkt->key.dst, pkt->key.dport, pkt->key.proto);
	if (!service && !found)
		return NULL;
	if (flow_is_exempt(pkt) || (node->flags & NODE_ADDR_LOCAL && node_socket(skb, pkt)))
		return NULL;
	*host_port = found;
	return service;
}

/* Packet of no session: to a pod, to a service, or neither. See service_from_pod(). */
static __noinline int new_flow_from_pod(struct __sk_buff *skb, const struct packet *pkt,
					struct session *session)
{
	struct endpoint *endpoint = endpoint_find(pkt->key.dst);
	struct host_port *host_port = NULL;
	struct service *service;
	struct remote *remote;

	if (endpoint) {
		if (!pkt->fragment)
			session_evict(pkt);
		return into_pod(skb, endpoint, pkt->fragment ? PASS_FRAGMENT : PASS_NO_SERVICE);
	}
	remote = remote_find(pkt->key.dst);
	if (remote && !pkt->fragment) {
		session_evict(pkt);
		if (has_rate(skb->ifindex, RATE_EGRESS))
			return pass(skb, PASS_NO_SERVICE);
		return direct_from_pod(skb, pkt, remote);
	}
	service = service_of(skb, pkt, &host_port);
	if (service || host_port)
		return service_from_pod(skb, pkt, service, host_port, session);
	if (service_find(pkt->key.dst, 0, 0, SCOPE_CLUSTER))
		return reject_from_pod(skb, pkt, REJECTED_NO_PORT);
	return world_from_pod(skb, pkt, NULL, pkt->fragment ? PASS_FRAGMENT : PASS_NO_SERVICE);
}

/* A later fragment of no session. Where the ports lead to a service, the first one was refused:
 * without it this one would wait at the node, which is not whom it is for. */
static __noinline int later_from_pod(struct __sk_buff *skb, const struct packet *pkt)
{
	struct host_port *host_port = NULL;

	if (pkt->key.sport && (service_of(skb, pkt, &host_port) || host_port))
		return drop(skb, DROP_FRAGMENT_OVERLAP);
	return pkt->key.sport && !endpoint_find(pkt->key.dst) ?
		       world_from_pod(skb, pkt, NULL, PASS_FRAGMENT) :
		       local_or_pass(skb, pkt, PASS_FRAGMENT);
}

static __noinline int icmp_error_from_pod(struct __sk_buff *skb, struct packet *pkt)
{
	if (quotes_bypass(skb, pkt))
		return has_rate(skb->ifindex, RATE_EGRESS) ? pass(skb, PASS_ICMP_ERROR) :
							     world_error_from_pod(skb, pkt);
	return icmp_error(skb, pkt, ERROR_FROM_POD, NULL);
}

static __noinline int echo_from_pod(struct __sk_buff *skb, const struct packet *pkt)
{
	return echo(skb, pkt, REPLY_TO_POD);
}

static __noinline int icmp_from_pod(struct __sk_buff *skb, struct packet *pkt)
{
	bool ping = pkt->icmp_type == ICMP_ECHO;
	struct endpoint *endpoint;
	struct remote *remote;

	if (is_icmp_error(pkt))
		return icmp_error_from_pod(skb, pkt);
	if (pkt->fragment == FRAGMENT_LATER)
		ping = pkt->key.sport != 0;
	if (ping && service_find(pkt->key.dst, 0, 0, SCOPE_CLUSTER))
		return echo_from_pod(skb, pkt);
	endpoint = endpoint_find(pkt->key.dst);
	if (endpoint)
		return into_pod(skb, endpoint, pkt->fragment ? PASS_FRAGMENT : PASS_ICMP);
	if (has_rate(skb->ifindex, RATE_EGRESS))
		return pass(skb, pkt->fragment ? PASS_FRAGMENT : PASS_ICMP);
	remote = remote_find(pkt->key.dst);
	if (remote)
		return pkt->fragment ? pass(skb, PASS_FRAGMENT) : direct_from_pod(skb, pkt, remote);
	if (pkt->key.sport || pkt->key.dport) /* an echo or its reply */
		return world_from_pod(skb, pkt, NULL, PASS_ICMP);
	return pass(skb, pkt->fragment ? PASS_FRAGMENT : PASS_ICMP);
}
