/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Source ports of flows that get an address of this node. A port is free if no session
 * with the same other end has it, no NodePort, hostPort or other service of this node, and
 * no socket of the node's own processes.
 *
 * The first port tried is a hash of the flow, so that a flow whose session was evicted
 * mostly gets its port back. RFC 6056, 3.3.3, without its secret: ports are as hard to
 * guess as the pods' own.
 */
#pragma once

#include "config.h"
#include "hash.h"
#include "ip4.h"
#include "node_flow.h"
#include "service.h"
#include "session_create.h"
#include "share.h"

static __always_inline bool socket_holds(struct __sk_buff *skb, struct bpf_sock_tuple *tuple,
					 __u32 proto)
{
	struct bpf_sock *socket;

	if (proto == IPPROTO_TCP)
		socket = bpf_skc_lookup_tcp(skb, tuple, SOCK_TUPLE_LEN, BPF_F_CURRENT_NETNS,
					    0);
	else
		socket = bpf_sk_lookup_udp(skb, tuple, SOCK_TUPLE_LEN, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

/* Do packets from `remote` to this address and port belong to the node itself: its tunnel,
 * a service, a socket? `ports` are the remote one and, in the lower half, the local one.
 * Echo identifiers are never reserved. Not static: see timed_out(). */
__noinline __u32 port_reserved(struct __sk_buff *skb, addr_t remote, addr_t local, __u32 ports,
			       __u32 proto)
{
	struct bpf_sock_tuple tuple = sock_tuple(remote, local, ports >> 16, ports);
	struct node_config *config = node_config();
	__be16 port = ports;

	if (proto == IPPROTO_ICMP || !config)
		return 0;
	return (proto == IPPROTO_UDP && port == config->overlay_port) ||
	       port_taken(local, port, proto) || socket_holds(skb, &tuple, proto);
}

/* Is the port one of those that this source may have? Each source has a random subset of
 * the range, so that none can take all ports to a destination, and two have different
 * ones. */
static __always_inline bool port_shared(addr_t source, port_be port)
{
	struct session_limits *limits = session_limits_get();
	__u32 share = limits && limits->ports ? limits->ports : DEFAULT_SOURCE_PORTS;

	return (hash_word(hash_word(0, source), port) >> 24) < share;
}

/* Primes, of which no number of 16 bits is a multiple of two. */
static const volatile __u16 port_primes[] = { 257, 577, 1153, 2311, 4621, 9241, 18481, 36979 };

/* Distance from one port to the next one tried, in a range of `count`. It has no factor in
 * common with `count`, so that no port is tried twice. */
static __always_inline __u32 port_stride(__u32 hash, __u32 count)
{
	__u32 prime = port_primes[hash & 7];

	return (count % prime ? prime : port_primes[(hash + 1) & 7]) % count;
}

/* Claims a source port, and the key of replies with it. REASON_NONE,
 * DROP_SESSIONS_FULL or DROP_PORTS_EXHAUSTED. */
static __noinline enum reason snat_claim(struct __sk_buff *skb, const struct node_config *config,
					 const struct session_key *forward_key,
					 struct session *forward)
{
	__u32 first = config->snat_first ? config->snat_first : SNAT_FIRST;
	__u32 last = config->snat_last ? config->snat_last : SNAT_LAST;
	__u32 count = last >= first ? last - first + 1 : 1;
	__u32 hash = hash_word(hash_word(0, forward_key->src),
			       (__u32)forward_key->sport << 16 | forward_key->dport);
	__u32 stride = count <= PORT_TRIES ? 1 : port_stride(hash >> 16, count);
	__u32 at = hash % count;
	struct flow_scratch *scratch = claim_begin(forward_key, forward);
	enum reason failed;
	bool scarce;
	int i;

	if (!scratch)
		return DROP_SESSIONS_FULL;
	for (i = 0; i < PORT_TRIES; i++) {
		if (i == PORT_TRIES_SHORT && share_exceeded_lately(forward_key->src))
			break;
		scarce = i >= PORT_TRIES / 2;
		forward->sport = bpf_htons(first + at);
		/* A small range is tried port by port, a large one is sampled. */
		at = (at + stride) % count;
		if (count >= SHARED_PORTS && !port_shared(forward_key->src, forward->sport))
			continue;
		reverse_key(forward, forward_key->proto, &scratch->claim);
		/* The first port is nearly always free: it is claimed at once. */
		if ((i && reply_key_taken(scarce)) ||
		    port_reserved(skb, forward->dst, forward->src,
				  (__u32)forward->dport << 16 | forward->sport, forward_key->proto))
			continue;
		failed = reply_key_claim(scarce);
		if (failed != DROP_PORTS_EXHAUSTED)
			return failed;
	}
	share_exceeded(forward_key->src, 0, OF_PORTS, 1);
	return DROP_PORTS_EXHAUSTED;
}

/* Creates both entries of a new flow whose source becomes `session->src`, an address of
 * this node. Returns in `session` the one that holds. */
static __noinline enum reason snat_create(struct __sk_buff *skb, const struct packet *pkt,
					  const struct node_config *config,
					  struct session *session)
{
	enum reason failed;

	session_begin(pkt, session);
	failed = snat_claim(skb, config, &pkt->key, session);
	return failed ? failed : session_commit(pkt, session);
}
