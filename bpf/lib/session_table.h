/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Access to the entries of `sessions`, in one place: while the table is converted to
 * another layout, programs use two tables at once (session_converting.h).
 */
#pragma once

#ifdef CONVERTING
#include "session_converting.h"
/* All calls share 512 bytes of stack, of which each takes 32 at least on 5.10, and the
 * functions of session_converting.h are one call more. */
#define __noinline_steady __always_inline
/* They assure no session, and count for no source: flows move up later. */
#define STEADY false
#else
#define __noinline_steady __noinline
#define STEADY true

#include "maps.h"
#include "session_assured.h"

/* The entry of a key, whether expired or not; NULL: none. */
static __always_inline struct session *session_read(const struct session_key *key)
{
	struct session *session = bpf_map_lookup_elem(&sessions, key);

	if (session)
		return session;
	if (!scratch_key(key) || !assured_restore(0))
		return NULL;
	return bpf_map_lookup_elem(&sessions, key);
}

/* Adds or replaces an entry, as `flags` say (BPF_ANY, BPF_NOEXIST). 0, or an error. */
static __always_inline long session_write(const struct session_key *key,
					  const struct session *session, __u64 flags)
{
	if (flags == BPF_ANY)
		session_unassure(key);
	else if (bpf_map_lookup_elem(&assured, key))
		return -1;
	return bpf_map_update_elem(&sessions, key, session, flags);
}

/* Adds an entry of a key that session_read() has just not found. 0, or an error. */
static __always_inline long session_insert(const struct session_key *key,
					   const struct session *session)
{
	return bpf_map_update_elem(&sessions, key, session, BPF_NOEXIST);
}

static __always_inline void session_remove(const struct session_key *key)
{
	session_unassure(key);
	bpf_map_delete_elem(&sessions, key);
}

/* Stores what was changed in an entry that session_read() returned. */
static __always_inline void session_save(const struct session_key *key,
					 const struct session *session)
{
	struct flow_scratch *scratch;

	if (key->proto == IPPROTO_TCP && session->state == STATE_NEW)
		return; /* not assured yet */
	scratch = scratch_key(key);
	if (!scratch)
		return;
	scratch->session = *session;
	assured_save(0);
}

#endif
