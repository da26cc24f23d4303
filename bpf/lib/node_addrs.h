/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses at which NodePorts answer: those of the nodes. A NodePort itself is the
 * service (0.0.0.0, port, proto).
 */
#pragma once

#include "maps.h"

static __always_inline struct node_addr *node_addr_find(__be32 addr)
{
	struct node_addr_key key = { .addr = addr };

	return bpf_map_lookup_elem(&node_addrs, &key);
}

static __always_inline bool node_addr_is_local(__be32 addr)
{
	struct node_addr *node = node_addr_find(addr);

	return node && node->flags & NODE_ADDR_LOCAL;
}
