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

static __always_inline bool syn_only(__u8 tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* A SYN of a closing or closed connection opens a new one from the same port (RFC 6191).
 * Of any other it is a retransmission, or the backend itself handles it (RFC 9293,
 * 3.10.7.4). */
static __always_inline bool reopens(__u8 tcp_flags, const struct session *session)
{
	return syn_only(tcp_flags) && session->state >= STATE_CLOSING &&
	       !(session->flags & SESSION_REPLY);
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

/* Follows FIN and RST. `fin`: the session's flags for a FIN of this direction. A connection
 * that is over is left to the LRU. */
static __always_inline void tcp_note_close(const struct session_key *key, struct session *session,
					   __u8 tcp_flags, __u8 fin)
{
	const __u8 both = SESSION_FIN_FORWARD | SESSION_FIN_REPLY;

	if (!(tcp_flags & (TCP_FIN | TCP_RST)))
		return;
	/* Starts the port's TIME-WAIT: see port_time_wait(). */
	session->last_seen = bpf_ktime_get_ns();
	if (tcp_flags & TCP_FIN)
		session->flags |= fin;
	if (tcp_flags & TCP_RST || (session->flags & both) == both)
		session->state = STATE_CLOSED;
	else if (tcp_flags & TCP_FIN && session->state != STATE_CLOSED)
		session->state = STATE_CLOSING;
	if (session->state == STATE_CLOSED)
		session_unassure(key);
}

/* A packet of the reply direction, mostly of a backend. Of a flow from outside to a pod's
 * own address (masquerade.h) it is the client's, and its first ACK ends the handshake. */
static __always_inline void tcp_track_reply(const struct session_key *key, struct session *reply,
					    __u8 tcp_flags)
{
	const bool first = reply->state == STATE_NEW && !syn_only(tcp_flags);
	const bool opens = first && reply->flags & SESSION_MASQUERADE && reply->dst == key->dst;
	struct session *session;
	struct session_key forward;

	if (first) {
		reply->state = STATE_ESTABLISHED;
		session_save(key, reply);
	}
	if (!(tcp_flags & (TCP_FIN | TCP_RST)) && !opens)
		return;
	reverse_key(reply, IPPROTO_TCP, &forward);
	session = session_read(&forward);
	if (!session || !is_reverse_of(session, key))
		return;
	if (opens && session->state == STATE_NEW) {
		session->state = STATE_ESTABLISHED;
		session_assure(&forward);
	}
	tcp_note_close(&forward, session, tcp_flags, SESSION_FIN_REPLY);
	session_save(&forward, session);
}

/* A SYN whose backend is one of its Service no more: the client begins anew, or repeats a
 * SYN that was not answered. A backend that has replied since the SYN before this one
 * lives: a connection to a terminating backend goes on. Any other loses the flow. */
static __always_inline void syn_check_backend(const struct session_key *key,
					      struct session *session)
{
	__u32 scope = session->ifindex ? SCOPE_EXTERNAL : SCOPE_CLUSTER;
	struct session_key other;
	struct session *reply;

	if (session->flags & SESSION_MASQUERADE ||
	    frontend_has(key->dst, key->dport, scope, session->dst, session->dport))
		return;
	reverse_key(session, IPPROTO_TCP, &other);
	reply = session_read(&other);
	if (reply && is_reverse_of(reply, key) && reply->state != STATE_NEW) {
		reply->state = STATE_NEW;
		session_save(&other, reply);
		return;
	}
	tcp_note_close(key, session, TCP_RST, 0);
	session_save(key, session);
}

/* Follows the state of the TCP connection of scratch_flow(), in the forward entry. The
 * client's first ACK establishes it; the backend's packets change it only when they close
 * it, which saves a second look-up for all others. 1: the packet opens a new connection
 * instead. */
__noinline int tcp_track(__u32 tcp_flags)
{
	struct flow_scratch *scratch = scratch_get();
	struct session *session;
	struct session_key key;

	if (!scratch)
		return 0;
	key = scratch->flow;
	session = session_read(&key);
	if (!session)
		return 0;
	if (session->flags & SESSION_REPLY) {
		tcp_track_reply(&key, session, tcp_flags);
		return 0;
	}
	if (syn_only(tcp_flags))
		syn_check_backend(&key, session);
	if (reopens(tcp_flags, session))
		return 1;
	if (session->state == STATE_NEW && (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK) {
		session->state = STATE_ESTABLISHED;
		session_assure(&key);
	}
	tcp_note_close(&key, session, tcp_flags,
		       session->flags & SESSION_FIN_REPLY ?
			       SESSION_FIN_FORWARD :
			       SESSION_FIN_FORWARD | SESSION_CLIENT_FIRST);
	session_save(&key, session);
	return 0;
}

/* The live session of a packet, or NULL: refreshes it once a second, repairs the other
 * direction's entry, and follows the TCP state. */
static __always_inline struct session *session_track(const struct packet *pkt)
{
	struct session *session = session_read(&pkt->key);
	__u64 now;

	if (!session)
		return NULL;
	now = bpf_ktime_get_ns();
	if (unlikely((__s64)(now - session->last_seen) > (__s64)SECOND) &&
	    (!scratch_flow(&pkt->key) || !session_refresh(now)))
		return NULL;
	if (pkt->key.proto == IPPROTO_TCP) {
		if ((pkt->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) ||
		     session->state == STATE_NEW) &&
		    (!scratch_flow(&pkt->key) || tcp_track(pkt->tcp_flags)))
			return NULL;
	} else if (STEADY && session->state == STATE_NEW && session->flags & SESSION_REPLY) {
		session->state = STATE_ESTABLISHED; /* there was a reply */
	}
	return session;
}
