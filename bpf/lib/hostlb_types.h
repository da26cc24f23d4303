/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Layout of what hostlb shares with user space, beside services and backends.
 * `deno task layouts` makes TypeScript of it, as of types.h.
 */
#pragma once

#include "types.h"

enum hostlb_flag : __u32 {
	HOSTLB_ALL = 1 << 0, /* sockets of every network namespace; else the node's only */
};

/* One element, index 0; written before the programs are attached. */
struct hostlb_config {
	cookie_t netns_cookie; /* of the node's network namespace; 0: the initial one */
	enum hostlb_flag flags;
	__u32 reserved;
};

/* The service address that a socket connected or sent to, and its backend. */
struct hostlb_flow {
	addr_t addr; /* original destination; 0: the slot is free */
	addr_t backend_addr; /* REFUSED_ADDR with port 0: there was no backend */
	port_be port;
	port_be backend_port;
	__u32 index; /* in `backends`, when the choice was made */
};

/* Services on one unconnected UDP socket. With more, replies of the oldest show the
 * backend's address. */
#define HOSTLB_FLOWS 8

/* Kept with the socket, and freed with it. A TCP or connected UDP socket uses one flow. */
struct hostlb_socket {
	struct hostlb_flow flows[HOSTLB_FLOWS];
	__u32 last; /* the flow used last: it owns the replies when two share a backend */
	__u32 next; /* counts flows created; modulo HOSTLB_FLOWS the slot of the next one */
};

/* A connected UDP socket, by its cookie. User space ends those whose backend was
 * removed; sock_diag shows the storage of TCP sockets only. */
struct hostlb_connection_key {
	cookie_t cookie;
};

struct hostlb_connection {
	addr_t addr; /* original destination */
	addr_t backend_addr;
	port_be port;
	port_be backend_port;
};

/* Index into `hostlb_counters`. Append only. */
enum hostlb_event {
	HOSTLB_CONNECTED, /* sockets connected to a backend */
	HOSTLB_FLOW_CREATED, /* backends chosen for unconnected UDP sockets */
	HOSTLB_FLOW_MOVED, /* the same, because the one before was gone */
	HOSTLB_REJECTED_NO_BACKEND, /* rejected: the service has no backends */
	HOSTLB_REJECTED_NO_PORT, /* rejected: the service address has no such port */
	HOSTLB_FLOW_NOT_RECORDED, /* no memory: the process sees the backend's address */
	HOSTLB_DENIED_NO_LOCAL_BACKEND, /* denied: traffic policy Local, and no backend on this node */
	HOSTLB_DENIED_SOURCE_RANGE, /* denied: client outside the service's loadBalancerSourceRanges */
	HOSTLB_EVENT_COUNT,
};
