/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hostPorts of this node's pods. A Service of the same address and port takes precedence. */
#pragma once

#include "maps.h"

/* The pod behind a port at an address of this node; NULL: none. */
static __always_inline struct host_port *host_port_find(addr_t addr, __be16 port, __u8 proto)
{
	struct host_port_key key = { .addr = addr, .port = port, .proto = proto };
	struct host_port *found = bpf_map_lookup_elem(&host_ports, &key);

	if (found)
		return found;
	key.addr = 0;
	return bpf_map_lookup_elem(&host_ports, &key);
}
