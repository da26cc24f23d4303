/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sessions pin a flow to its backend, whatever becomes of the service meanwhile.
 *
 * Two entries a flow, mirror images (types.h). Either may be evicted by the LRU
 * on its own; the one that is left brings the other back when it is refreshed.
 * Of an established connection whose entries are both gone, the next packet from
 * the client gets a backend anew: with one backend nothing is lost, with more the
 * wrong one resets it, which is what dropping the packet would come to, but sooner.
 *
 * Fields are written without locks: two CPUs may see one flow at a time, and the
 * worst a lost update does is a timeout of another state.
 */
#pragma once

#include "config.h"
#include "maps.h"
#include "packet.h"

static __always_inline __u8 twin_zone(const struct session *session)
{
	const __u8 reply = SESSION_MASQUERADE | SESSION_REPLY;

	return (session->flags & reply) == reply ? ZONE_MASQUERADE : ZONE_SERVICE;
}

/* The key of the other direction: what packets become, reversed. */
static __always_inline void twin_key(const struct session *session, __u8 proto,
				     struct session_key *key)
{
	key->src = session->dst;
	key->dst = session->src;
	key->sport = session->dport;
	key->dport = session->sport;
	key->proto = proto;
	key->zone = twin_zone(session);
	key->reserved = 0;
}

/* The value of the other direction's entry. */
static __always_inline void twin_value(const struct session_key *key,
				       const struct session *session, struct session *twin)
{
	*twin = (struct session){
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
	};
}

/* Is `session` the other direction of the entry under `key`? */
static __always_inline bool is_twin_of(const struct session *session,
				       const struct session_key *key)
{
	return session->src == key->dst && session->dst == key->src &&
	       session->sport == key->dport && session->dport == key->sport;
}

/* Not static: the verifier looks at such a function once, with any arguments, and not
 * once for each way to get here. */
__noinline __u32 timed_out(__u64 last_seen, __u64 now, __u32 proto, __u32 state)
{
	__s64 idle = now - last_seen; /* negative: another CPU was here later */

	return idle > 0 && (__u64)idle > session_timeout(proto, state);
}

static __always_inline bool session_expired(const struct session *session, __u8 proto, __u64 now)
{
	return timed_out(session->last_seen, now, proto, session->state);
}

/* A SYN on a connection that is over is a new connection from the same port (RFC
 * 6191). On any other it is a repetition, or the backend will answer it itself
 * (RFC 9293, 3.10.7.4). */
