/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which sockets hostlb serves, the frontend of an address, and the choice of a backend. */
#pragma once

#define AFFINITY_KIND AFFINITY_NETNS
#include "backend.h"
#include "config.h"
#include "host_port.h"
#include "hostlb_flows.h"
#include "ip4.h"
#include "maps_hostlb.h"
#include "node_addrs.h"
#include "service.h"

/* Network namespace of a socket. */
enum netns {
	NETNS_NODE, /* the node's own */
	NETNS_POD, /* another one, served too */
	NETNS_UNSERVED,
};

static __always_inline enum netns socket_netns(struct bpf_sock_addr *ctx)
{
	__u32 zero = 0;
	struct hostlb_config *config = bpf_map_lookup_elem(&hostlb_config, &zero);
	__u64 node;

	if (!config)
		return NETNS_UNSERVED;
	node = config->netns_cookie ? config->netns_cookie : bpf_get_netns_cookie(NULL);
	if (bpf_get_netns_cookie(ctx) == node)
		return NETNS_NODE;
	return config->flags & HOSTLB_ALL ? NETNS_POD : NETNS_UNSERVED;
}

/* The frontend at an address and port. */
struct frontend {
	struct service *service; /* NULL: none */
	struct host_port *host_port; /* where no service is: NULL: none */
	bool rejected; /* a service address without such a port */
};

/* externalTrafficPolicy does not apply to clients inside the cluster: SCOPE_CLUSTER.
 * Loopback, and the unspecified address that connect() takes for it, are the node's
 * only in its own namespace. No port of a node's address is rejected: sockets use them. */
static __always_inline struct frontend frontend_find(struct bpf_sock_addr *ctx,
						     struct peer *original, enum netns netns)
{
	struct frontend found = {};
	__u8 proto = ctx->protocol;
	struct node_addr *node = NULL;
	bool loopback;

	if (!original->addr)
		original->addr = ADDR_LOOPBACK;
	found.service = service_find(original->addr, original->port, proto, SCOPE_CLUSTER);
	if (found.service) {
		/* Only packets show which pod this is: lbrp checks them. */
		if (netns == NETNS_POD && found.service->flags & SERVICE_SOURCE_RANGES)
			found.service = NULL;
		return found;
	}
	loopback = addr_is_loopback(original->addr) && netns == NETNS_NODE;
	if (!addr_is_loopback(original->addr))
		node = node_addr_find(original->addr);
	if (loopback || node)
		found.service = service_find(0, original->port, proto, SCOPE_CLUSTER);
	else
		found.rejected = !!service_find(original->addr, 0, 0, SCOPE_CLUSTER);
	if (!found.service && (loopback || (node && node->flags & NODE_ADDR_LOCAL)))
		found.host_port = host_port_find(original->addr, original->port, proto);
	return found;
}

/* Source address of the socket's packets: the one it is bound to, else, in the node's
 * namespace, the node's. 0: unknown. */
static __always_inline addr_t client_addr(struct bpf_sock_addr *ctx, enum netns netns)
{
	struct node_config *config = node_config();
	struct bpf_sock *sk = ctx->sk;

	if (sk && sk->src_ip4)
		return sk->src_ip4;
	return config && netns == NETNS_NODE ? config->node_addr : 0;
}

/* A backend for a new flow, and its index. The client that has affinity is the network
 * namespace, whatever its addresses. The hash for Maglev has the source port if the
 * socket is bound to one, else a random number: an ephemeral port is no better. */
static __always_inline struct backend *backend_choose(struct bpf_sock_addr *ctx, enum netns netns,
						      const struct service *service,
						      const struct peer *original, __u32 *index)
{
	__u64 client = service->affinity_seconds ? bpf_get_netns_cookie(ctx) : 0;
	struct bpf_sock *sk = ctx->sk;
	struct session_key key = {};
	__u32 port, hash = 0;

	if (service->flags & SERVICE_MAGLEV) {
		port = sk ? sk->src_port : 0; /* host byte order */
		key.src = client_addr(ctx, netns);
		key.sport = port ? bpf_htons(port) : bpf_get_prandom_u32();
		key.dport = original->port;
		key.proto = ctx->protocol;
		hash = client_hash(service, &key);
	}
	/* A pod may make any number of namespaces. */
	return backend_for(service, client, hash, netns == NETNS_NODE, index);
}

/* Is the process denied the service? EPERM, as for packets that kube-proxy drops. */
static __always_inline bool is_denied(struct bpf_sock_addr *ctx, enum netns netns,
				      const struct service *service)
{
	if (!service->count && service->flags & SERVICE_LOCAL_ONLY) {
		hostlb_count(HOSTLB_DENIED_NO_LOCAL_BACKEND);
		return true;
	}
	if (source_allowed(service, client_addr(ctx, netns)))
		return false;
	hostlb_count(HOSTLB_DENIED_SOURCE_RANGE);
	return true;
}
