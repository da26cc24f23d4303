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
#else
#define __noinline_steady __noinline

#include "maps.h"

/* The entry of a key, whether expired or not; NULL: none. */
static __always_inline struct session *session_read(const struct session_key *key)
{
	return bpf_map_lookup_elem(&sessions, key);
}

/* Adds or replaces an entry, as `flags` say (BPF_ANY, BPF_NOEXIST). 0, or an error. */
static __always_inline long session_write(const struct session_key *key,
					  const struct session *session, __u64 flags)
{
	return bpf_map_update_elem(&sessions, key, session, flags);
}

static __always_inline void session_remove(const struct session_key *key)
{
	bpf_map_delete_elem(&sessions, key);
}

/* Stores what was changed in an entry that session_read() returned. */
static __always_inline void session_save(const struct session_key *key,
					 const struct session *session)
{
	(void)key;
	(void)session;
}

#endif