static __always_inline bool opens_anew(const struct packet *pkt, const struct session *session)
{
	return (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	       session->state >= STATE_CLOSING && !(session->flags & SESSION_REPLY);
}

/* Once a second: is it still alive, and is its twin still there? */
static __noinline bool session_refresh(const struct packet *pkt, struct session *session,
				       __u64 now)
{
	struct session_key key;
	struct session value, *twin;

	if (session_expired(session, pkt->key.proto, now))
		return false;
	session->last_seen = now;
	if (session->state == STATE_CLOSED)
		return true;
	twin_key(session, pkt->key.proto, &key);
	twin = bpf_map_lookup_elem(&sessions, &key);
	if (twin) {
		/* It may have gone to another flow since. */
		if (is_twin_of(twin, &pkt->key))
			twin->last_seen = now;
		return true;
	}
	twin_value(&pkt->key, session, &value);
	if (!bpf_map_update_elem(&sessions, &key, &value, BPF_NOEXIST))
		event(EVENT_SESSION_REPAIRED);
	return true;
}

/* `fin`: the flags of a FIN that comes from this side. */
static __always_inline void note_end(struct session *session, __u8 tcp_flags, __u8 fin)
{
	const __u8 both = SESSION_FIN_FORWARD | SESSION_FIN_REPLY;

	if (!(tcp_flags & (TCP_FIN | TCP_RST)))
		return;
	/* Of ports, it counts how long they have been at rest. */
	session->last_seen = bpf_ktime_get_ns();
	if (tcp_flags & TCP_FIN)
		session->flags |= fin;
	if (tcp_flags & TCP_RST || (session->flags & both) == both)
		session->state = STATE_CLOSED;
	else if (tcp_flags & TCP_FIN && session->state != STATE_CLOSED)
		session->state = STATE_CLOSING;
}

/* Follows a connection by its flags, in the forward entry. The client's first ACK
 * is what establishes it; the backend's packets change it only when they end it,
 * which spares a second look-up for all others. */
static __noinline void session_track(const struct packet *pkt, struct session *session)
{
	struct session_key key;

	if (!(session->flags & SESSION_REPLY)) {
		if (session->state == STATE_NEW &&
		    (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK)
			session->state = STATE_ESTABLISHED;
		note_end(session, pkt->tcp_flags,
			 session->flags & SESSION_FIN_REPLY ? SESSION_FIN_FORWARD :
							      SESSION_FIN_FORWARD | SESSION_CLIENT_FIRST);
		return;
	}
	if (!(pkt->tcp_flags & (TCP_FIN | TCP_RST)))
		return;
	twin_key(session, IPPROTO_TCP, &key);
	session = bpf_map_lookup_elem(&sessions, &key);
	if (session && is_twin_of(session, &pkt->key))
		note_end(session, pkt->tcp_flags, SESSION_FIN_REPLY);
}

/* The live session of a packet, or NULL. */
static __always_inline struct session *session_find(const struct packet *pkt)
{
	struct session *session = bpf_map_lookup_elem(&sessions, &pkt->key);
	__u64 now;

	if (!session)
		return NULL;
	now = bpf_ktime_get_ns();
	if (unlikely((__s64)(now - session->last_seen) > (__s64)SECOND) &&
	    !session_refresh(pkt, session, now))
		return NULL;
	if (pkt->key.proto == IPPROTO_TCP &&
	    (pkt->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) || session->state == STATE_NEW)) {
		if (opens_anew(pkt, session))
			return NULL;
		session_track(pkt, session);
	}
	return session;
}

/* How long the port of a closed connection rests, in nanoseconds, before another flow
 * may have it. Who closes first holds the connection in TIME-WAIT. If that is the
 * backend, a new one of the same 5-tuple must continue the old one's sequence numbers
 * and timestamps (RFC 6191), and a client that talks to another address does not know
 * them: it would be a second late. If it is the client, the backend knows nothing any
 * more when the last ACK has come. A reset may be a forgery (RFC 5382, 5.), and the
 * connection go on. `scarce`: there is hardly another port; late is better than never. */
static __always_inline __u64 port_rest(const struct session *owner, bool scarce)
{
	const __u8 both = SESSION_FIN_FORWARD | SESSION_FIN_REPLY;

	if (scarce)
		return SECOND;
	if ((owner->flags & both) != both)
		return RESET_REST;
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

	twin_key(reply, key->proto, &owner_key);
	owner = bpf_map_lookup_elem(&sessions, &owner_key);
	if (!owner)
		return !session_expired(reply, key->proto, now);
	/* A flow that went on to another backend has left this entry behind. */
	if (!is_twin_of(owner, key))
		return false;
	if (fresh)
		return true;
	if (owner->state == STATE_CLOSED)
		return (__s64)(now - owner->last_seen) < (__s64)port_rest(owner, scarce);
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
	if (bpf_map_update_elem(&sessions, &claim, value, BPF_NOEXIST))
		return DROP_PORTS_EXHAUSTED;
	found = bpf_map_lookup_elem(&sessions, key);
	if (!found || is_twin_of(found, forward_key) ||
	    !reply_alive(key, found, value->last_seen, scarce))
		failed = bpf_map_update_elem(&sessions, key, value, BPF_ANY) ? DROP_SESSIONS_FULL :
									       REASON_NONE;
	bpf_map_delete_elem(&sessions, &claim);
	return failed;
}

/* Claims the key of replies. REASON_NONE, DROP_SESSIONS_FULL, or DROP_PORTS_EXHAUSTED
 * when it is another flow's, so that another port has to be tried. `scarce`: see
 * port_rest(). */
static __always_inline enum reason reply_key_claim(const struct session_key *key,
						   const struct session *value,
						   const struct session_key *forward_key,
						   bool scarce)
{
	struct session *found;

	if (!bpf_map_update_elem(&sessions, key, value, BPF_NOEXIST))
		return REASON_NONE;
	found = bpf_map_lookup_elem(&sessions, key);
	if (!found)
		return DROP_SESSIONS_FULL;
	if (!reply_alive(key, found, value->last_seen, scarce))
		return reply_key_take(key, value, forward_key, scarce);
	if (!is_twin_of(found, forward_key))
		return DROP_PORTS_EXHAUSTED;
	return bpf_map_update_elem(&sessions, key, value, BPF_ANY) ? DROP_SESSIONS_FULL :
								     REASON_NONE;
}

/* Claims the reply key of `forward`. Two service addresses may lead a client to
 * one backend from one source port, where the flows could not be told apart: then
 * the later one gets another source port. Another backend would break affinity.
 * 0, DROP_SESSIONS_FULL or DROP_PORTS_EXHAUSTED. */
static __noinline enum reason reply_claim(const struct session_key *forward_key,
					  struct session *forward)
{
	struct session_key key;
	struct session value;
	enum reason failed;
	__u16 port = 0;
	int i;

	twin_value(forward_key, forward, &value);
	for (i = 0; i < PORT_TRIES; i++) {
		twin_key(forward, forward_key->proto, &key);
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
	session->last_seen = bpf_ktime_get_ns();
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

	if (!bpf_map_update_elem(&sessions, &pkt->key, session, BPF_NOEXIST)) {
		event(EVENT_SESSION_CREATED);
		return REASON_NONE;
	}
	winner = bpf_map_lookup_elem(&sessions, &pkt->key);
	if (winner && !opens_anew(pkt, winner) &&
	    !session_expired(winner, pkt->key.proto, session->last_seen)) {
		twin_key(session, pkt->key.proto, &reply_key);
		if (!is_twin_of(winner, &reply_key))
			bpf_map_delete_elem(&sessions, &reply_key);
		*session = *winner;
		return REASON_NONE;
	}
	/* What was there is over. */
	if (bpf_map_update_elem(&sessions, &pkt->key, session, BPF_ANY))
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
