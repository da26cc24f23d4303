/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses at which NodePorts answer: those of the nodes. A NodePort itself is the
 * service (0.0.0.0, port, proto). Loopback addresses are not in the map: they mean a
 * node only to its own processes, and from a wire they are a forgery.
 */
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct node_addr_key {
	__be32 addr;
};

struct node_addr {
	__u32 flags; /* enum node_addr_flags */
};

enum node_addr_flags {
	NODE_ADDR_LOCAL = 1 << 0, /* of this node; else of another one */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct node_addr_key);
	__type(value, struct node_addr);
} node_addrs SEC(".maps");

static __always_inline struct node_addr *node_addr_find(__be32 addr)
{
	struct node_addr_key key = { .addr = addr };

	return bpf_map_lookup_elem(&node_addrs, &key);
}
