/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Layout of every key and value that programs and user space share.
 *
 * `deno task layouts` makes TypeScript of it, by way of the objects' BTF: a field's
 * typedef or enum says how it is read and written, and comments become docstrings.
 * Fields named `reserved`, `reserved2` are zero and stay out of TypeScript.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/types.h>

#define MAC_LEN 6

/* What a field holds. All else is in host byte order. */
typedef __be32 addr_t; /* network byte order; 0: none */
typedef __be16 port_be; /* network byte order */
typedef __u64 ns_t; /* nanoseconds: of CLOCK_MONOTONIC (bpf_ktime_get_ns()), or a duration */
typedef __u64 cookie_t; /* the kernel's, of a socket or a network namespace */
typedef __u8 mac_t[MAC_LEN];

/* IP protocol numbers (IANA). */
enum proto : __u8 {
	PROTO_NONE = 0, /* of an address entry */
	PROTO_ICMP = IPPROTO_ICMP,
	PROTO_TCP = IPPROTO_TCP,
	PROTO_UDP = IPPROTO_UDP,
};

/* Where clients of a frontend are. */
enum scope : __u8 {
	SCOPE_CLUSTER = 0, /* from pods and from the node itself */
	SCOPE_EXTERNAL = 1, /* from outside the cluster */
};

/* A frontend: what a client sends to. Two entries describe one ClusterIP port:
 * (addr, port, proto) itself, and (addr, 0, 0), which says that the address is a
 * service address at all: pings get a reply, packets to other ports are rejected. */
struct service_key {
	addr_t addr;
	port_be port;
	enum proto proto;
	enum scope scope;
};

enum service_flag : __u16 {
	SERVICE_ADDRESS = 1 << 0, /* the (addr, 0, 0) entry */
	SERVICE_SOURCE_RANGES = 1 << 1, /* only for clients in `source_ranges` */
	SERVICE_LOCAL_ONLY = 1 << 2, /* without a backend: dropped, not rejected; other nodes may have one */
	SERVICE_MAGLEV = 1 << 3, /* the backend is a hash of the client, by `table` */
};

/* The backends of a frontend are an extent of the `backends` array. An extent is written
 * before the service that points to it, and is not reused until every program that
 * could have read the old value has ended (the agent waits). */
struct service {
	__u32 id; /* identifies the Service port; never 0; stable across agent restarts */
	__u32 first; /* index of the first backend of the extent */
	__u32 count; /* backends in the extent; 0: packets are rejected */
	__u32 total_weight; /* sum of weights; 0: all weigh the same */
	__u32 affinity_seconds; /* sessionAffinity ClientIP timeout; 0: none */
	enum service_flag flags;
	__u16 table; /* with SERVICE_MAGLEV: which of the tables in `maglev` */
};

enum backend_flag : __u8 {
	BACKEND_TERMINATING = 1 << 0,
};

struct backend {
	addr_t addr;
	port_be port;
	enum backend_flag flags;
	__u8 reserved;
	__u32 weight_end; /* cumulative weight of the extent up to and including this backend */
};

enum session_zone : __u8 {
	ZONE_SERVICE = 0, /* translations to and from backends, and of replies to masqueraded flows */
	ZONE_MASQUERADE = 1, /* from a pod, out of the cluster: looked up where it leaves the node */
	ZONE_CLAIM = 2, /* no flow: a CPU's lock on the same key of ZONE_SERVICE */
};

/* Sessions are keyed by the whole 5-tuple as the packet carries it when it meets
 * the program. A flow has two entries, original and reply direction: the translation of
 * one is, reversed, the key of the other. One look-up serves both directions
 * (SESSION_REPLY says which one was found): their keys never collide, because the
 * destination is a service address in one, and that of a client in the other. */
struct session_key {
	addr_t src;
	addr_t dst;
	port_be sport;
	port_be dport;
	enum proto proto;
	enum session_zone zone;
	__u16 reserved;
};

enum session_state : __u8 { /* of TCP; other protocols stay at NEW in the forward entry */
	STATE_NEW = 0, /* the client has not acknowledged anything yet; reply entry: no reply yet */
	STATE_ESTABLISHED = 1,
	STATE_CLOSING = 2, /* a FIN went one way */
	STATE_CLOSED = 3, /* FIN both ways, or RST */
};

