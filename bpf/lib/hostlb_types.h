/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Layout of what hostlb shares with user space, beside services and backends.
 * src/bpf/layout_hostlb.ts mirrors this file; the two are compared through BTF.
 */
#pragma once

#include <linux/types.h>

/* One element, index 0; written before the programs are attached. */
struct hostlb_config {
	__u64 netns_cookie; /* of the node's network namespace; 0: the initial one */
	__u32 flags; /* enum hostlb_flags */
	__u32 reserved;
};

enum hostlb_flags {
	HOSTLB_ALL = 1 << 0, /* sockets of every network namespace; else the node's only */
};

/* What a socket calls a service, and which backend it got. */
struct hostlb_flow {
	__be32 addr; /* as the process asked for it; 0: the place is free */
	__be32 backend_addr; /* REFUSED_ADDR with port 0: there was no backend */
	__be16 port;
	__be16 backend_port;
	__u32 index; /* in `backends`, when the choice was made */
};

/* More services than this on one unconnected UDP socket, and the answers of the
 * oldest show the backend's address again. */
#define HOSTLB_FLOWS 8

/* Kept with the socket, and freed with it. A TCP or connected UDP socket uses one flow. */
struct hostlb_socket {
	struct hostlb_flow flows[HOSTLB_FLOWS];
	__u32 last; /* the flow used last: it owns the replies when two share a backend */
	__u32 next; /* counts flows made; modulo HOSTLB_FLOWS the place of the next one */
};

/* A connected UDP socket, by its cookie: user space finds those whose backend went,
 * and nothing else tells it what they are connected to, as sock_diag shows the
 * storage of TCP sockets only. */
struct hostlb_connection_key {
	__u64 cookie;
};

struct hostlb_connection {
	__be32 addr; /* as the process asked for it */
	__be32 backend_addr;
	__be16 port;
	__be16 backend_port;
};

/* Index into `hostlb_counters`. Append only. */
enum hostlb_event {
	HOSTLB_CONNECTED, /* connect() to a service got a backend */
	HOSTLB_FLOW_CREATED, /* an unconnected UDP socket got a backend */
	HOSTLB_FLOW_MOVED, /* its backend was gone and it got another */
	HOSTLB_REFUSED_NO_BACKEND,
	HOSTLB_REFUSED_NO_PORT, /* the address has no such service port */
	HOSTLB_NOT_RECORDED, /* no memory: the process sees the backend's address */
	HOSTLB_DENIED_NO_LOCAL, /* internalTrafficPolicy Local, and no backend here */
	HOSTLB_DENIED_SOURCE, /* loadBalancerSourceRanges without the node's address */
	HOSTLB_EVENTS,
};
