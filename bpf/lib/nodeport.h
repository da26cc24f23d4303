/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Services for clients outside the cluster: NodePorts, external IPs, load balancers'
 * addresses, and hostPorts.
 *
 * A backend on this node sees its client's own address. For one on another node this
 * node does SNAT to its address on the pod network, because the reply has to come back
 * here. Packets to a backend in this node's own network, or behind a device that is no
 * uplink, are left to the stack; its reply is translated where it leaves.
 */
#pragma once

#include "backend.h"
#include "config.h"
#include "deliver.h"
#include "host_port.h"
#include "path_error.h"
#include "reject.h"
#include "remotes.h"
#include "service.h"
#include "session_create.h"
#include "snat.h"
#include "uplink_source.h"
#include "uplinks.h"

static __always_inline bool is_routed(long result)
{
	return result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH ||
	       result == BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

/* The uplink by which the node's routes lead to an address; 0: none does. */
static __noinline __u32 route_uplink(struct __sk_buff *skb, addr_t dst)
{
	struct bpf_fib_lookup route = fib_params(skb->ifindex, dst);

	if (!is_routed(bpf_fib_lookup(skb, &route, sizeof(route), 0)))
		return 0;
	return uplink_find(route.ifindex) ? route.ifindex : 0;
}

/* The uplink that replies to a client leave by: the one that it came in by, unless only
 * another one's routes lead back. */
static __noinline __u32 reply_uplink(struct __sk_buff *skb, const struct packet *pkt)
{
	struct bpf_fib_lookup route = fib_params(skb->ifindex, pkt->key.src);
	__u32 other;

	route.ipv4_src = pkt->key.dst; /* for rules of policy routing */
	if (is_routed(bpf_fib_lookup(skb, &route, sizeof(route), BPF_FIB_LOOKUP_OUTPUT)))
		return skb->ifindex;
	other = route_uplink(skb, pkt->key.src);
	return other ? other : skb->ifindex;
}

static __noinline int reject_inbound(struct __sk_buff *skb, const struct packet *pkt,
				     enum reason reason)
{
	return reject(skb, pkt, reason, REPLY_TO_DEVICE);
}

/* To a backend that sees this node as its client, by the node's routes. */
static __always_inline int forward_routed(struct __sk_buff *skb, const struct packet *pkt,
					  const struct session *session)
{
	__u32 ifindex = route_uplink(skb, session->dst);
	struct uplink *uplink = uplink_find(ifindex);
	enum reason refused;

	if (!uplink)
		return drop(skb, DROP_NO_ROUTE);
	refused = path_check(skb, pkt, uplink->mtu);
	if (refused)
		return reject_path(skb, pkt, refused, uplink->mtu);
	if (nat_rewrite(skb, pkt, session, NULL, true))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, FORWARD_SENT);
	return uplink_send(skb, ifindex);
}

/* To a backend that sees this node as its client. */
static __noinline int forward_snat(struct __sk_buff *skb, const struct packet *pkt,
				   const struct session *session)
{
	struct remote *remote = remote_find(session->dst);
	enum reason refused;

	if (!remote || !remote_bypasses_stack(remote))
		return forward_routed(skb, pkt, session);
	refused = path_check(skb, pkt, remote->mtu);
	/* The stack may fragment the tunnel's own packets instead. */
	if (refused == PASS_TOO_BIG && remote->mode == REMOTE_OVERLAY && ip_may_fragment(skb))
		refused = REASON_NONE;
	if (refused)
		return reject_path(skb, pkt, refused, remote->mtu);
	if (nat_rewrite(skb, pkt, session, remote->mac, true))
		return drop(skb, DROP_REWRITE_FAILED);
	return remote_send(skb, remote, FORWARD_SENT);
}

/* A packet from a client, to the backend of its flow. */
static __always_inline int forward_inbound(struct __sk_buff *skb, const struct packet *pkt,
					   const struct session *session)
{
	if (session->flags & SESSION_SNAT)
		return forward_snat(skb, pkt, session);
	return deliver_translated(skb, pkt, session, FORWARD_DELIVERED, FORWARD_ROUTED);
}

/* The source address that a backend sees. `needed`: one of this node's, 0 if unknown; else
 * the client's own. */
static __noinline addr_t snat_source(struct __sk_buff *skb, const struct node_config *config,
				     addr_t backend, bool *needed)
{
	struct uplink *uplink;
	__u32 ifindex;

	*needed = false;
	if (endpoint_find(backend))
		return 0;
	if (remote_find(backend)) {
		*needed = true;
		return config->snat_addr;
	}
	ifindex = route_uplink(skb, backend);
	if (!ifindex)
		return 0;
	*needed = true;
	uplink = uplink_find(ifindex);
	return uplink ? uplink->addr : 0;
}

/* First packet of a flow from outside to a service, or to a hostPort where `service` is
 * NULL. */
static __noinline int service_inbound(struct __sk_buff *skb, const struct packet *pkt,
				      const struct node_config *config,
				      const struct service *service,
				      const struct host_port *host_port)
{
	struct flow_scratch *scratch = scratch_get();
	struct session *session;
	struct backend *backend;
	enum reason failed;
	bool snat;

	if (!scratch)
		return drop(skb, DROP_SESSIONS_FULL);
	if (client_wrong(pkt, config))
		return drop(skb, DROP_UPLINK_SOURCE);
	session = &scratch->created;
	*session = (struct session){};
	if (pkt->tcp_flags & TCP_RST)
		return drop(skb, DROP_RST_NO_SESSION);
	if (service) {
		if (!source_allowed(service, pkt->key.src))
			return drop(skb, DROP_SOURCE_RANGE);
		backend = backend_pick(service, &pkt->key, false);
		if (!backend)
			return service->flags & SERVICE_LOCAL_ONLY ?
				       drop(skb, DROP_NO_LOCAL_BACKEND) :
				       reject_inbound(skb, pkt, REJECTED_NO_BACKEND);
		session->service_id = service->id;
		session->dst = backend->addr;
		session->dport = backend->port;
	} else if (host_port) {
		session->dst = host_port->addr;
		session->dport = host_port->port;
	}
	session->ifindex = reply_uplink(skb, pkt);
	session->sport = pkt->key.sport;
	session->src = snat_source(skb, config, session->dst, &snat);
	if (snat && !session->src)
		return drop(skb, DROP_NO_SNAT_ADDRESS);
	if (snat && pkt->key.proto == IPPROTO_UDP && session->dport == config->overlay_port &&
	    !remote_find(session->dst))
		return drop(skb, DROP_TUNNEL); /* it would be taken for this node's own */
	if (snat) {
		session->flags = SESSION_SNAT;
		failed = snat_create(skb, pkt, config, session);
	} else {
		session->src = pkt->key.src;
		failed = session_create(pkt, session);
	}
	if (failed)
		return drop(skb, failed);
	return forward_inbound(skb, pkt, session);
}
