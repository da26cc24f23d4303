/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a socket remembers: which backend stands for the service it asked for. The
 * hooks run while the kernel holds the socket's lock, so nothing here needs care
 * against other CPUs.
 */
#pragma once

#include "maps_hostlb.h"
#include "service.h"

/* An address and port, as a process knows them or as the kernel does. */
struct peer {
	__be32 addr;
	__be16 port;
};

static __always_inline struct hostlb_socket *record_of(struct bpf_sock_addr *ctx, __u64 flags)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? bpf_sk_storage_get(&hostlb_sockets, sk, NULL, flags) : NULL;
}

/* Place of the flow that the process calls `asked`; HOSTLB_FLOWS: there is none. */
static __noinline __u32 flow_place(struct hostlb_socket *record, const struct peer *asked)
{
	__u32 i;

	for (i = 0; i < HOSTLB_FLOWS; i++)
		if (record->flows[i].addr == asked->addr && record->flows[i].port == asked->port)
			break;
	return i;
}

static __always_inline bool flow_from(const struct hostlb_flow *flow, const struct peer *backend)
{
	return flow->addr && flow->backend_addr == backend->addr &&
	       flow->backend_port == backend->port;
}

/* Writes down that `got`, which is `backends[index]`, stands for `asked`. */
static __noinline void flow_record(struct bpf_sock_addr *ctx, const struct peer *asked,
				   const struct peer *got, __u32 index)
{
	struct hostlb_socket *record = record_of(ctx, BPF_SK_STORAGE_GET_F_CREATE);
	struct hostlb_flow *flow;
	__u32 at;

	if (!record) {
		hostlb_count(HOSTLB_FLOW_NOT_RECORDED);
		return;
	}
	at = flow_place(record, asked);
	if (at == HOSTLB_FLOWS)
		at = record->next++;
	at %= HOSTLB_FLOWS;
	flow = &record->flows[at];
	flow->addr = asked->addr;
	flow->port = asked->port;
	flow->backend_addr = got->addr;
	flow->backend_port = got->port;
	flow->index = index;
	record->last = at;
}

enum flow_state {
	FLOW_NONE,
	FLOW_ALIVE, /* the peer is now the backend */
	FLOW_DEAD, /* the backend is gone */
};

/* The backend that this socket's datagrams to `peer` go to already. */
static __noinline enum flow_state flow_follow(struct bpf_sock_addr *ctx,
					      const struct service *service, struct peer *peer)
{
	struct hostlb_socket *record = record_of(ctx, 0);
	struct hostlb_flow *flow;
	__u32 at, index;

	if (!record)
		return FLOW_NONE;
	at = flow_place(record, peer);
	if (at >= HOSTLB_FLOWS)
		return FLOW_NONE;
	flow = &record->flows[at];
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

/* Turns a backend into what the process calls it. Two services may share a backend:
 * then it is an answer of the one that was asked last. */
static __noinline bool flow_reverse(struct bpf_sock_addr *ctx, struct peer *peer)
{
	struct hostlb_socket *record = record_of(ctx, 0);
	int i;

	if (!record)
		return false;
	for (i = 0; i < HOSTLB_FLOWS; i++) {
		struct hostlb_flow *flow = &record->flows[(record->last + i) % HOSTLB_FLOWS];

		if (!flow_from(flow, peer))
			continue;
		peer->addr = flow->addr;
		peer->port = flow->port;
		return true;
	}
	return false;
}

/* The process talks to `peer` by its own address: to it, that is no service. Not so
 * when it is whom the socket is connected to: what a connected IPv6 socket sends to a
 * mapped address comes to sendmsg4 as if the process had named the backend. */
static __noinline void flow_forget(struct bpf_sock_addr *ctx, const struct peer *peer,
				   bool sending)
{
	struct hostlb_socket *record = record_of(ctx, 0);
	int i;

	if (!record || (sending && ctx->sk && ctx->sk->dst_ip4 == peer->addr))
		return;
	for (i = 0; i < HOSTLB_FLOWS; i++)
		if (flow_from(&record->flows[i], peer))
			record->flows[i].addr = 0;
}

/* Keeps the list of connected UDP sockets; `asked` NULL: no longer to a service. */
static __always_inline void connection_record(struct bpf_sock_addr *ctx, const struct peer *asked,
					      const struct peer *got)
{
	struct hostlb_connection_key key = { .cookie = bpf_get_socket_cookie(ctx) };

	if (asked) {
		struct hostlb_connection connection = {
			.addr = asked->addr,
			.port = asked->port,
			.backend_addr = got->addr,
			.backend_port = got->port,
		};

		bpf_map_update_elem(&hostlb_connections, &key, &connection, BPF_ANY);
	} else {
		bpf_map_delete_elem(&hostlb_connections, &key);
	}
}
