/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hostlb: services for the processes of the node itself, at the socket.
 *
 *   connect4, connect6           TCP and UDP: the socket is connected to a backend,
 *                                and from there on costs nothing
 *   sendmsg4                     unconnected UDP: each datagram goes to the backend
 *                                that the socket has for this service; mapped
 *                                addresses of IPv6 sockets come here too
 *   recvmsg4, recvmsg6           replies come from the service again
 *   getpeername4, getpeername6   and it is the service that the socket is connected to
 *   sock_release                 forgets connected UDP sockets
 *
 * They are attached to a cgroup and act for sockets of the node's network namespace,
 * or of all (HOSTLB_ALL). bind() is left alone: no program here rewrites a source,
 * and a server's clients are never taken for backends, as a socket only translates
 * what it asked for itself.
 *
 * A connected UDP socket whose backend goes is ended by user space, which finds it in
 * `hostlb_connections`: nothing in here sees what it sends.
 *
 * Limitations. A process that binds to 127.0.0.1 and then asks for a service whose
 * backend is elsewhere fails, as it would without services. ICMP errors on the
 * socket's error queue tell the backend's address. A UDP socket connected to a
 * service that has no backends has no peer name. No IPv6 but mapped IPv4.
 */
#include "lib/hostlb.h"

enum verdict {
	VERDICT_DENIED = 0, /* EPERM; what a hook returns */
	VERDICT_ALLOWED = 1,
};

/* Connections that have no backend go to a port that nobody can listen on: the kernel
 * refuses them at once, with the error that clients expect. An EPERM, all that a
 * program can answer itself before 5.18, is not that. */
static const struct peer refuse = { .addr = ADDR_LOOPBACK, .port = 0 };

static __always_inline bool is_served(struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP;
}

/* A socket that is bound to a device does not get to loopback. */
static __always_inline bool is_device_bound(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk && sk->bound_dev_if;
}

static __always_inline void count_refusal(const struct frontend *found)
{
	hostlb_count(found->refused ? HOSTLB_REJECTED_NO_PORT : HOSTLB_REJECTED_NO_BACKEND);
}

/* Replaces `peer` by whom the socket is to be connected to. */
static __noinline enum verdict socket_connect(struct bpf_sock_addr *ctx, struct peer *peer)
{
	struct peer asked = *peer;
	struct backend *backend = NULL;
	struct frontend found;
	enum home home;
	__u32 index = 0;

	if (!is_served(ctx))
		return VERDICT_ALLOWED;
	home = socket_home(ctx);
	if (home == HOME_FOREIGN)
		return VERDICT_ALLOWED;
	found = frontend_find(ctx, &asked, home);
	if (!found.service && !found.refused) {
		flow_forget(ctx, peer, false);
		if (ctx->protocol == IPPROTO_UDP)
			connection_record(ctx, NULL, peer);
		return VERDICT_ALLOWED;
	}
	if (found.service) {
		if (is_denied(ctx, home, found.service))
			return VERDICT_DENIED;
		backend = backend_choose(ctx, home, found.service, &asked, &index);
	}
	if (backend) {
		peer->addr = backend->addr;
		peer->port = backend->port;
		hostlb_count(HOSTLB_CONNECTED);
	} else {
		count_refusal(&found);
		if (is_device_bound(ctx))
			return VERDICT_DENIED;
		*peer = refuse;
	}
	flow_record(ctx, &asked, peer, index);
	if (ctx->protocol == IPPROTO_UDP)
		connection_record(ctx, &asked, peer);
	return VERDICT_ALLOWED;
}

