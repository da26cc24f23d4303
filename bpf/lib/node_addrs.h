/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses at which NodePorts are open: those of the nodes. A NodePort itself is the
 * service (0.0.0.0, port, proto).
 */
#pragma once

#include <stdbool.h>

#include "maps.h"

static __always_inline struct node_addr *node_addr_find(addr_t addr)
{
	struct node_addr_key key = { .addr = addr };

	return bpf_map_lookup_elem(&node_addrs, &key);
}

static __always_inline bool node_addr_is_local(addr_t addr)
{
	struct node_addr *node = node_addr_find(addr);

	return node && node->flags & NODE_ADDR_LOCAL;
}
