/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `sessions` is an LRU, which cannot know what is over. So a flow that both ends have used
 * (an established TCP connection; any other flow that had a reply, and packets a second
 * later) is assured, as nf_conntrack calls it: copies of its two entries are kept in
 * `assured`, a plain hash, until it is over. What the LRU evicts comes back from there.
 *
 * The entry in `sessions` holds as long as there is one. When `assured` is full, or the
 * source has its share of it, a flow is left to the LRU.
 *
 * The functions with an argument that they do not use are not static for the verifier's
 * sake (see timed_out()), and take scratch->key. They call none: 8 frames is the limit.
 */
#pragma once

#include <linux/errno.h>

#include "affinity.h"
#include "session_key.h"
#include "session_scratch.h"
#include "session_source.h"

static __always_inline bool is_assured(const struct session_key *key)
{
	return bpf_map_lookup_elem(&assured, key);
}

/* Brings an evicted entry back. 0: there is none. */
__noinline int assured_restore(__u32 unused)
{
	struct flow_scratch *scratch = scratch_get();
	struct session *copy;

	(void)unused;
	if (!scratch)
		return 0;
	copy = bpf_map_lookup_elem(&assured, &scratch->key);
	if (!copy)
		return 0;
	if (!bpf_map_update_elem(&sessions, &scratch->key, copy, BPF_NOEXIST))
		count_bytes(EVENT_SESSION_RESTORED, 0);
	return 1;
}

/* Updates the copy of an entry from scratch->session. */
__noinline int assured_save(__u32 unused)
{
	struct flow_scratch *scratch = scratch_get();
	struct session *copy;

	(void)unused;
	if (!scratch)
		return 0;
	copy = bpf_map_lookup_elem(&assured, &scratch->key);
	if (!copy)
		return 0;
	*copy = scratch->session;
	return 0;
}

/* Removes the copies of a flow, by the key of either entry. */
static __always_inline void assured_remove(const struct session_key *key)
{
	struct session *copy = bpf_map_lookup_elem(&assured, key);
	struct source_key source_key;
	struct session_key other_key;
	struct session *other;
	struct source *source;

	if (!copy)
		return;
	reverse_key(copy, key->proto, &other_key);
	source_key.addr = copy->flags & SESSION_REPLY ? session_client(&other_key, copy) :
							session_client(key, copy);
	other = bpf_map_lookup_elem(&assured, &other_key);
	if (other && is_reverse_of(other, key))
		bpf_map_delete_elem(&assured, &other_key);
	if (bpf_map_delete_elem(&assured, key)) /* another CPU was faster */
		return;
	source = bpf_map_lookup_elem(&sources, &source_key);
	assured_count(source, -1);
}

__noinline int assured_forget(__u32 unused)
{
	struct flow_scratch *scratch = scratch_get();

	(void)unused;
	if (scratch)
		assured_remove(&scratch->key);
	return 0;
}

/* Assures the flow whose forward entry has the key, if its other end has replied. */
__noinline int assured_add(__u32 unused)
{
	struct flow_scratch *scratch = scratch_get();
	struct session *forward, *reply;
	struct session_key reply_key;
	struct source *source;
	__u64 limit;
	long error;

	(void)unused;
	if (!scratch)
		return 0;
	forward = bpf_map_lookup_elem(&sessions, &scratch->key);
	if (!forward)
		return 0;
	reverse_key(forward, scratch->key.proto, &reply_key);
	reply = bpf_map_lookup_elem(&sessions, &reply_key);
	if (!reply || !is_reverse_of(reply, &scratch->key) || reply->state == STATE_NEW)
		return 0;
	source = source_get(session_client(&scratch->key, forward), true);
	limit = assured_limit(scratch->key.proto);
	if (!source || source->assured >= limit) {
		if (source && limit)
			share_exceeded(session_client(&scratch->key, forward), 0, OF_SESSIONS, 1);
		count_bytes(EVENT_SESSION_UNASSURED, 0);
		return 0;
	}
	error = bpf_map_update_elem(&assured, &scratch->key, forward, BPF_NOEXIST);
	if (error == -EEXIST)
		return 1;
	if (!error) {
		assured_count(source, 1);
		if (!bpf_map_update_elem(&assured, &reply_key, reply, BPF_ANY) &&
		    forward->state != STATE_CLOSED) /* meanwhile, by another CPU */
			return 1;
		assured_remove(&scratch->key);
	}
	count_bytes(EVENT_SESSION_UNASSURED, 0);
	return 0;
}

/* The flow of scratch->key is assured: its client is no forged address. */
__noinline int affinity_confirm(addr_t client)
{
	struct flow_scratch *scratch = scratch_get();
	struct affinity_key key = { .client = client, .kind = AFFINITY_ADDRESS };
	struct session *forward;
	struct affinity *entry;

	if (!scratch)
		return 0;
	forward = bpf_map_lookup_elem(&sessions, &scratch->key);
	if (!forward || !forward->service_id)
		return 0;
	key.service_id = forward->service_id;
	entry = bpf_map_lookup_elem(&affinity, &key);
	if (!entry)
		return 0;
	affinity_prove(&key, entry);
	bpf_map_delete_elem(&affinity, &key);
	return 0;
}

/* Names the entry for the functions above. */
static __always_inline struct flow_scratch *scratch_key(const struct session_key *key)
{
	struct flow_scratch *scratch = scratch_get();

	if (scratch)
		scratch->key = *key;
	return scratch;
}

static __always_inline void session_assure(const struct session_key *forward_key)
{
	if (scratch_key(forward_key) && assured_add(0))
		affinity_confirm(forward_key->src);
}

static __always_inline void session_unassure(const struct session_key *key)
{
	if (scratch_key(key))
		assured_forget(0);
}
