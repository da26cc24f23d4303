/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Verdicts for sockets that connect or send: service address in, backend out. */
#pragma once

#include "hostlb.h"

enum verdict {
	VERDICT_DENIED = 0, /* EPERM; what a hook returns */
	VERDICT_ALLOWED = 1,
};

/* A rejected socket is connected to a port that no process can listen on: connect() fails
 * at once with ECONNREFUSED, as clients expect. Before 5.18 a program itself can only
 * return EPERM. */
static const struct peer refused = { .addr = ADDR_LOOPBACK, .port = 0 };

static __always_inline bool is_served(struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP;
}

/* A socket that is bound to a device does not reach loopback. */
static __always_inline bool is_device_bound(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk && sk->bound_dev_if;
}

static __always_inline void count_rejection(const struct frontend *found)
{
	hostlb_count(found->rejected ? HOSTLB_REJECTED_NO_PORT : HOSTLB_REJECTED_NO_BACKEND);
}

/* connect(): replaces `peer`, the original destination, by a backend. */
static __noinline enum verdict socket_connect(struct bpf_sock_addr *ctx, struct peer *peer)
{
	struct peer original = *peer;
	struct backend *backend = NULL;
	struct frontend found;
	enum netns netns;
	__u32 index = 0;

	if (!is_served(ctx))
		return VERDICT_ALLOWED;
	netns = socket_netns(ctx);
	if (netns == NETNS_UNSERVED)
		return VERDICT_ALLOWED;
	found = frontend_find(ctx, &original, netns);
	if (!found.service && !found.host_port && !found.rejected) {
		flow_delete(ctx, peer, false);
		if (ctx->protocol == IPPROTO_UDP)
			connection_store(ctx, NULL, peer);
		return VERDICT_ALLOWED;
	}
	if (found.service) {
		if (is_denied(ctx, netns, found.service))
			return VERDICT_DENIED;
		backend = backend_choose(ctx, netns, found.service, &original, &index);
	}
	if (backend) {
		peer->addr = backend->addr;
		peer->port = backend->port;
		hostlb_count(HOSTLB_CONNECTED);
	} else if (found.host_port) {
		peer->addr = found.host_port->addr;
		peer->port = found.host_port->port;
		hostlb_count(HOSTLB_CONNECTED);
	} else {
		count_rejection(&found);
		if (is_device_bound(ctx))
			return VERDICT_DENIED;
		*peer = refused;
	}
	flow_store(ctx, &original, peer, index);
	if (ctx->protocol == IPPROTO_UDP)
		connection_store(ctx, &original, peer);
	return VERDICT_ALLOWED;
}

/* sendmsg(): replaces `peer`, the original destination, by a backend. */
static __noinline enum verdict socket_send(struct bpf_sock_addr *ctx, struct peer *peer)
{
	struct peer original = *peer;
	struct backend *backend = NULL;
	struct frontend found;
	enum flow_state flow;
	enum netns netns;
	__u32 index = 0;

	if (!is_served(ctx))
		return VERDICT_ALLOWED;
	netns = socket_netns(ctx);
	if (netns == NETNS_UNSERVED)
		return VERDICT_ALLOWED;
	found = frontend_find(ctx, &original, netns);
	if (found.host_port) {
		peer->addr = found.host_port->addr;
		peer->port = found.host_port->port;
		flow_store(ctx, &original, peer, 0);
		return VERDICT_ALLOWED;
	}
	if (!found.service && !found.rejected) {
		flow_delete(ctx, peer, true);
		return VERDICT_ALLOWED;
	}
	if (!found.service) {
		count_rejection(&found);
		return VERDICT_DENIED;
	}
	if (is_denied(ctx, netns, found.service))
		return VERDICT_DENIED;
	*peer = original;
	flow = flow_apply(ctx, found.service, peer);
	if (flow == FLOW_ALIVE)
		return VERDICT_ALLOWED;
	backend = backend_choose(ctx, netns, found.service, &original, &index);
	if (!backend) {
		count_rejection(&found);
		return VERDICT_DENIED;
	}
	hostlb_count(flow == FLOW_DEAD ? HOSTLB_FLOW_MOVED : HOSTLB_FLOW_CREATED);
	peer->addr = backend->addr;
	peer->port = backend->port;
	flow_store(ctx, &original, peer, index);
	return VERDICT_ALLOWED;
}

/* recvmsg(): replaces `peer`, a backend, by the original destination of its flow; true if it
 * did. What comes from a service's port at a node's address by no flow of the socket is from a
 * client with that source port: replies to it are not for the service. They are noted as a
 * flow to itself. */
static __noinline bool socket_receive(struct bpf_sock_addr *ctx, struct peer *peer)
{
	if (flow_reverse(ctx, peer))
		return true;
	if (node_addr_find(peer->addr) && socket_netns(ctx) != NETNS_UNSERVED &&
	    (service_find(0, peer->port, IPPROTO_UDP, SCOPE_CLUSTER) ||
	     service_find(peer->addr, peer->port, IPPROTO_UDP, SCOPE_CLUSTER)))
		flow_store(ctx, peer, peer, 0);
	return false;
}
