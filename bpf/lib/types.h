/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Layout of every key and value that programs and user space share.
 *
 * src/bpf/layout.ts mirrors this file; the two are compared through the
 * object's BTF whenever an object is loaded. Addresses and ports are in network
 * byte order (__be32, __be16), all else in host byte order.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#define MAC_LEN 6

/* A frontend: what a client sends to. Two entries describe one ClusterIP port:
 * (addr, port, proto) itself, and (addr, 0, 0), which says that the address is a
 * service address at all: it answers pings and refuses unknown ports. */
struct service_key {
	__be32 addr;
	__be16 port;
	__u8 proto; /* IPPROTO_TCP, IPPROTO_UDP; 0 for the address entry */
	__u8 scope; /* enum service_scope */
};

enum service_scope {
	SCOPE_CLUSTER = 0, /* from pods and from the node itself */
	SCOPE_EXTERNAL = 1, /* from outside the cluster */
};

enum service_flags {
	SERVICE_ADDRESS = 1 << 0, /* the (addr, 0, 0) entry */
};

/* The backends of a frontend are a run of the `backends` array. A run is written
 * before the service that points to it and is not reused until every program
 * that could have read the old value has ended (the agent waits). */
struct service {
	__u32 id; /* identifies the Service port; never 0; stable across agent restarts */
	__u32 first; /* index of the first backend of the run */
	__u32 count; /* backends in the run; 0: connections are refused */
	__u32 total_weight; /* sum of weights; 0: all weigh the same */
	__u32 affinity_seconds; /* sessionAffinity ClientIP timeout; 0: none */
	__u16 flags; /* enum service_flags */
	__u16 reserved;
};

struct backend {
	__be32 addr;
	__be16 port;
	__u8 flags; /* enum backend_flags */
	__u8 reserved;
	__u32 weight_end; /* cumulative weight of the run up to and including this backend */
};

enum backend_flags {
	BACKEND_TERMINATING = 1 << 0,
};

/* Sessions are keyed by the whole 5-tuple as the packet carries it when it meets
 * the program. A flow has two entries, each other's mirror image: what one turns a
 * packet into is, reversed, the other's key. One look-up serves both directions
 * (SESSION_REPLY tells which one was found): their keys cannot meet, because the
 * forward one's destination is a service address, the reply's that of a client. */
struct session_key {
	__be32 src;
	__be32 dst;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 zone; /* enum session_zone */
	__u16 reserved;
};

enum session_zone {
	ZONE_SERVICE = 0, /* translations to and from backends */
};

/* What the matched packet becomes. */
struct session {
	__u64 last_seen; /* bpf_ktime_get_ns(); refreshed at most once a second */
	__be32 src;
	__be32 dst;
	__be16 sport;
	__be16 dport;
	__u32 service_id;
	__u8 state; /* enum session_state; kept in the forward entry, a reply is ESTABLISHED */
	__u8 flags; /* enum session_flags */
	__u16 reserved;
	__u32 reserved2;
};

enum session_state { /* of TCP; other protocols stay at NEW */
	STATE_NEW = 0, /* the client has not acknowledged anything yet */
	STATE_ESTABLISHED = 1,
	STATE_CLOSING = 2, /* a FIN went one way */
	STATE_CLOSED = 3, /* FIN both ways, or RST */
};

enum session_flags {
	SESSION_FIN_FORWARD = 1 << 0,
	SESSION_FIN_REPLY = 1 << 1,
	SESSION_HAIRPIN = 1 << 2, /* the client is its own backend */
	SESSION_REPLY = 1 << 3, /* backend -> client; else client -> frontend */
};

/* A pod of this node. Written by the CNI plugin. Key: the pod's address (__be32). */
struct endpoint_key {
	__be32 addr;
};

struct endpoint {
	__u32 ifindex; /* host end of the pod's veth pair */
	__u8 mac[MAC_LEN]; /* of the pod's interface */
	__u16 reserved;
	__be32 gateway; /* the pod's gateway: source address of hairpin flows; 0: unknown */
};

/* First fragment's ports, for the fragments that carry none. */
struct fragment_key {
	__be32 src;
	__be32 dst;
	__be16 id;
	__u8 proto;
	__u8 reserved;
};

struct fragment {
	__be16 sport;
	__be16 dport;
};

/* One element, index 0. Timeouts in nanoseconds, looked at once a second; 0: the
 * default of lib/config.h. */
struct node_config {
	__u64 tcp_new_timeout; /* no handshake yet */
	__u64 tcp_established_timeout;
	__u64 tcp_closing_timeout; /* half-closed: a FIN went one way */
	__u64 tcp_closed_timeout; /* FIN both ways, or RST */
	__u64 udp_timeout;
	__u64 icmp_timeout;
	__u32 flags; /* none yet */
	__be32 node_addr; /* the node's own address; 0: unknown */
};

/* Packets and bytes for each enum reason (lib/reasons.h), per CPU. */
struct counter {
	__u64 packets;
	__u64 bytes;
};
