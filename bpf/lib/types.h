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
	SERVICE_SOURCE_RANGES = 1 << 1, /* only for clients that `source_ranges` names */
	SERVICE_LOCAL_ONLY = 1 << 2, /* without a backend: dropped, not refused; others may have one */
	SERVICE_MAGLEV = 1 << 3, /* the backend follows from the client, by `table` */
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
	__u16 table; /* with SERVICE_MAGLEV: which of the tables in `maglev` */
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
	ZONE_SERVICE = 0, /* translations to and from backends, and of replies to masqueraded flows */
	ZONE_MASQUERADE = 1, /* from a pod, out of the cluster: looked up where it leaves the node */
	ZONE_CLAIM = 2, /* no flow: a CPU is taking the same key of ZONE_SERVICE over */
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
	__u32 ifindex; /* the uplink that replies leave by, as the client came in by it; 0: none */
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
	SESSION_MASQUERADE = 1 << 4, /* the forward entry is in ZONE_MASQUERADE, the reply's is not */
	SESSION_SNAT = 1 << 5, /* the backend sees an address of this node */
	SESSION_CLIENT_FIRST = 1 << 6, /* the client's FIN came before the backend's */
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
	__u32 flags; /* enum node_flags */
	__be32 node_addr; /* the node's own address; 0: unknown */
	__be32 pod_cidr; /* addresses of this node's pods: addr & pod_mask == pod_cidr */
	__be32 pod_mask; /* 0: unknown */
	__be32 snat_addr; /* this node's on the pod network, for clients that it stands in for */
	__u16 snat_first; /* source ports for them and for masquerade; 0: the default range */
	__u16 snat_last;
	__u32 overlay_vni; /* the only one that is taken in; 0: any */
	__be16 overlay_port; /* UDP, of the tunnel itself; 0: no overlay */
	__u16 maglev_size; /* of every Maglev table, a prime; 0: no tables */
};

enum node_flags {
	NODE_MASQUERADE = 1 << 0, /* pods' packets leave the cluster with the uplink's address */
	NODE_KNOWN_VTEPS = 1 << 1, /* the overlay takes packets from `vteps` only */
};

/* Which backend a client of a service with affinity was given. */
struct affinity_key {
	__u64 client; /* by kind */
	__u32 service_id;
	__u32 kind; /* enum affinity_kind */
};

enum affinity_kind {
	AFFINITY_ADDRESS = 0, /* client: an IPv4 address, __be32 */
	AFFINITY_NETNS = 1, /* client: the cookie of a network namespace */
};

struct affinity {
	__u64 last_used; /* bpf_ktime_get_ns() of the last new flow */
	__be32 addr;
	__be16 port;
	__u16 reserved;
	__u32 index; /* in `backends`, when the choice was made */
	__u32 reserved2;
};

/* Four neighbouring places of a Maglev table: numbers of backends in the run. Table n
 * is as many elements as node_config.maglev_size needs, from n times as many on. */
#define MAGLEV_SLOTS 4

struct maglev_slots {
	__u16 backend[MAGLEV_SLOTS];
};

/* Key of a longest-prefix map over addresses. */
struct cidr_key {
	__u32 prefixlen;
	__be32 addr;
};

/* How to reach the pods of another node. Key: its podCIDR (struct cidr_key). */
struct remote {
	__be32 via; /* overlay: the node at the tunnel's far end; direct: the next hop */
	__u32 ifindex; /* the overlay's device, the uplink; 0: as the node's routes say */
	__u32 vni; /* overlay */
	__u16 mtu; /* of packets that go this way; 0: any */
	__u8 mode; /* enum remote_mode */
	__u8 reserved;
	__u8 mac[MAC_LEN]; /* overlay: of the far end's device */
	__u16 reserved2;
};

enum remote_mode {
	REMOTE_ROUTED = 0, /* as the node's routes say */
	REMOTE_OVERLAY = 1,
	REMOTE_DIRECT = 2,
};

/* A device to the other nodes and the world. */
struct uplink_key {
	__u32 ifindex;
};

struct uplink {
	__be32 addr; /* what pods are masqueraded as; 0: unknown */
	__u32 mtu;
};

/* An address of a node: NodePorts answer there. */
struct node_addr_key {
	__be32 addr;
};

struct node_addr {
	__u32 flags; /* enum node_addr_flags */
};

enum node_addr_flags {
	NODE_ADDR_LOCAL = 1 << 0, /* of this node; else of another one */
};

/* An address that the tunnels of another node come from. */
struct vtep_key {
	__be32 addr;
};

/* A part of the clients that a service with SERVICE_SOURCE_RANGES is for. */
struct source_range_key {
	__u32 prefixlen; /* 32 (the service's id) and the length of the prefix */
	__u32 service_id;
	__be32 addr;
};

/* Packets and bytes for each enum reason (lib/reasons.h), per CPU. */
struct counter {
	__u64 packets;
	__u64 bytes;
};

enum name_kind {
	NAME_SERVICE_PORT = 1, /* id: service.id; `default/web:http/TCP` */
	NAME_NODE = 2, /* id: the node's address, in host byte order */
};

/* What has a name in the cluster and only a number in the other maps. */
struct name_key {
	__u32 kind; /* enum name_kind */
	__u32 id;
};

#define NAME_LEN 256

/* UTF-8, zeros at the end. A node's name has at most 253 bytes, a port's 148. */
struct name {
	__u8 text[NAME_LEN];
};

#define MONITOR_HEAD 80

/* What a listener asks for. */
struct monitor {
	__u64 reasons[2]; /* a bit for each enum reason */
	__u64 until; /* ns: it is gone if it did not say otherwise by then */
	__u32 sample; /* 0xffffffff: every packet; half of that: every other, at random */
	__u32 ends; /* bits of monitor_ends that a packet's two ends must have together */
};

/* How many packets a listener may still be told of, per CPU. The listener fills it up again
 * and again, by as much as it has time for: a flood is counted, not told of. */
struct monitor_budget {
	__u64 left; /* as of a signed number: below 0 it counts those that were not told of */
};

/* An address that packets are asked for by; port 0: any. The value has a bit for each
 * kind of end: the pod, the service. */
struct monitor_end {
	__be32 addr;
	__be16 port;
	__u16 reserved;
};

/* What a listener is told of a packet. */
struct monitor_event {
	__u64 time; /* ns */
	__u32 ifindex; /* the device that the program is on */
	__u32 len; /* bytes of the frame */
	__u16 reason; /* enum reason */
	__u16 captured; /* bytes of head that are the frame's */
	__u32 reserved;
	__u8 head[MONITOR_HEAD]; /* as it left the program: translated, if it was */
};

/* A call of the CNI plugin that is over. */
struct cni_call {
	__u32 microseconds;
	__u16 verb; /* 1 ADD, 2 CHECK, 3 DEL, 4 GC, 5 STATUS */
	__u16 failed;
};
