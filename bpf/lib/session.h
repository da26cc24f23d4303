/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sessions keep a flow at its backend while its service changes.
 *
 * A flow has two entries, original and reply direction (types.h). The LRU may evict
 * either: an assured flow's come back (session_assured.h), another's when the other entry
 * is refreshed. If both are lost, the next packet of the client picks a backend anew: with
 * one backend nothing is lost, with more the wrong one resets the connection, which
 * dropping the packet would only delay.
 *
 * Fields are written without locks: two CPUs may see one flow at a time, and the
 * worst effect of a lost update is the timeout of another state.
 */
#pragma once

#include "config.h"
#include "count.h"
#include "l4.h"
#include "service.h"
#include "session_key.h"
#include "session_table.h"

#ifdef CONVERTING
#include "session_tcp_converting.h"
#else
#include "session_tcp.h"
#endif

/* Not static: the verifier checks a global function once, for any arguments, instead of
 * once for each call. Hence it takes scalars and the context only. */
__noinline __u32 timed_out(__u64 last_seen, __u64 now, __u32 proto, __u32 state)
{
	__s64 idle = now - last_seen; /* negative: another CPU was here later */

	return idle > 0 && (__u64)idle > session_timeout(proto, state);
}

static __always_inline bool session_expired(const struct session *session, __u8 proto, __u64 now)
{
	return timed_out(session->last_seen, now, proto, session->state);
}

/* Both directions of the flow are known and in use: see session_assured.h. */
static __always_inline void session_used(const struct session_key *key, struct session *session,
					 const struct session_key *other_key,
					 struct session *other)
{
	struct session *forward = session->flags & SESSION_REPLY ? other : session;

	if (!STEADY || (key->proto == IPPROTO_TCP && forward->state == STATE_NEW) ||
	    is_assured(key))
		return;
	session_assure(session->flags & SESSION_REPLY ? other_key : key);
}

/* Once a second, for the flow of scratch_flow(): 0 if the session is expired, else repairs
 * the other direction. */
__noinline int session_refresh(__u64 now)
{
	struct flow_scratch *scratch = scratch_get();
	struct session value, *session, *reverse;
	struct session_key key, other;

	if (!scratch)
		return 0;
	key = scratch->flow;
	session = session_read(&key);
	if (!session || session_expired(session, key.proto, now))
		return 0;
	session->last_seen = now;
	session_save(&key, session);
	if (session->state == STATE_CLOSED)
		return 1;
	reverse_key(session, key.proto, &other);
	reverse = session_read(&other);
	if (reverse) {
		/* Unless another flow has that key by now. */
		if (is_reverse_of(reverse, &key)) {
			reverse->last_seen = now;
			session_save(&other, reverse);
			session_used(&key, session, &other, reverse);
		}
		return 1;
	}
	reverse_entry(&key, session, &value);
	if (!session_write(&other, &value, BPF_NOEXIST))
		event(EVENT_SESSION_REPAIRED);
	return 1;
}

/* The live session of a packet, or NULL: refreshes it once a second, repairs the other
 * direction's entry, and follows the TCP state. */
static __always_inline struct session *session_track(struct __sk_buff *skb,
						     const struct packet *pkt)
{
	struct session *session = session_read(&pkt->key);
	__u64 now;

	if (!session)
		return NULL;
	/* Else it would be of the echo whose identifier is 0. */
	if (unlikely(pkt->key.proto == IPPROTO_ICMP) && !has_identifier(pkt))
		return NULL;
	now = bpf_ktime_get_ns();
	if (unlikely((__s64)(now - session->last_seen) > (__s64)SECOND) &&
	    (!scratch_flow(&pkt->key) || !session_refresh(now)))
		return NULL;
	if (pkt->key.proto == IPPROTO_TCP) {
		if (tcp_note(&pkt->key, pkt, session) && tcp_follow(skb, pkt))
			return NULL;
	} else if (STEADY && session->state == STATE_NEW && session->flags & SESSION_REPLY) {
		session->state = STATE_ESTABLISHED; /* there was a reply */
	}
	return session;
}