/* Replaces `peer` by whom the datagram is to be sent to. */
static __noinline enum verdict socket_send(struct bpf_sock_addr *ctx, struct peer *peer)
{
	struct peer asked = *peer;
	struct backend *backend = NULL;
	struct frontend found;
	enum flow_state flow;
	enum home home;
	__u32 index = 0;

	if (!is_served(ctx))
		return VERDICT_ALLOWED;
	home = socket_home(ctx);
	if (home == HOME_FOREIGN)
		return VERDICT_ALLOWED;
	found = frontend_find(ctx, &asked, home);
	if (!found.service && !found.refused) {
		flow_forget(ctx, peer, true);
		return VERDICT_ALLOWED;
	}
	if (!found.service) {
		count_refusal(&found);
		return VERDICT_DENIED;
	}
	if (is_denied(ctx, home, found.service))
		return VERDICT_DENIED;
	*peer = asked;
	flow = flow_follow(ctx, found.service, peer);
	if (flow == FLOW_ALIVE)
		return VERDICT_ALLOWED;
	backend = backend_choose(ctx, home, found.service, &asked, &index);
	if (!backend) {
		count_refusal(&found);
		return VERDICT_DENIED;
	}
	hostlb_count(flow == FLOW_DEAD ? HOSTLB_FLOW_MOVED : HOSTLB_FLOW_CREATED);
	peer->addr = backend->addr;
	peer->port = backend->port;
	flow_record(ctx, &asked, peer, index);
	return VERDICT_ALLOWED;
}

static __always_inline struct peer peer4(struct bpf_sock_addr *ctx)
{
	return (struct peer){ .addr = ctx->user_ip4, .port = ctx->user_port };
}

/* False unless the address is ::ffff:a.b.c.d. */
static __always_inline bool peer6(struct bpf_sock_addr *ctx, struct peer *peer)
{
	if (ctx->user_ip6[0] || ctx->user_ip6[1] || ctx->user_ip6[2] != bpf_htonl(0xffff))
		return false;
	peer->addr = ctx->user_ip6[3];
	peer->port = ctx->user_port;
	return true;
}

SEC("cgroup/connect4")
int hostlb_connect4(struct bpf_sock_addr *ctx)
{
	struct peer peer = peer4(ctx);
	enum verdict verdict = socket_connect(ctx, &peer);

	ctx->user_ip4 = peer.addr;
	ctx->user_port = peer.port;
	return verdict;
}

SEC("cgroup/connect6")
int hostlb_connect6(struct bpf_sock_addr *ctx)
{
	enum verdict verdict;
	struct peer peer;

	if (!peer6(ctx, &peer))
		return VERDICT_ALLOWED;
	verdict = socket_connect(ctx, &peer);
	ctx->user_ip6[3] = peer.addr;
	ctx->user_port = peer.port;
	return verdict;
}

SEC("cgroup/sendmsg4")
int hostlb_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct peer peer = peer4(ctx);
	enum verdict verdict = socket_send(ctx, &peer);

	ctx->user_ip4 = peer.addr;
	ctx->user_port = peer.port;
	return verdict;
}

/* These two hooks can only be allowed to go on. */
static __always_inline int reverse4(struct bpf_sock_addr *ctx)
{
	struct peer peer = peer4(ctx);

	if (flow_reverse(ctx, &peer)) {
		ctx->user_ip4 = peer.addr;
		ctx->user_port = peer.port;
	}
	return VERDICT_ALLOWED;
}

static __always_inline int reverse6(struct bpf_sock_addr *ctx)
{
	struct peer peer;

	if (peer6(ctx, &peer) && flow_reverse(ctx, &peer)) {
		ctx->user_ip6[3] = peer.addr;
		ctx->user_port = peer.port;
	}
	return VERDICT_ALLOWED;
}

SEC("cgroup/recvmsg4")
int hostlb_recvmsg4(struct bpf_sock_addr *ctx)
{
	return reverse4(ctx);
}

SEC("cgroup/recvmsg6")
int hostlb_recvmsg6(struct bpf_sock_addr *ctx)
{
	return reverse6(ctx);
}

SEC("cgroup/getpeername4")
int hostlb_getpeername4(struct bpf_sock_addr *ctx)
{
	return reverse4(ctx);
}

SEC("cgroup/getpeername6")
int hostlb_getpeername6(struct bpf_sock_addr *ctx)
{
	return reverse6(ctx);
}

SEC("cgroup/sock_release")
int hostlb_sock_release(struct bpf_sock *sk)
{
	struct hostlb_connection_key key;

	if (sk->protocol == IPPROTO_UDP) {
		key.cookie = bpf_get_socket_cookie(sk);
		bpf_map_delete_elem(&hostlb_connections, &key);
	}
	return VERDICT_ALLOWED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
