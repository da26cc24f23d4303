/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Creates sessions: both entries of a new flow. The key of its replies may already be
 * another flow's.
 */
#pragma once

#include "bounded.h"
#include "session.h"

/* How long the port of a closed connection is quarantined, in nanoseconds, before another
 * flow may get it. The side that closes first is in TIME-WAIT. If that is the backend, a
 * new connection of the same 5-tuple must continue the old one's sequence numbers and
 * timestamps (RFC 6191), which a client of another address does not know: its SYN would
 * be lost. If it is the client, the backend's state ends with the last ACK. A reset may
 * be forged (RFC 5382, 5.), and the connection continue. `scarce`: hardly any other port
 * is free; a lost SYN is better than no connection. */
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

#ifndef CONVERTING
/* How old a flow must be that is not assured, before its port may go to another while hardly
 * any other is free: a handshake that is not over, a request without a reply. A flow of UDP
 * that is used may look as old as a second. In nanoseconds. */
#define UNANSWERED_WAIT (SECOND / 10)
#define UNASSURED_WAIT (2 * SECOND)

/* May the port of a flow go to another one? A flood of new flows, from as many addresses as
 * it likes, would else hold all of them until they time out. */
static __always_inline bool port_may_go(const struct session_key *owner_key,
					const struct session *owner, const struct session *reply,
					__u64 now)
{
	__u64 wait = reply->state == STATE_NEW || owner_key->proto == IPPROTO_TCP ?
			     UNANSWERED_WAIT :
			     UNASSURED_WAIT;

	return owner->state == STATE_NEW && (__s64)(now - owner->last_seen) > (__s64)wait &&
	       !is_assured(owner_key);
}

/* Removes the flow that a port is taken from: it gets another one with its next packet. */
static __always_inline void port_take(const struct session_key *key, const struct session *reply,
				      const struct session_key *forward_key)
{
	struct session_key owner_key;
	struct session *owner;

	reverse_key(reply, key->proto, &owner_key);
	owner = session_read(&owner_key);
	if (owner && is_reverse_of(owner, key) && !is_reverse_of(reply, forward_key))
		session_remove(&owner_key);
}
#else
#define port_may_go(owner_key, owner, reply, now) false
#define port_take(key, reply, forward_key)
#endif

/* Is the flow that a reply entry belongs to alive? One that another CPU is just creating
 * has no forward entry yet, or still its former one. */
static __noinline bool reply_alive(const struct session_key *key, const struct session *reply,
				   __u64 now, bool scarce)
{
	struct session_key owner_key;
	struct session *owner;

	reverse_key(reply, key->proto, &owner_key);
	owner = session_read(&owner_key);
	if (!owner)
		return !session_expired(reply, key->proto, now);
	/* Orphaned: the flow has another backend by now. */
	if (!is_reverse_of(owner, key))
		return false;
	if (scarce && port_may_go(&owner_key, owner, reply, now))
		return false;
	if ((__s64)(now - reply->last_seen) < (__s64)SECOND)
		return true;
	if (owner->state == STATE_CLOSED)
		return (__s64)(now - owner->last_seen) < (__s64)port_time_wait(owner, scarce);
	return !session_expired(owner, key->proto, now);
}

/* Replaces the entry of a flow that is over. Another CPU may try the same for another
 * flow. Reading and writing are not atomic together, and an LRU hash can hold no spin
 * lock (5.10); so the CPU that creates the entry of ZONE_CLAIM holds the lock, and for
 * the other one the key is in use. */
static __always_inline enum reason reply_key_take(const struct session_key *key,
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
	    !reply_alive(key, found, value->last_seen, scarce)) {
		if (scarce && found)
			port_take(key, found, forward_key);
		failed = session_write(key, value, BPF_ANY) ? DROP_SESSIONS_FULL : REASON_NONE;
	}
	session_remove(&claim);
	return failed;
}

/* Is scratch->claim the key of replies to another flow than scratch->flow, which is alive? Where
 * ports are scarce most tries end here, at a part of what a claim costs that fails. Not
 * static: see timed_out(). */
__noinline int reply_key_taken(__u32 scarce)
{
	struct flow_scratch *scratch = scratch_get();
	struct session *found;

	if (!scratch)
		return 0;
	found = session_read(&scratch->claim);
	return found && !is_reverse_of(found, &scratch->flow) &&
	       reply_alive(&scratch->claim, found, scratch->claim_value.last_seen, scarce);
}