enum session_flag : __u8 {
	SESSION_FIN_FORWARD = 1 << 0,
	SESSION_FIN_REPLY = 1 << 1,
	SESSION_HAIRPIN = 1 << 2, /* the client is its own backend */
	SESSION_REPLY = 1 << 3, /* reply direction, backend -> client; else client -> frontend */
	SESSION_MASQUERADE = 1 << 4, /* the forward entry is in ZONE_MASQUERADE, the reply's is not */
	SESSION_SNAT = 1 << 5, /* the backend sees an address of this node */
	SESSION_CLIENT_FIRST = 1 << 6, /* the client's FIN came before the backend's */
	SESSION_STACK = 1 << 7, /* not translated: came in by the node's stack, and leaves by it */
};

/* What is known of a TCP connection, of the direction of the entry: tcp_window.h. */
enum session_tcp_flag : __u16 {
	SESSION_ACKED = 1 << 0, /* `ack` is known */
	SESSION_WATCH = 1 << 1, /* the next segment may change the state */
	SESSION_SYN = 1 << 2, /* the newest segment is a SYN */
	SESSION_FIN_NOTED = 1 << 3, /* the newest segment is a FIN that only the other end's ACK will confirm */
	SESSION_RESET = 1 << 4, /* its reset was believed */
};

/* What the matched packet becomes. */
struct session {
	ns_t last_seen; /* refreshed at most once a second */
	addr_t src;
	addr_t dst;
	port_be sport;
	port_be dport;
	__u32 service_id;
	enum session_state state; /* kept in the forward entry; reply entry: NEW or ESTABLISHED */
	enum session_flag flags;
	enum session_tcp_flag tcp;
	__u32 ifindex; /* the uplink that the client came in by, and replies leave by; 0: none */
	__u64 created; /* bpf_ktime_get_ns() of the flow's first packet; 0: unknown */
	__u32 seq_end; /* TCP, of this direction: the sequence number behind its newest segment */
	__u32 seq_run; /* that many before it came without a gap */
	__u32 ack; /* of its newest segment */
	__u32 asked; /* forward entry: milliseconds, when a SYN went to a backend that had replied since the one before */
};

/* A client: a pod, or an address outside. */
struct source_key {
	addr_t addr;
};

/* What a source may have. One element, index 0. */
struct session_limits {
	__u32 flows; /* in each of `sessions` and `assured`; 0: the default of lib/config.h */
	__u32 ports; /* of 256 source ports to one destination; 0: the default of lib/config.h */
	__u32 capacity; /* flows that each of both has room for; 0: the default of lib/config.h */
	__u32 assured; /* flows in `assured`, of all sources; the agent corrects it now and then */
};

/* What it has of the session table. */
struct source {
	__u32 assured; /* flows in `assured`; the agent corrects it now and then */
	__u32 created; /* counts its flows, from a random number, modulo 2^32 */
};

/* A flow of a source: the key of its forward entry, which may be another flow's by now, as
 * `created` says, or gone. */
struct source_flow {
	struct session_key key;
	ns_t created; /* session.created */
};

/* Parts of tables of which each source has one: pods of this node by the last eight bits of
 * their address, others by a hash. See lib/share.h. */
#define SHARE_PODS 256
#define SHARE_OTHERS 128

/* What sources share. */
enum share_kind : __u32 {
	OF_SESSIONS = 0,
	OF_PORTS = 1, /* source ports to one destination */
	OF_FRAGMENTS = 2,
	OF_AFFINITY = 3,
	OF_MONITOR = 4, /* packets that a listener gets */
};

#define SHARE_KINDS 5

/* A source that wanted more than its share. */
struct share_key {
	addr_t addr; /* a pod of this node; 0: any address of elsewhere */
	__u32 ifindex; /* the device of a pod, of OF_MONITOR, whatever address it says; else 0 */
};

#define SCARCE_ENDS 256

/* A far end to which hardly any source port was free. */
struct scarce_ports {
	ns_t at; /* when a flow of `source` found that */
	ns_t failed; /* when one of its flows found none at all */
	ns_t other; /* when a flow of another source found that, soon after */
	addr_t source;
	__u32 far_end; /* a hash of its address, port and protocol */
};

struct share_excess {
	ns_t last;
	__u64 times[SHARE_KINDS]; /* by enum share_kind: flows replaced or refused, datagrams, packets */
};

/* The address of a pod of this node. */
struct endpoint_key {
	addr_t addr;
};

