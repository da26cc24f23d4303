/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Follows a TCP connection while the table is converted, for seconds: the former layout has no
 * room for what session_tcp.h compares segments with, so that resets and FINs are believed.
 */
#pragma once

#include "config.h"
#include "l4.h"
#include "session_key.h"
#include "session_table.h"
#include "tcp_window.h"

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

/* See session_tcp.h. */
static __always_inline bool tcp_note(const struct session_key *key, const struct packet *pkt,
				     const struct session *session)
{
	return (pkt->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) || session->state == STATE_NEW) &&
	       scratch_flow(key);
}

static __always_inline bool tcp_follow(struct __sk_buff *skb, const struct packet *pkt)
{
	(void)skb;
	return tcp_track(pkt->tcp_flags);
}
