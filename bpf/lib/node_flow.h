/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Flows of the node itself, of its sockets and of what its netfilter masquerades, from a
 * port that a service has: their replies are the node's, not the service's.
 *
 * A socket look-up finds connections of the node, also from before the service took the port.
 * Flows of a container that is masqueraded, of an unconnected UDP socket, and all echoes, whose
 * identifiers a pod's masqueraded echoes might get, are noted where they leave, as sessions that
 * translate to themselves. What an unconnected socket sends to
 * another node's pod may leave by the overlay, and is noted nowhere; but a pod's own node
 * translates what it sends to a NodePort, so a pod's datagram here is for the socket.
 */
#pragma once

#include "host_port.h"
#include "ip4.h"
#include "l4.h"
#include "masquerade_exempt.h"
#include "remotes.h"
#include "service.h"
#include "session.h"

/* A port of this node's that packets from outside go to a service or a pod by. */
static __always_inline bool port_taken(addr_t local, port_be port, __u8 proto)
{
	if (service_find(0, port, proto, SCOPE_EXTERNAL) ||
	    service_find(local, port, proto, SCOPE_EXTERNAL))
		return true;
#ifdef CONVERTING /* it runs for seconds, with the last bytes of the stack on 5.10 */
	return false;
#else
	return host_port_find(local, port, proto);
#endif
}

static __noinline bool tcp_socket(struct __sk_buff *skb, struct bpf_sock_tuple *tuple)
{
	struct bpf_sock *socket;
	bool connected;

	socket = bpf_skc_lookup_tcp(skb, tuple, SOCK_TUPLE_LEN, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return false;
	connected = socket->state != BPF_TCP_LISTEN;
	bpf_sk_release(socket);
	return connected;
}

static __noinline bool udp_socket(struct __sk_buff *skb, struct bpf_sock_tuple *tuple)
{
	struct bpf_sock *socket;
	bool connected;

	socket = bpf_sk_lookup_udp(skb, tuple, SOCK_TUPLE_LEN, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return false;
	connected = socket->dst_ip4;
	bpf_sk_release(socket);
	return connected || remote_find(tuple->ipv4.saddr);
}

/* Has a connected socket of the node this very flow? A SYN opens a connection to the
 * service. */
static __noinline bool node_socket(struct __sk_buff *skb, const struct packet *pkt)
{
	struct bpf_sock_tuple tuple = sock_tuple(pkt->key.src, pkt->key.dst, pkt->key.sport,
						 pkt->key.dport);

	if (pkt->fragment == FRAGMENT_LATER || is_syn(pkt))
		return false;
	return pkt->key.proto == IPPROTO_TCP ? tcp_socket(skb, &tuple) : udp_socket(skb, &tuple);
}