/* A pod of this node. Written by the CNI plugin. */
struct endpoint {
	__u32 ifindex; /* host end of the pod's veth pair */
	mac_t mac; /* of the pod's interface */
	__u16 reserved;
	addr_t gateway; /* the pod's gateway: source address of hairpin flows; 0: unknown */
};

enum pod_device_flag : __u16 {
	POD_UNCHECKED = 1 << 0, /* may send from addresses of others: a router, a machine in a pod */
};

/* The host end of the veth pair of a pod of this node. */
struct pod_device_key {
	__u32 ifindex;
};

/* Written by the CNI plugin; the agent sets flags. */
struct pod_device {
	mac_t mac; /* of the pod's interface */
	enum pod_device_flag flags;
	mac_t host_mac; /* of the host end: at it the node's stack is reached */
	__u16 reserved;
};

/* A hostPort: the port of a pod at an address of this node. */
struct host_port_key {
	addr_t addr; /* hostIP; 0: every address of this node */
	port_be port;
	enum proto proto;
	__u8 reserved;
};

/* The pod and its port. Written by the CNI plugin. */
struct host_port {
	addr_t addr;
	port_be port;
	__u16 reserved;
};

enum rate_flag : __u32 {
	RATE_INGRESS = 1 << 0, /* what the pod receives: its device's root qdisc */
	RATE_EGRESS = 1 << 1, /* what the pod sends: filters of its device's ingress qdisc */
};

/* Slots of `rates`: an array, because every packet looks one up. */
#define RATE_SLOTS 16384

/* Limits of a pod's device, which another CNI plugin has set (bandwidth). Its slot is the
 * index modulo RATE_SLOTS; a device of the same slot takes it over. The one of index 0 stands
 * for all: a pod of this node has, or had, a limit of what it sends. */
struct rate {
	__u32 ifindex;
	enum rate_flag flags;
};

/* `fragments` is an array of sets of four. A source has a number of sets, and a datagram one
 * of them: however many datagrams one pod begins, it takes the room of no other. */
#define FRAGMENT_SOURCES (SHARE_PODS + SHARE_OTHERS)
#define FRAGMENT_SETS 16 /* of a source */
#define FRAGMENT_WAYS 4 /* datagrams in a set */
#define FRAGMENT_PIECES 64 /* fragments of a datagram that are checked for overlap */

/* A datagram in fragments: the first one's ports, for those that carry none. */
struct fragment {
	ns_t began;
	addr_t src;
	addr_t dst;
	__be16 id;
	enum proto proto;
	__u8 refused; /* overlapping: all of the datagram is dropped (RFC 5722) */
	port_be sport;
	port_be dport;
	__u32 firsts; /* first fragments seen, which have the ports */
	__u32 held; /* 1: some wait in `held_fragments`; 2: they waited there, and may still be on their way */
	__u16 count; /* pieces */
	__u8 hook; /* where: between two hooks the stack may cut fragments anew */
	__u8 doubtful; /* its receiver may not get it whole: it stays in the load of its source */
	__u16 received; /* bytes of pieces that are entered */
	__u16 total; /* bytes, once the last fragment came; else 0 */
	__u32 sent; /* fragment_load.sent, at the newest fragment */
	__u16 units; /* it has of the load of its source */
	__u16 route; /* type of service * 256 + TTL of the fragment that came first */
	__u32 piece[FRAGMENT_PIECES]; /* first * 65536 + end, in bytes; the first fragment's is [0] */
};

#define FRAGMENT_PATHS 16 /* of a source to destinations, by a hash */

/* Fragments of a pod whose datagrams are not whole, which receivers keep for FRAGMENT_TIMEOUT.
 * The last element: of all pods of the node. */
struct fragment_load {
	__u64 period; /* of that length, since boot */
	__u32 units; /* of fragments of this period, and of the one before */
	__u32 former;
	__u32 sent[FRAGMENT_PATHS]; /* counts fragments */
};

#define HELD_SLOTS 48 /* of a source: a datagram of 64 KB has 45 fragments on Ethernet */
#define HELD_PART 2048 /* bytes of a frame in one entry */
#define HELD_PARTS 5 /* a frame of 9,216 bytes, and more */

struct held_key {
	__u16 source;
	__u8 slot;
	__u8 part;
};

