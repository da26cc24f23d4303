/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Socket storage: which backends a socket has for the service addresses it connected or
 * sent to. The kernel holds the socket's lock while hooks run: no other CPU interferes.
 */
#pragma once

#include "maps_hostlb.h"
#include "service.h"

/* An address and port. */
struct peer {
	addr_t addr;
	port_be port;
};

static __always_inline struct hostlb_socket *socket_storage(struct bpf_sock_addr *ctx, __u64 flags)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? bpf_sk_storage_get(&hostlb_sockets, sk, NULL, flags) : NULL;
}

/* Slot of the flow to an original destination; HOSTLB_FLOWS: none. */
static __noinline __u32 flow_slot(struct hostlb_socket *record, const struct peer *original)
{
	__u32 i;

	for (i = 0; i < HOSTLB_FLOWS; i++)
		if (record->flows[i].addr == original->addr && record->flows[i].port == original->port)
			break;
	return i;
}

static __always_inline bool flow_is_to(const struct hostlb_flow *flow, const struct peer *backend)
{
	return flow->addr && flow->backend_addr == backend->addr &&
	       flow->backend_port == backend->port;
}

/* Stores the flow to `original`, translated to `backend`, which is `backends[index]`. */
static __noinline void flow_store(struct bpf_sock_addr *ctx, const struct peer *original,
				  const struct peer *backend, __u32 index)
{
	struct hostlb_socket *record = socket_storage(ctx, BPF_SK_STORAGE_GET_F_CREATE);
	struct hostlb_flow *flow;
	__u32 at;

	if (!record) {
		hostlb_count(HOSTLB_FLOW_NOT_RECORDED);
		return;
	}
	at = flow_slot(record, original);
	if (at == HOSTLB_FLOWS)
		at = record->next++;
	at %= HOSTLB_FLOWS;
	flow = &record->flows[at];
	flow->addr = original->addr;
	flow->port = original->port;
	flow->backend_addr = backend->addr;
	flow->backend_port = backend->port;
	flow->index = index;
	record->last = at;
}

enum flow_state {
	FLOW_NONE,
	FLOW_ALIVE, /* the peer is replaced by the backend */
	FLOW_DEAD, /* the backend is removed */
};

/* Replaces `peer` by the backend that the socket has for it. */
static __noinline enum flow_state flow_apply(struct bpf_sock_addr *ctx,
					     const struct service *service, struct peer *peer)
{
	struct hostlb_socket *record = socket_storage(ctx, 0);
	struct hostlb_flow *flow;
	__u32 at, index;

	if (!record)
		return FLOW_NONE;
	at = flow_slot(record, peer);
	if (at >= HOSTLB_FLOWS)
		return FLOW_NONE;
	flow = &record->flows[at];
	if (flow_is_to(flow, peer)) /* see socket_receive() */
		return FLOW_ALIVE;
	index = backend_find(service->first, service->count, flow->index, flow->backend_addr,
			     flow->backend_port);
	if (index == NOT_FOUND)
		return FLOW_DEAD;
	flow->index = index;
	record->last = at;
	peer->addr = flow->backend_addr;
	peer->port = flow->backend_port;
	return FLOW_ALIVE;
}

/* Replaces a backend by the original destination. If two services of the socket share the
 * backend, the reply is of the one used last. */
static __noinline bool flow_reverse(struct bpf_sock_addr *ctx, struct peer *peer)
{
	struct hostlb_socket *record = socket_storage(ctx, 0);
	int i;

	if (!record)
		return false;
	for (i = 0; i < HOSTLB_FLOWS; i++) {
		struct hostlb_flow *flow = &record->flows[(record->last + i) % HOSTLB_FLOWS];

		if (!flow_is_to(flow, peer))
			continue;
		peer->addr = flow->addr;
		peer->port = flow->port;
		return true;
	}
	return false;
}

/* Deletes flows whose backend is `peer`: the process uses its own address, so replies are
 * not translated. Not if the socket is connected to it: what a connected IPv6 socket
 * sends to a mapped address arrives in sendmsg4 with the backend as destination. */
static __noinline void flow_delete(struct bpf_sock_addr *ctx, const struct peer *peer,
				   bool sending)
{
	struct hostlb_socket *record = socket_storage(ctx, 0);
	int i;

	if (!record || (sending && ctx->sk && ctx->sk->dst_ip4 == peer->addr))
		return;
	for (i = 0; i < HOSTLB_FLOWS; i++)
		if (flow_is_to(&record->flows[i], peer))
			record->flows[i].addr = 0;
}

/* Updates the entry of a connected UDP socket; `original` NULL: not to a service. */
static __always_inline void connection_store(struct bpf_sock_addr *ctx, const struct peer *original,
					     const struct peer *backend)
{
	struct hostlb_connection_key key = { .cookie = bpf_get_socket_cookie(ctx) };

	if (original) {
		struct hostlb_connection connection = {
			.addr = original->addr,
			.port = original->port,
			.backend_addr = backend->addr,
			.backend_port = backend->port,
		};

		bpf_map_update_elem(&hostlb_connections, &key, &connection, BPF_ANY);
	} else {
		bpf_map_delete_elem(&hostlb_connections, &key);
	}
}
