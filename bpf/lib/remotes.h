/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pods of other nodes: sent through the overlay or directly to their node, past bridge,
 * stack and netfilter. The node's own routes lead the same way, for what only the stack
 * can send (REMOTE_ROUTED), reject or fragment.
 */
#pragma once

#include "eth.h"
#include "ip4.h"
#include "maps.h"
#include "path.h"
#include "verdict.h"

static __always_inline struct remote *remote_find(addr_t addr)
{
	struct cidr_key key = { .prefixlen = ADDR_BITS, .addr = addr };

	return bpf_map_lookup_elem(&remotes, &key);
}

/* Can a program send to it, past the stack? */
static __always_inline bool remote_bypasses_stack(const struct remote *remote)
{
	return remote->mode != REMOTE_ROUTED && remote->ifindex;
}

/* The part of struct bpf_tunnel_key that all kernels know; the checksum of the outer
 * UDP header is left out, as the inner packet has its own. */
struct tunnel {
	__u32 vni;
	__u32 remote; /* host byte order */
};

/* Sends a packet whose Ethernet header and TTL are rewritten; counted under `reason`. */
static __always_inline int remote_send(struct __sk_buff *skb, const struct remote *remote,
				       enum reason reason)
{
	struct tunnel tunnel = { .vni = remote->vni, .remote = bpf_ntohl(remote->via) };
	struct bpf_redir_neigh hop = next_hop(remote->via);

	if (remote->mode == REMOTE_OVERLAY &&
	    bpf_skb_set_tunnel_key(skb, (struct bpf_tunnel_key *)&tunnel, sizeof(tunnel),
				   BPF_F_ZERO_CSUM_TX))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, reason);
	if (eth_push(skb, remote->mac))
		return drop(skb, DROP_REWRITE_FAILED);
	if (remote->mode == REMOTE_OVERLAY)
		return bpf_redirect(remote->ifindex, 0);
	return bpf_redirect_neigh(remote->ifindex, &hop, sizeof(hop), 0);
}

/* The same for one that is still as it came. */
static __always_inline int remote_forward(struct __sk_buff *skb, const struct remote *remote,
					  enum reason reason)
{
	void *frame = packet_data(skb);
	struct iphdr *ip = frame + MAC_HLEN;

	if ((void *)(ip + 1) > packet_end(skb))
		return drop(skb, DROP_REWRITE_FAILED);
	eth_set(frame, remote->mac);
	ip_decrement_ttl(ip);
	return remote_send(skb, remote, reason);
}
