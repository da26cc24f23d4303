/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hostlb: services for the processes of the node itself, at the socket.
 *
 *   connect4, connect6           TCP and UDP: connects the socket to a backend; its
 *                                packets need no translation
 *   sendmsg4                     unconnected UDP: sends each datagram to the backend
 *                                that the socket has for this service; IPv4-mapped
 *                                addresses of IPv6 sockets come here too
 *   recvmsg4, recvmsg6           replies come from the service address
 *   getpeername4, getpeername6   the peer is the service address
 *   sock_release                 deletes a connected UDP socket's entry
 *
 * They are attached to a cgroup and act for sockets of the node's network namespace,
 * or of all (HOSTLB_ALL). bind() has no hook: no program here rewrites a source, and a
 * server's clients are never translated: a socket translates only addresses that it
 * connected or sent to itself, and not those that sent to it first.
 *
 * User space ends a connected UDP socket whose backend is removed, by
 * `hostlb_connections`: no program sees what that socket sends.
 *
 * Limitations. A process that binds to 127.0.0.1 and then connects to a service whose
 * backend is elsewhere fails, as it would without services. ICMP errors on the
 * socket's error queue show the backend's address. A UDP socket connected to a
 * service that has no backends has no peer name. No IPv6 but IPv4-mapped addresses.
 */
#include "lib/hostlb_socket.h"

static __always_inline struct peer peer4(struct bpf_sock_addr *ctx)
{
	return (struct peer){ .addr = ctx->user_ip4, .port = ctx->user_port };
}

/* False unless the address is IPv4-mapped: ::ffff:a.b.c.d. */
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

/* The verdict of these hooks must be 1. */
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
	struct peer peer = peer4(ctx);

	if (socket_receive(ctx, &peer)) {
		ctx->user_ip4 = peer.addr;
		ctx->user_port = peer.port;
	}
	return VERDICT_ALLOWED;
}

SEC("cgroup/recvmsg6")
int hostlb_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct peer peer;

	if (peer6(ctx, &peer) && socket_receive(ctx, &peer)) {
		ctx->user_ip6[3] = peer.addr;
		ctx->user_port = peer.port;
	}
	return VERDICT_ALLOWED;
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
