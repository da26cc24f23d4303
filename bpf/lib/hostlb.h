/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which sockets hostlb serves, which service a process means by an address, and the
 * backend that it gets.
 */
#pragma once

#include "backend.h"
#include "config.h"
#include "hostlb_flows.h"
#include "ip4.h"
#include "maps_hostlb.h"
#include "node_addrs.h"
#include "service.h"

enum home {
	HOME_NODE, /* the node's own network namespace */
	HOME_POD, /* another one, and those are served too */
	HOME_FOREIGN, /* another one: hands off */
};

static __always_inline enum home socket_home(struct bpf_sock_addr *ctx)
{
	__u32 zero = 0;
	struct hostlb_config *config = bpf_map_lookup_elem(&hostlb_config, &zero);
	__u64 node;

	if (!config)
		return HOME_FOREIGN;
	node = config->netns_cookie ? config->netns_cookie : bpf_get_netns_cookie(NULL);
	if (bpf_get_netns_cookie(ctx) == node)
		return HOME_NODE;
	return config->flags & HOSTLB_ALL ? HOME_POD : HOME_FOREIGN;
}

/* What an address means. No service and not `refused`: none of our business; no
 * service and `refused`: a service address that has no such port. */
struct frontend {
	struct service *service;
	bool refused;
};

/* To clients inside the cluster externalTrafficPolicy means nothing, hence the scope.
 * Loopback, and the unspecified address that connect() takes for it, are the node's
 * only in its own namespace. A node's address is never refused: it has other ports. */
static __always_inline struct frontend frontend_find(struct bpf_sock_addr *ctx, struct peer *asked,
						     enum home home)
{
	struct frontend found = {};
	__u8 proto = ctx->protocol;

	if (!asked->addr)
		asked->addr = ADDR_LOOPBACK;
	found.service = service_find(asked->addr, asked->port, proto, SCOPE_CLUSTER);
	if (found.service) {
		/* Only its packets tell which pod this is: lbrp will judge them. */
		if (home == HOME_POD && found.service->flags & SERVICE_SOURCE_RANGES)
			found.service = NULL;
		return found;
	}
	if (addr_is_loopback(asked->addr) ? home == HOME_NODE : !!node_addr_find(asked->addr))
		found.service = service_find(0, asked->port, proto, SCOPE_CLUSTER);
	else
		found.refused = !!service_find(asked->addr, 0, 0, SCOPE_CLUSTER);
	return found;
}

/* The address that the socket's packets will have: the one it is bound to, else, of a
 * process of the node, the node's. 0: unknown. */
static __always_inline __be32 client_addr(struct bpf_sock_addr *ctx, enum home home)
{
	struct node_config *config = node_config();
	struct bpf_sock *sk = ctx->sk;

	if (sk && sk->src_ip4)
		return sk->src_ip4;
	return config && home == HOME_NODE ? config->node_addr : 0;
}

/* A backend for a new flow, and its place. Affinity is the network namespace's, which is
 * one client however many addresses it has. Maglev goes by the source port as far as it
 * is known: the same client mostly has another one each time, anyway. */
static __always_inline struct backend *backend_choose(struct bpf_sock_addr *ctx, enum home home,
						      const struct service *service,
						      const struct peer *asked, __u32 *index)
{
	__u64 client = service->affinity_seconds ? bpf_get_netns_cookie(ctx) : 0;
	struct bpf_sock *sk = ctx->sk;
	struct session_key key = {};
	__u32 port, hash = 0;

	if (service->flags & SERVICE_MAGLEV) {
		port = sk ? sk->src_port : 0; /* host byte order */
		key.src = client_addr(ctx, home);
		key.sport = port ? bpf_htons(port) : bpf_get_prandom_u32();
		key.dport = asked->port;
		key.proto = ctx->protocol;
		hash = client_hash(service, &key);
	}
	return backend_for(service, client, AFFINITY_NETNS, hash, index);
}

/* May the process have this service? Kube-proxy drops what it sends, with its EPERM. */
static __always_inline bool is_denied(struct bpf_sock_addr *ctx, enum home home,
				      const struct service *service)
{
	if (!service->count && service->flags & SERVICE_LOCAL_ONLY) {
		hostlb_count(HOSTLB_DENIED_NO_LOCAL_BACKEND);
		return true;
	}
	if (source_allowed(service, client_addr(ctx, home)))
		return false;
	hostlb_count(HOSTLB_DENIED_SOURCE_RANGE);
	return true;
}
