/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The session table while it is converted. The same programs, compiled with CONVERTING,
 * replace those that use the former table, and are replaced by those that use the new one
 * (src/bpf/conversion.ts, docs/upgrade.md).
 *
 * One table is authoritative at any time, and all attached programs agree on which:
 *
 *   FORMER    the former one. Old programs may still be attached beside these.
 *   MIRRORED  the former one; writes go to the new one too, while user space copies the
 *             rest. Only these programs are attached.
 *   NEW       the new one. Programs without CONVERTING may be attached beside these.
 *
 * So a conversion may be killed at any step: the table that is pinned as `sessions` is
 * complete.
 */
#pragma once

#include "maps.h"
#include "session_former.h"

/* The loader replaces it by the pinned table, whose values may be smaller or larger. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct session_key);
	__type(value, union session_former);
} sessions_former SEC(".maps");

/* More entries than a program uses at one time. */
#define SCRATCH_SESSIONS 4

/* Copies of entries, in today's layout. A program is not interrupted by another one on
 * its CPU. */
struct session_scratch {
	struct session sessions[SCRATCH_SESSIONS];
	__u64 next;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct session_scratch);
} session_scratch SEC(".maps");

static __always_inline __u32 conversion_phase(void)
{
	__u32 key = 0;
	struct conversion *found = bpf_map_lookup_elem(&conversion, &key);

	return found ? found->phase : CONVERSION_FORMER;
}

/* A copy of the entry in the table that is the truth. */
static __noinline struct session *session_read(const struct session_key *key)
{
	__u32 zero = 0;
	struct session_scratch *scratch = bpf_map_lookup_elem(&session_scratch, &zero);
	union session_former *former;
	struct session *session, *found;

	if (!scratch)
		return NULL;
	session = &scratch->sessions[scratch->next++ % SCRATCH_SESSIONS];
	if (conversion_phase() == CONVERSION_NEW) {
		found = bpf_map_lookup_elem(&sessions, key);
		if (!found)
			return NULL;
		*session = *found;
		return session;
	}
	former = bpf_map_lookup_elem(&sessions_former, key);
	if (!former)
		return NULL;
	session_from_former(former, session);
	return session;
}

static __noinline long session_write(const struct session_key *key,
				     const struct session *session, __u64 flags)
{
	__u32 phase = conversion_phase();
	union session_former former;
	long error;

	if (phase == CONVERSION_NEW)
		return bpf_map_update_elem(&sessions, key, session, flags);
	session_to_former(session, &former);
	error = bpf_map_update_elem(&sessions_former, key, &former, flags);
	if (!error && phase == CONVERSION_MIRRORED)
		bpf_map_update_elem(&sessions, key, session, BPF_ANY);
	return error;
}

static __noinline void session_remove(const struct session_key *key)
{
	__u32 phase = conversion_phase();

	if (phase != CONVERSION_NEW)
		bpf_map_delete_elem(&sessions_former, key);
	if (phase != CONVERSION_FORMER)
		bpf_map_delete_elem(&sessions, key);
}

static __noinline void session_save(const struct session_key *key, const struct session *session)
{
	__u32 phase = conversion_phase();
	union session_former *former;
	struct session *found;

	if (phase != CONVERSION_NEW) {
		former = bpf_map_lookup_elem(&sessions_former, key);
		if (former)
			session_save_former(session, former);
		if (!former || phase == CONVERSION_FORMER)
			return;
	}
	found = bpf_map_lookup_elem(&sessions, key);
	if (found) {
		found->last_seen = session->last_seen;
		found->state = session->state;
		found->flags = session->flags;
	} else if (phase == CONVERSION_MIRRORED) {
		bpf_map_update_elem(&sessions, key, session, BPF_NOEXIST);
	}
}
