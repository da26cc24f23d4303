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

#include "bounded.h"
#include "maps.h"
#include "session_key.h"
#include "session_scratch.h"
#include "session_former.h"

/* The loader replaces it by the pinned table, whose values may be smaller or larger. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct session_key);
	__type(value, union session_former);
} sessions_former SEC(".maps");

/* More entries than a program uses at one time. */
#define SCRATCH_SESSIONS 8

/* A program is not interrupted by another one on its CPU. */
struct session_scratch {
	/* Copies of entries, in today's layout. */
	struct session sessions[SCRATCH_SESSIONS];
	__u64 next;
	/* Arguments of the table_ functions below. */
	struct session_key key;
	struct session session;
	union session_former former; /* not on the stack, which is full */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct session_scratch);
} session_scratch SEC(".maps");

static __always_inline struct session_scratch *scratch_lookup(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&session_scratch, &key);
}

static __always_inline __u32 conversion_phase(void)
{
	__u32 key = 0;
	struct conversion *found = bpf_map_lookup_elem(&conversion, &key);

	return found ? found->phase : CONVERSION_FORMER;
}

/* The table_ functions are not static: the verifier looks at each of them once, and not
 * once for each way to get here, of which every phase would make several: Linux 5.10
 * gives up at a million instructions. It passes them numbers only, so that pointers go
 * by way of the scratch. */

/* Copies the entry of `key` to sessions[at]. 0; 1: none. */
__noinline int table_read(__u32 at)
{
	struct session_scratch *scratch = scratch_lookup();
	union session_former *former;
	struct session *session, *found;

	if (!scratch)
		return 1;
	session = &scratch->sessions[at % SCRATCH_SESSIONS];
	if (conversion_phase() == CONVERSION_NEW) {
		found = bpf_map_lookup_elem(&sessions, &scratch->key);
		if (!found)
			return 1;
		*session = *found;
		return 0;
	}
	former = bpf_map_lookup_elem(&sessions_former, &scratch->key);
	if (!former)
		return 1;
	session_from_former(former, session);
	return 0;
}

/* Adds or replaces the entry of `key`. 0, or an error. */
__noinline int table_write(__u32 flags)
{
	struct session_scratch *scratch = scratch_lookup();
	__u32 phase = conversion_phase();
	int error;

	if (!scratch)
		return -1;
	if (phase == CONVERSION_NEW)
		return bpf_map_update_elem(&sessions, &scratch->key, &scratch->session, flags);
	session_to_former(&scratch->session, &scratch->former);
	error = bpf_map_update_elem(&sessions_former, &scratch->key, &scratch->former, flags);
	if (!error && phase == CONVERSION_MIRRORED)
		bpf_map_update_elem(&sessions, &scratch->key, &scratch->session, BPF_ANY);
	return error;
}

/* Changes the entry of `key`, where there is one. */
__noinline int table_save(__u32 unused)
{
	struct session_scratch *scratch = scratch_lookup();
	__u32 phase = conversion_phase();
	union session_former *former;
	struct session *session, *found;

	(void)unused;
	if (!scratch)
		return 0;
	session = &scratch->session;
	if (phase != CONVERSION_NEW) {
		former = bpf_map_lookup_elem(&sessions_former, &scratch->key);
		if (former)
			session_save_former(session, former);
		if (!former || phase == CONVERSION_FORMER)
			return 0;
	}
	found = bpf_map_lookup_elem(&sessions, &scratch->key);
	if (found) {
		found->last_seen = session->last_seen;
		found->state = session->state;
		found->flags = session->flags;
	} else if (phase == CONVERSION_MIRRORED) {
		bpf_map_update_elem(&sessions, &scratch->key, session, BPF_NOEXIST);
	}
	return 0;
}

__noinline int table_remove(__u32 unused)
{
	struct session_scratch *scratch = scratch_lookup();
	__u32 phase = conversion_phase();

	(void)unused;
	if (!scratch)
		return 0;
	if (phase != CONVERSION_NEW)
		bpf_map_delete_elem(&sessions_former, &scratch->key);
	if (phase != CONVERSION_FORMER)
		bpf_map_delete_elem(&sessions, &scratch->key);
	return 0;
}

static __always_inline struct session *session_read(const struct session_key *key)
{
	struct session_scratch *scratch = scratch_lookup();
	__u32 at;

	if (!scratch)
		return NULL;
	at = scratch->next++ % SCRATCH_SESSIONS;
	scratch->key = *key;
	return table_read(at) ? NULL : &scratch->sessions[bounded(at, SCRATCH_SESSIONS - 1)];
}

static __always_inline long session_write(const struct session_key *key,
					  const struct session *session, __u64 flags)
{
	struct session_scratch *scratch = scratch_lookup();

	if (!scratch)
		return -1;
	scratch->key = *key;
	scratch->session = *session;
	return table_write(flags);
}

static __always_inline long session_insert(const struct session_key *key,
					   const struct session *session)
{
	return session_write(key, session, BPF_NOEXIST);
}

static __always_inline void session_remove(const struct session_key *key)
{
	struct session_scratch *scratch = scratch_lookup();

	if (!scratch)
		return;
	scratch->key = *key;
	table_remove(0);
}

static __always_inline void session_save(const struct session_key *key,
					 const struct session *session)
{
	struct session_scratch *scratch = scratch_lookup();

	if (!scratch)
		return;
	scratch->key = *key;
	scratch->session = *session;
	table_save(0);
}

/* `assured` is left alone: user space copies it into the table first. */
static __always_inline void session_assure(const struct session_key *forward_key)
{
	(void)forward_key;
}

static __always_inline void session_unassure(const struct session_key *key)
{
	(void)key;
}

static __always_inline void session_note(const struct session_key *forward_key,
					 const struct session *forward)
{
	(void)forward_key;
	(void)forward;
}

static __always_inline bool is_assured(const struct session_key *key)
{
	(void)key;
	return false;
}
