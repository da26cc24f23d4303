/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The pods of other nodes: through the overlay or directly to their node, past bridge,
 * stack and netfilter. Where `remotes` has no way, and for what must be answered or cut
 * up, the node's own routes lead the same way.
 */
#pragma once

#include "deliver.h"
#include "maps.h"
#include "nat.h"
#include "path.h"
#include "verdict.h"

#define FAMILY_IPV4 2 /* AF_INET */

static __always_inline struct remote *remote_find(__be32 addr)
{
	struct cidr_key key = { .prefixlen = 32, .addr = addr };

	return bpf_map_lookup_elem(&remotes, &key);
}

/* May be sent there from here? */
static __always_inline bool remote_has_way(const struct remote *remote)
{
	return remote->mode != REMOTE_ROUTED && remote->ifindex;
}

/* The part of struct bpf_tunnel_key that all kernels know; the checksum of the outer
 * UDP header is left out, as the inner packet has its own. */
struct tunnel {
	__u32 vni;
	__u32 remote; /* host byte order */
};

/* Sends a packet whose frame and TTL are in order; counted under `reason`. */
static __always_inline int remote_send(struct __sk_buff *skb, const struct remote *remote,
				       enum reason reason)
{
	struct tunnel tunnel = { .vni = remote->vni, .remote = bpf_ntohl(remote->via) };
	struct bpf_redir_neigh hop = { .nh_family = FAMILY_IPV4, .ipv4_nh = remote->via };

	if (remote->mode == REMOTE_OVERLAY &&
	    bpf_skb_set_tunnel_key(skb, (struct bpf_tunnel_key *)&tunnel, sizeof(tunnel),
				   BPF_F_ZERO_CSUM_TX))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, reason);
	if (remote->mode == REMOTE_OVERLAY)
		return bpf_redirect(remote->ifindex, 0);
	return bpf_redirect_neigh(remote->ifindex, &hop, sizeof(hop), 0);
}

/* The same for one that is still as it came. */
static __always_inline int remote_forward(struct __sk_buff *skb, const struct remote *remote,
					  enum reason reason)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > packet_end(skb))
		return drop(skb, DROP_REWRITE_FAILED);
	frame_address(eth, remote->mac);
	ttl_step(ip);
	return remote_send(skb, remote, reason);
}
