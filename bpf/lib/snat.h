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
 * Identifiers of the node's echoes are noted as they leave: node_flow_note(). Not static: see timed_out(). */
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

/* Where hardly any port to a far end is free, looking for one costs the node more than
 * asking costs a client. Then, for so many nanoseconds, all tries are as the last ones, which
 * may take ports of other flows, and a source that found none has few: it may have used up
 * its share alone. */
#define SCARCE_PAUSE (SECOND / 100)

static __always_inline bool scarce_since(__u64 then, __u64 now)
{
	return (__s64)(now - then) < (__s64)SCARCE_PAUSE;
}

/* What is known of the far end, or of another of the same hash. */
static __always_inline struct scarce_ports *scarce_get(const struct port_tries *tries)
{
	__u32 at = tries->far_end % SCARCE_ENDS;

	return bpf_map_lookup_elem(&scarce_ports, &at);
}

static __always_inline void tries_begin(struct port_tries *tries, __u32 proto, addr_t source,
					const struct session *forward)
{
	__u64 now = forward->created;
	struct scarce_ports *known;
	bool own;

	tries->count = PORT_TRIES;
	tries->scarce = 0;
	tries->far_end = hash_word(hash_word(proto, forward->dst), forward->dport);
#ifdef CONVERTING
	return; /* it lasts seconds */
#endif
	known = scarce_get(tries);
	if (!known || known->far_end != tries->far_end)
		return;
	own = known->source == source;
	if (own && scarce_since(known->failed, now))
		tries->count = PORT_TRIES_SHORT;
	tries->scarce = (own && scarce_since(known->at, now)) || scarce_since(known->other, now);
}

/* The first half of all tries was in vain. */
static __always_inline void ports_become_scarce(struct port_tries *tries, addr_t source,
						__u64 now)
{
	struct scarce_ports *known = scarce_get(tries);

	tries->scarce = 1;
	if (!known)
		return;
	if (known->far_end == tries->far_end && known->source != source &&
	    scarce_since(known->at, now)) {
		known->other = now;
		return;
	}
	known->far_end = tries->far_end;
	known->source = source;
	known->at = now;
	known->failed = known->other = 0;
}

/* All tries were. */
static __always_inline void ports_ran_out(const struct port_tries *tries, addr_t source,
					  __u64 now)
{
	struct scarce_ports *known = scarce_get(tries);

	if (known && tries->count == PORT_TRIES && known->source == source &&
	    known->far_end == tries->far_end)
		known->failed = now;
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
	struct port_tries *tries;
	enum reason failed;
	__u32 i;

	if (!scratch)
		return DROP_SESSIONS_FULL;
	tries = &scratch->tries;
	tries_begin(tries, forward_key->proto, forward_key->src, forward);
	for (i = 0; i < PORT_TRIES; i++) {
		if (i >= tries->count)
			break;
		if (i == PORT_TRIES / 2 && !tries->scarce)
			ports_become_scarce(tries, forward_key->src, forward->created);
		forward->sport = bpf_htons(first + at);
		/* A small range is tried port by port, a large one is sampled. */
		at = (at + stride) % count;
		if (count >= SHARED_PORTS && !port_shared(forward_key->src, forward->sport))
			continue;
		reverse_key(forward, forward_key->proto, &scratch->claim);
		/* The first port is nearly always free: it is claimed at once. */
		if ((i && reply_key_taken(tries->scarce)) ||
		    port_reserved(skb, forward->dst, forward->src,
				  (__u32)forward->dport << 16 | forward->sport, forward_key->proto))
			continue;
		failed = reply_key_claim(tries->scarce);
		if (failed != DROP_PORTS_EXHAUSTED)
			return failed;
	}
	ports_ran_out(tries, forward_key->src, forward->created);
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
