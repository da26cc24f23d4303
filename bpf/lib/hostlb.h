/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which sockets hostlb serves, which service a process means by an address, and the
 * backend that it gets.
 */
#pragma once

#include <bpf/bpf_endian.h>

#include "maps_hostlb.h"
#include "node_addrs.h"
#include "service.h"
#include "hostlb_flows.h"

#define LOOPBACK bpf_htonl(0x7f000001)

static __always_inline bool is_loopback(__be32 addr)
{
	return (addr & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

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
static __always_inline struct frontend frontend_find(struct peer *asked, __u8 proto, enum home home)
{
	struct frontend found = {};

	if (!asked->addr)
		asked->addr = LOOPBACK;
	found.service = service_find(asked->addr, asked->port, proto, SCOPE_CLUSTER);
	if (found.service)
		return found;
	if (is_loopback(asked->addr) ? home == HOME_NODE : !!node_addr_find(asked->addr))
		found.service = service_find(0, asked->port, proto, SCOPE_CLUSTER);
	else
		found.refused = !!service_find(asked->addr, 0, 0, SCOPE_CLUSTER);
	return found;
}

/* A backend for a new flow, and its place. Session affinity belongs here; the client
 * is the network namespace, as its address is not known yet. */
static __always_inline struct backend *backend_choose(const struct service *service, __u32 *index)
{
	struct backend *backend;

	if (!service->count)
		return NULL;
	*index = backend_index(service);
	backend = bpf_map_lookup_elem(&backends, index);
	if (!backend)
		event(EVENT_BACKEND_MISSING);
	return backend;
}