/* A part of a fragment that came ahead of the first one of its datagram. */
struct held_fragment {
	ns_t time;
	__u32 datagram; /* index in `fragments` */
	__be16 id; /* of the datagram: the place may be another's by now */
	__u16 len; /* bytes of the frame */
	addr_t src;
	addr_t dst;
	__u32 ifindex; /* the device that it came in by */
	__u32 reserved;
	__u8 bytes[HELD_PART];
};

enum node_flag : __u32 {
	NODE_MASQUERADE = 1 << 0, /* pods' packets leave the cluster with the uplink's address */
	NODE_KNOWN_VTEPS = 1 << 1, /* the overlay accepts packets from `vteps` only */
	NODE_EGRESS_STACK = 1 << 2, /* pods' packets to the world pass by the stack, both ways */
	NODE_SOURCE_CHECK = 1 << 3, /* pods send from their own addresses only */
	NODE_POD_MULTICAST = 1 << 4, /* pods of this node hear each other's multicast and broadcast */
	NODE_UPLINK_CHECK = 1 << 5, /* sources that nothing has by an uplink are dropped there */
	NODE_TUNNELLED = 1 << 6, /* such are pods of `remotes` by the overlay: they come by it alone */
	NODE_PODS_HIDDEN = 1 << 7, /* such are pods, whatever they send to: masquerade has no exceptions */
};

/* One element, index 0. Timeouts in nanoseconds, checked once a second; 0: the
 * default of lib/config.h. */
struct node_config {
	ns_t tcp_new_timeout; /* no handshake yet */
	ns_t tcp_established_timeout;
	ns_t tcp_closing_timeout; /* half-closed: a FIN went one way */
	ns_t tcp_closed_timeout; /* FIN both ways, or RST */
	ns_t udp_timeout;
	ns_t icmp_timeout;
	enum node_flag flags;
	addr_t node_addr; /* the node's own address; 0: unknown */
	addr_t pod_cidr; /* addresses of this node's pods: addr & pod_mask == pod_cidr */
	addr_t pod_mask; /* 0: unknown */
	addr_t snat_addr; /* this node's on the pod network, source of flows from clients outside */
	__u16 snat_first; /* source ports for SNAT and masquerade; 0: the default range */
	__u16 snat_last;
	__u32 overlay_vni; /* the only one accepted; 0: any */
	port_be overlay_port; /* UDP, of the tunnel itself; 0: no overlay */
	__u16 maglev_size; /* of every Maglev table, a prime; 0: no tables */
	__u32 pods_ifindex; /* by which the stack gets pods' packets: the bridge; 0: their own device */
	__u32 pods_mtu; /* of pods' devices; 0: unknown */
};

enum affinity_kind : __u32 {
	AFFINITY_ADDRESS = 0, /* client: an address, addr_t */
	AFFINITY_NETNS = 1, /* client: the cookie of a network namespace */
};

/* Which backend a client of a service with affinity got. */
struct affinity_key {
	__u64 client; /* by kind */
	__u32 service_id;
	enum affinity_kind kind;
};

struct affinity {
	ns_t last_used; /* time of the last new flow */
	addr_t addr;
	port_be port;
	__u16 reserved;
	__u32 index; /* in `backends`, when the choice was made */
	__u32 reserved2;
};

/* Entries of one client in `affinity_proven`: a sixteenth of it by default. */
#define SHARE_AFFINITY_SLOTS 4096

struct affinity_proven_key {
	__u64 client; /* by kind */
	__u32 slot; /* the service's id, modulo SHARE_AFFINITY_SLOTS */
	enum affinity_kind kind;
};

/* The same of a client whose address is known not to be forged. */
struct affinity_proven {
	ns_t last_used; /* time of the last new flow */
	addr_t addr;
	port_be port;
	__u16 reserved;
	__u32 index; /* in `backends`, when the choice was made */
	__u32 service_id;
};

/* Four neighbouring slots of a Maglev table: indices of backends in the extent. A table
 * takes as many elements as node_config.maglev_size needs; table n begins at n times as
 * many. */
#define MAGLEV_SLOTS 4

struct maglev_slots {
	__u16 backend[MAGLEV_SLOTS];
};

/* Key of a longest-prefix map over addresses. */
struct cidr_key {
	__u32 prefixlen;
	addr_t addr;
};

enum remote_mode : __u8 {
	REMOTE_ROUTED = 0, /* as the node's routes say */
	REMOTE_OVERLAY = 1,
	REMOTE_DIRECT = 2,
};

