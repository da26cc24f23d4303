/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sessions keep a flow at its backend while its service changes.
 *
 * A flow has two entries, original and reply direction (types.h). The LRU may evict
 * either; a refresh of the other creates it again. If both are evicted, the next packet
 * of the client picks a backend anew: with one backend nothing is lost, with more the
 * wrong one resets the connection, which dropping the packet would only delay.
 *
 * Fields are written without locks: two CPUs may see one flow at a time, and the
 * worst effect of a lost update is the timeout of another state.
 */
#pragma once

#include "config.h"
#include "count.h"
#include "l4.h"
#include "session_table.h"

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
		/* A flow that is repaired is beyond its handshake. */
		.state = STATE_ESTABLISHED,
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

/* A SYN of a closing or closed connection opens a new one from the same port (RFC 6191).
 * Of any other it is a retransmission, or the backend itself handles it (RFC 9293,
 * 3.10.7.4). */
static __always_inline bool reopens(const struct packet *pkt, const struct session *session)
{
	return is_syn(pkt) && session->state >= STATE_CLOSING &&
	       !(session->flags & SESSION_REPLY);
}

/* Once a second: false if the session is expired, else repairs the other direction. */
static __noinline bool session_refresh(const struct packet *pkt, struct session *session,
				       __u64 now)
{
	struct session_key key;
	struct session value, *reverse;

	if (session_expired(session, pkt->key.proto, now))
		return false;
	session->last_seen = now;
	session_save(&pkt->key, session);
	if (session->state == STATE_CLOSED)
		return true;
	reverse_key(session, pkt->key.proto, &key);
	reverse = session_read(&key);
	if (reverse) {
		/* Unless another flow has that key by now. */
		if (is_reverse_of(reverse, &pkt->key)) {
			reverse->last_seen = now;
			session_save(&key, reverse);
		}
		return true;
	}
	reverse_entry(&pkt->key, session, &value);
	if (!session_write(&key, &value, BPF_NOEXIST))
		event(EVENT_SESSION_REPAIRED);
	return true;
}

/* Follows FIN and RST. `fin`: the session's flags for a FIN of this direction. */
static __always_inline void tcp_note_close(struct session *session, __u8 tcp_flags, __u8 fin)
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
}

/* Follows the state of a TCP connection, in the forward entry. The client's first ACK
 * establishes it; the backend's packets change it only when they close it, which saves
 * a second look-up for all others. */
static __noinline void tcp_track(const struct packet *pkt, struct session *session)
{
	struct session_key key;

	if (!(session->flags & SESSION_REPLY)) {
		if (session->state == STATE_NEW &&
		    (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK)
			session->state = STATE_ESTABLISHED;
		tcp_note_close(session, pkt->tcp_flags,
			 session->flags & SESSION_FIN_REPLY ? SESSION_FIN_FORWARD :
							      SESSION_FIN_FORWARD | SESSION_CLIENT_FIRST);
		session_save(&pkt->key, session);
		return;
	}
	if (!(pkt->tcp_flags & (TCP_FIN | TCP_RST)))
		return;
	reverse_key(session, IPPROTO_TCP, &key);
	session = session_read(&key);
	if (!session || !is_reverse_of(session, &pkt->key))
		return;
	tcp_note_close(session, pkt->tcp_flags, SESSION_FIN_REPLY);
	session_save(&key, session);
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
	    !session_refresh(pkt, session, now))
		return NULL;
	if (pkt->key.proto == IPPROTO_TCP &&
	    (pkt->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) || session->state == STATE_NEW)) {
		if (reopens(pkt, session))
			return NULL;
		tcp_track(pkt, session);
	}
	return session;
}
