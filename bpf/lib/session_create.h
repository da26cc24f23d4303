/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Makes sessions: both entries of a new flow, of which the key of the replies may be
 * another flow's already.
 */
#pragma once

#include "bounded.h"
#include "fragments.h"
#include "session.h"

/* How long the port of a closed connection rests, in nanoseconds, before another flow
 * may have it. Who closes first holds the connection in TIME-WAIT. If that is the
 * backend, a new one of the same 5-tuple must continue the old one's sequence numbers
 * and timestamps (RFC 6191), and a client that talks to another address does not know
 * them: it would be a second late. If it is the client, the backend knows nothing any
 * more when the last ACK has come. A reset may be a forgery (RFC 5382, 5.), and the
 * connection go on. `scarce`: there is hardly another port; late is better than never. */
static __always_inline __u64 port_time_wait(const struct session *owner, bool scarce)
{
	const __u8 both = SESSION_FIN_FORWARD | SESSION_FIN_REPLY;

	if (scarce)
		return SECOND;
	if ((owner->flags & both) != both)
		return RESET_WAIT;
	return owner->flags & SESSION_CLIENT_FIRST ?
		       SECOND :
		       session_timeout(IPPROTO_TCP, STATE_CLOSED);
}

/* Does the flow that the reply's entry belongs to go on? One that another CPU is just
 * making has no forward entry yet, or still its last one. */
static __noinline bool reply_alive(const struct session_key *key, const struct session *reply,
				   __u64 now, bool scarce)
{
	bool fresh = (__s64)(now - reply->last_seen) < (__s64)SECOND;
	struct session_key owner_key;
	struct session *owner;

	reverse_key(reply, key->proto, &owner_key);
	owner = session_read(&owner_key);
	if (!owner)
		return !session_expired(reply, key->proto, now);
	/* A flow that went on to another backend has left this entry behind. */
	if (!is_reverse_of(owner, key))
		return false;
	if (fresh)
		return true;
	if (owner->state == STATE_CLOSED)
		return (__s64)(now - owner->last_seen) < (__s64)port_time_wait(owner, scarce);
	return !session_expired(owner, key->proto, now);
}

/* Takes the place of a flow that is over. Another CPU may be about to do the same for
 * another flow, and each would find the entry free. To look and to write is no single
 * step, and a table of this type can hold no lock (5.10); but only one of them makes
 * the claim. To the other the key is taken. */
static __noinline enum reason reply_key_take(const struct session_key *key,
					     const struct session *value,
					     const struct session_key *forward_key, bool scarce)
{
	enum reason failed = DROP_PORTS_EXHAUSTED;
	struct session_key claim = *key;
	struct session *found;

	claim.zone = ZONE_CLAIM;
	if (session_write(&claim, value, BPF_NOEXIST))
		return DROP_PORTS_EXHAUSTED;
	found = session_read(key);
	if (!found || is_reverse_of(found, forward_key) ||
	    !reply_alive(key, found, value->last_seen, scarce))
		failed = session_write(key, value, BPF_ANY) ? DROP_SESSIONS_FULL : REASON_NONE;
	session_remove(&claim);
	return failed;
}

/* Claims the key of replies. REASON_NONE, DROP_SESSIONS_FULL, or DROP_PORTS_EXHAUSTED
 * when it is another flow's, so that another port has to be tried. `scarce`: see
 * port_time_wait(). */
static __always_inline enum reason reply_key_claim(const struct session_key *key,
						   const struct session *value,
						   const struct session_key *forward_key,
						   bool scarce)
{
	struct session *found;

	if (!session_write(key, value, BPF_NOEXIST))
		return REASON_NONE;
	found = session_read(key);
	if (!found)
		return DROP_SESSIONS_FULL;
	if (!reply_alive(key, found, value->last_seen, scarce))
		return reply_key_take(key, value, forward_key, scarce);
	if (!is_reverse_of(found, forward_key))
		return DROP_PORTS_EXHAUSTED;
	return session_write(key, value, BPF_ANY) ? DROP_SESSIONS_FULL : REASON_NONE;
}

/* Claims the reply key of `forward`. Two service addresses may lead a client to
 * one backend from one source port, where the flows could not be told apart: then
 * the later one gets another source port. Another backend would break affinity.
 * 0, DROP_SESSIONS_FULL or DROP_PORTS_EXHAUSTED. */
static __noinline __loop enum reason reply_claim(const struct session_key *forward_key,
					  struct session *forward)
{
	struct session_key key;
	struct session value;
	enum reason failed;
	__u16 port = 0;
	int i;

	reverse_entry(forward_key, forward, &value);
	for (i = 0; i < PORT_TRIES; i++) {
		reverse_key(forward, forward_key->proto, &key);
		failed = reply_key_claim(&key, &value, forward_key, false);
		if (failed != DROP_PORTS_EXHAUSTED)
			return failed;
		if (!port) {
			port = bpf_get_prandom_u32();
			event(EVENT_PORT_CHANGED);
		}
		port++;
		if (port < PORT_FIRST)
			port += PORT_FIRST;
		forward->sport = bpf_htons(port);
	}
	return DROP_PORTS_EXHAUSTED;
}

/* Making a session has three steps, of which the second, claiming the key of the
 * replies, is not the same for all. First: its time and state. */
static __always_inline void session_begin(const struct packet *pkt, struct session *session)
{
	session->created = bpf_ktime_get_ns();
	session->last_seen = session->created;
	session->state = STATE_NEW;
	if ((pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK) {
		session->state = STATE_ESTABLISHED;
		event(EVENT_SESSION_WITHOUT_SYN);
	}
}

/* Last: the forward entry. `session` leaves with what holds: another CPU may have been
 * faster with a packet of the same flow, then its choice holds. */
static __noinline enum reason session_finish(const struct packet *pkt, struct session *session)
{
	struct session_key reply_key;
	struct session *winner;

	fragment_note(pkt);
	if (!session_write(&pkt->key, session, BPF_NOEXIST)) {
		event(EVENT_SESSION_CREATED);
		return REASON_NONE;
	}
	winner = session_read(&pkt->key);
	if (winner && !opens_anew(pkt, winner) &&
	    !session_expired(winner, pkt->key.proto, session->last_seen)) {
		reverse_key(session, pkt->key.proto, &reply_key);
		if (!is_reverse_of(winner, &reply_key))
			session_remove(&reply_key);
		*session = *winner;
		return REASON_NONE;
	}
	/* What was there is over. */
	if (session_write(&pkt->key, session, BPF_ANY))
		return DROP_SESSIONS_FULL;
	event(EVENT_SESSION_CREATED);
	return REASON_NONE;
}

/* Makes both entries of a new flow. `session` comes with the translated addresses,
 * ports and service, and leaves with what holds. */
static __noinline enum reason session_create(const struct packet *pkt, struct session *session)
{
	enum reason failed;

	session_begin(pkt, session);
	failed = reply_claim(&pkt->key, session);
	return failed ? failed : session_finish(pkt, session);
}
