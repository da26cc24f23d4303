/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The two entries of a flow: how one follows from the other. */
#pragma once

#include "types.h"
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

static __always_inline __u8 reverse_zone(const struct session *session)
{
	const __u8 reply = SESSION_MASQUERADE | SESSION_REPLY;

	return (session->flags & reply) == reply ? ZONE_MASQUERADE : ZONE_SERVICE;
}

/* The reverse of a 5-tuple. */
static __always_inline struct session_key reverse_tuple(const struct session_key *key, __u8 zone)
{
	return (struct session_key){
		.src = key->dst,
		.dst = key->src,
		.sport = key->dport,
		.dport = key->sport,
		.proto = key->proto,
		.zone = zone,
	};
}

/* The key of the other direction: the reverse of the translation. */
static __always_inline void reverse_key(const struct session *session, __u8 proto,
					struct session_key *key)
{
	key->src = session->dst;
	key->dst = session->src;
	key->sport = session->dport;
	key->dport = session->sport;
	key->proto = proto;
	key->zone = reverse_zone(session);
	key->reserved = 0;
}

/* The value of the other direction's entry. */
static __always_inline void reverse_entry(const struct session_key *key,
					  const struct session *session, struct session *reverse)
{
	*reverse = (struct session){
		.last_seen = session->last_seen,
		.src = key->dst,
		.dst = key->src,
		.sport = key->dport,
		.dport = key->sport,
		.service_id = session->service_id,
		.state = session->flags & SESSION_REPLY || session->state != STATE_NEW ?
				 STATE_ESTABLISHED :
				 STATE_NEW,
		.flags = session->flags ^ SESSION_REPLY,
		.ifindex = session->ifindex,
		.created = session->created,
	};
}

/* Is `session` the other direction of the entry under `key`? */
static __always_inline bool is_reverse_of(const struct session *session,
					  const struct session_key *key)
{
	return session->src == key->dst && session->dst == key->src &&
	       session->sport == key->dport && session->dport == key->sport;
}