/* How to reach the pods of another node. Key: its podCIDR (struct cidr_key). */
struct remote {
	addr_t via; /* overlay: the node at the tunnel's far end; direct: the next hop */
	__u32 ifindex; /* the overlay's device, the uplink; 0: as the node's routes say */
	__u32 vni; /* overlay */
	__u16 mtu; /* of packets on this path; 0: any */
	enum remote_mode mode;
	__u8 reserved;
	mac_t mac; /* overlay: of the far end's device */
	__u16 reserved2;
};

/* A device to the other nodes and the world. */
struct uplink_key {
	__u32 ifindex;
};

struct uplink {
	addr_t addr; /* source of masqueraded packets; 0: unknown */
	__u32 mtu;
};

/* An address of a node: NodePorts are open there. */
struct node_addr_key {
	addr_t addr;
};

enum node_addr_flag : __u32 {
	NODE_ADDR_LOCAL = 1 << 0, /* of this node; else of another one */
};

struct node_addr {
	enum node_addr_flag flags;
};

/* An outer source address of another node's tunnel packets. */
struct vtep_key {
	addr_t addr;
};

/* That node: the inner sources of its packets. */
struct vtep {
	addr_t pod_cidr; /* its pods': addr & pod_mask == pod_cidr */
	addr_t pod_mask; /* 0: any, where several nodes share the outer address */
	addr_t node_addr; /* its own; 0: unknown */
};

/* One of a service's loadBalancerSourceRanges. */
struct source_range_key {
	__u32 prefixlen; /* 32 (the service's id) and the length of the prefix */
	__u32 service_id;
	addr_t addr;
};

/* Packets and bytes for each enum reason (lib/reasons.h), per CPU. */
struct counter {
	__u64 packets;
	__u64 bytes;
};

enum name_kind : __u32 {
	NAME_SERVICE_PORT = 1, /* id: service.id; `default/web:http/TCP` */
	NAME_NODE = 2, /* id: the node's address, in host byte order */
};

/* Names of the cluster's objects, for ids in other maps. */
struct name_key {
	enum name_kind kind;
	__u32 id;
};

#define NAME_LEN 256

/* UTF-8, zeros at the end. A node's name has at most 253 bytes, a port's 148. */
struct name {
	char text[NAME_LEN];
};

#define MONITOR_HEAD 80

/* Kinds of ends of a packet, bits of the values of `monitor_ends`. */
enum monitor_end_flag : __u32 {
	MONITOR_END_POD = 1 << 0,
	MONITOR_END_SERVICE = 1 << 1,
};

/* A listener's filter. */
struct monitor {
	__u64 reasons[2]; /* a bit for each enum reason */
	ns_t until; /* when the listener's lease ends, unless renewed */
	__u32 sample; /* 0xffffffff: every packet; half of that: every other, at random */
	enum monitor_end_flag ends; /* all of them must be at an end of the packet */
};

/* How many packets may still be reported to a listener, per CPU. The listener refills it
 * at the rate that it can read: the rest of a flood is only counted. */
struct monitor_budget {
	__u64 left;
	__u64 round; /* which refill this is: the shares begin anew */
};

/* Where packets come from. */
struct monitor_share_key {
	__u32 ifindex; /* the device that they came in by; 0: the node itself */
	__u32 source; /* 0: all; else a number for their source address, by a hash */
};

/* What they have used of the budget. */
struct monitor_share {
	__u64 round; /* monitor_budget.round */
	__u32 used;
	__u32 lost; /* of all rounds */
};

/* An address that a listener filters packets by; port 0: any. The value has a bit for each
 * kind of end: the pod, the service. */
struct monitor_end {
	addr_t addr;
	port_be port;
	__u16 reserved;
};

/* A packet reported to a listener. */
struct monitor_event {
	ns_t time;
	__u32 ifindex; /* the device that the program is on */
	__u32 len; /* bytes of the frame */
	__u16 reason; /* enum reason */
	__u16 captured; /* bytes of `head` that the frame fills */
	__u32 reserved;
	__u8 head[MONITOR_HEAD]; /* as it left the program: translated, if it was */
};

enum cni_verb : __u16 {
	CNI_ADD = 1,
	CNI_CHECK = 2,
	CNI_DEL = 3,
	CNI_GC = 4,
	CNI_STATUS = 5,
};

/* A finished call of the CNI plugin. */
struct cni_call {
	__u32 microseconds;
	enum cni_verb verb;
	__u16 failed;
};
