/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What one source, a pod or an address outside, may have of the session table: its share
 * (session_limits.flows). A source that opens more flows recycles its own oldest, so
 * that a flood does not evict the flows of others. No agent is needed.
 */
#pragma once

#include "config.h"
#include "count.h"
#include "hash.h"
#include "session_key.h"
#include "session_scratch.h"
#include "share.h"

/* The client's address. The forward entry of a flow from outside to a pod's own address is
 * of the pod's packets. */
static __always_inline addr_t session_client(const struct session_key *forward_key,
					     const struct session *forward)
{
	bool exempt = forward->flags & SESSION_MASQUERADE && forward->src == forward_key->src;

	return exempt ? forward_key->dst : forward_key->src;
}

static __always_inline __u32 source_limit(void)
{
	struct session_limits *limits = session_limits_get();

	return limits && limits->flows ? limits->flows : DEFAULT_SOURCE_FLOWS;
}

/* Flows that a source may have in `assured`. It shrinks once the table has more flows than
 * one share, so that sources that take all they can, one after the other, leave room for
 * connections of others: n of them about 1/(2n) of a table of which a share is half. A
 * flow of another protocol than TCP is left to the LRU when half of the table is used. */
static __always_inline __u64 assured_limit(__u8 proto)
{
	struct session_limits *limits = session_limits_get();
	__u64 share = source_limit(), capacity, free, rest;

	if (!limits)
		return share;
	capacity = limits->capacity ? limits->capacity : DEFAULT_FLOWS;
	if (proto != IPPROTO_TCP && limits->assured >= capacity / 2)
		return 0;
	if (limits->assured <= share || capacity <= share)
		return share;
	rest = capacity - share;
	free = capacity > limits->assured ? capacity - limits->assured : 0;
	share = share * free / rest * free / rest;
	return share ? share : 1;
}

/* Counts a flow in `assured`. `change`: 1 or -1. */
static __always_inline void assured_count(struct source *source, __s32 change)
{
	struct session_limits *limits = session_limits_get();

	if (source && (change > 0 || source->assured))
		__sync_fetch_and_add(&source->assured, change);
	if (limits && (change > 0 || limits->assured))
		__sync_fetch_and_add(&limits->assured, change);
}

/* Entries for all addresses outside that have no assured flow: there may be millions, forged,
 * which would evict the entries of others. Their keys are addresses of no machine. */
#define UNKNOWN_SOURCES 4096

static __always_inline bool source_is_known(addr_t addr)
{
	struct node_config *config = node_config();

	return config && is_own_pod(config, addr);
}

/* `known`: it has an assured flow. The LRU may have evicted the entry of a source while very
 * many others came: then its flows go on anywhere in its ring, not at the beginning, where
 * they would recycle each other. */
static __always_inline struct source *source_get(addr_t addr, bool known)
{
	struct source_key key = { .addr = addr };
	struct source none = { .created = bpf_get_prandom_u32() };
	struct source *source = bpf_map_lookup_elem(&sources, &key);

	if (source)
		return source;
	if (!known && !source_is_known(addr)) {
		key.addr = bpf_htonl(hash_word(0, addr) % UNKNOWN_SOURCES);
		source = bpf_map_lookup_elem(&sources, &key);
		if (source)
			return source;
	}
	bpf_map_update_elem(&sources, &key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&sources, &key);
}

/* Removes both entries of a flow, unless it is assured, another one by now, or another
 * source's. */
static __always_inline void session_recycle(const struct source_flow *flow, addr_t addr)
{
	const struct session_key *key = &flow->key;
	struct session *session = bpf_map_lookup_elem(&sessions, key);
	struct session_key reply_key;
	struct session *reply;

	if (!session || session->created != flow->created ||
	    session->flags & SESSION_REPLY || session_client(key, session) != addr ||
	    bpf_map_lookup_elem(&assured, key))
		return;
	reverse_key(session, key->proto, &reply_key);
	reply = bpf_map_lookup_elem(&sessions, &reply_key);
	if (reply && is_reverse_of(reply, key))
		bpf_map_delete_elem(&sessions, &reply_key);
	bpf_map_delete_elem(&sessions, key);
	count_bytes(EVENT_SESSION_RECYCLED, 0);
	share_exceeded(addr, 0, OF_SESSIONS, 1);
}

/* Elements of `source_flows`. */
#define SOURCE_SLOTS (1U << 19)
/* No source goes round its ring in less than so many nanoseconds a flow. */
#define ROUND_NS 16

/* Notes the new flow of scratch->flow and scratch->claim_value for its source, in the place
 * of the source's oldest one when that has its share. Each source has a ring of slots,
 * beginning at a hash of its address. Where two rings overlap, or two CPUs get one slot at
 * the same time, a flow is not recycled, and left to the LRU: what is in the slot is
 * younger than a round takes, then. */
__noinline int source_note(addr_t addr)
{
	struct flow_scratch *scratch = scratch_get();
	struct source *source = source_get(addr, false);
	struct source_flow *slot;
	__u32 limit = source_limit();
	__s64 age;
	__u32 at;

	if (!scratch || !source)
		return 0;
	if (limit > SOURCE_SLOTS)
		limit = SOURCE_SLOTS;
	at = (hash_word(0, addr) + source->created++ % limit) % SOURCE_SLOTS;
	slot = bpf_map_lookup_elem(&source_flows, &at);
	if (!slot)
		return 0;
	age = scratch->claim_value.created - slot->created;
	if ((slot->key.src == addr || slot->key.dst == addr) && age > (__s64)limit * ROUND_NS)
		session_recycle(slot, addr);
	slot->key = scratch->flow;
	slot->created = scratch->claim_value.created;
	return 0;
}

static __always_inline void session_note(const struct session_key *forward_key,
					 const struct session *forward)
{
	struct flow_scratch *scratch = scratch_get();

	if (!scratch)
		return;
	scratch->flow = *forward_key;
	scratch->claim_value.created = forward->created;
	source_note(session_client(forward_key, forward));
}