/* Claims scratch->claim, the key of replies to scratch->flow. REASON_NONE,
 * DROP_SESSIONS_FULL, or DROP_PORTS_EXHAUSTED when it is another flow's, so that another
 * port has to be tried. `scarce`: see port_time_wait(). Not static: see timed_out(). */
__noinline int reply_key_claim(__u32 scarce)
{
	struct flow_scratch *scratch = scratch_get();
	struct session_key key, forward_key;
	struct session *value, *found;

	if (!scratch)
		return DROP_SESSIONS_FULL;
	key = scratch->claim;
	forward_key = scratch->flow;
	value = &scratch->claim_value;
	if (!session_write(&key, value, BPF_NOEXIST))
		return REASON_NONE;
	found = session_read(&key);
	if (!found)
		return DROP_SESSIONS_FULL;
	if (!reply_alive(&key, found, value->last_seen, scarce))
		return reply_key_take(&key, value, &forward_key, scarce);
	if (!is_reverse_of(found, &forward_key))
		return DROP_PORTS_EXHAUSTED;
	return session_write(&key, value, BPF_ANY) ? DROP_SESSIONS_FULL : REASON_NONE;
}

/* Begins the claims for a flow: the value of its replies' entry. */
static __always_inline struct flow_scratch *claim_begin(const struct session_key *forward_key,
							const struct session *forward)
{
	struct flow_scratch *scratch = scratch_get();

	if (!scratch)
		return NULL;
	scratch->flow = *forward_key;
	reverse_entry(forward_key, forward, &scratch->claim_value);
	scratch->claim_value.state = STATE_NEW;
	return scratch;
}

/* Claims the reply key of `forward`. From one source port a client may reach one backend
 * through two service addresses, with the same 5-tuple at the backend: then the later
 * flow gets another source port. Another backend would break affinity. REASON_NONE,
 * DROP_SESSIONS_FULL or DROP_PORTS_EXHAUSTED. */
static __noinline __loop enum reason reply_claim(const struct session_key *forward_key,
						 struct session *forward)
{
	struct flow_scratch *scratch = claim_begin(forward_key, forward);
	enum reason failed;
	__u16 port = 0;
	int i;

	if (!scratch)
		return DROP_SESSIONS_FULL;
	for (i = 0; i < PORT_TRIES; i++) {
		reverse_key(forward, forward_key->proto, &scratch->claim);
		failed = reply_key_claim(false);
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

/* A session is created in three steps, of which the second, claiming the key of the
 * replies, depends on SNAT. First: its time and state. */
static __always_inline void session_begin(const struct packet *pkt, struct session *session)
{
	session->created = bpf_ktime_get_ns();
	session->last_seen = session->created;
	session->state = STATE_NEW;
	if (pkt->key.proto == IPPROTO_TCP)
		window_begin(session, pkt);
	if ((pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK) {
		session->state = STATE_ESTABLISHED;
		event(EVENT_SESSION_WITHOUT_SYN);
	}
}

static __always_inline enum reason session_created(const struct packet *pkt,
						   const struct session *session)
{
	event(EVENT_SESSION_CREATED);
	session_note(&pkt->key, session);
	return REASON_NONE;
}

/* Last: the forward entry. Returns in `session` the one that holds: another CPU's, if
 * that was faster with a packet of the same flow. */
static __noinline enum reason session_commit(const struct packet *pkt, struct session *session)
{
	struct session_key reply_key;
	struct session *winner;

	if (!session_insert(&pkt->key, session))
		return session_created(pkt, session);
	winner = session_read(&pkt->key);
	if (winner && exempt_yields(pkt, winner)) {
		reverse_key(winner, pkt->key.proto, &reply_key);
		session_remove(&reply_key);
	} else if (winner && !reopens(pkt->tcp_flags, winner) &&
	    !session_expired(winner, pkt->key.proto, session->last_seen)) {
		reverse_key(session, pkt->key.proto, &reply_key);
		if (!is_reverse_of(winner, &reply_key))
			session_remove(&reply_key);
		*session = *winner;
		return REASON_NONE;
	}
	/* A flow that is over. */
	if (session_write(&pkt->key, session, BPF_ANY))
		return DROP_SESSIONS_FULL;
	return session_created(pkt, session);
}

/* Creates both entries of a new flow. `session` has the translated addresses, ports and
 * service, and returns the session that holds. */
static __noinline_steady enum reason session_create(const struct packet *pkt,
						    struct session *session)
{
	enum reason failed;

	session_begin(pkt, session);
	failed = reply_claim(&pkt->key, session);
	return failed ? failed : session_commit(pkt, session);
}
