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

#ifdef CONVERTING
#define exempt_yields(pkt, forward) (false)
#define exempt_unanswered(key, forward) (false)
#define looks_like_reply(pkt) (false)
#define may_begin(pkt) ((pkt)->key.proto != IPPROTO_TCP || is_syn(pkt))
#else
/* First port of clients (Linux's ip_local_port_range). */
#define EPHEMERAL 32768
/* How long a datagram from outside to a pod's own address may wait for the pod's answer, in
 * nanoseconds, where ports do not say who asks. */
#define ANSWER_WAIT (5 * SECOND)

/* Does it begin a flow, whatever came the other way? Of UDP nothing says so. */
static __always_inline bool opens_flow(const struct packet *pkt)
{
	return is_syn(pkt) || pkt->icmp_type == ICMP_ECHO;
}

/* A datagram from a server's port to a client's? */
static __always_inline bool looks_like_reply(const struct packet *pkt)
{
	return pkt->key.proto == IPPROTO_UDP && bpf_ntohs(pkt->key.sport) < EPHEMERAL &&
	       bpf_ntohs(pkt->key.dport) >= EPHEMERAL;
}

/* May it be the first one of a flow that outside begins? */
static __always_inline bool may_begin(const struct packet *pkt)
{
	return pkt->key.proto == IPPROTO_UDP ? !looks_like_reply(pkt) : opens_flow(pkt);
}

static __always_inline bool is_exempt_forward(const struct session_key *key,
					      const struct session *forward)
{
	return forward->flags & SESSION_MASQUERADE && !(forward->flags & SESSION_REPLY) &&
	       forward->src == key->src;
}

/* An exempt flow that the pod has sent nothing of: it may be no more than a forged packet. */
static __always_inline bool exempt_unanswered(const struct session_key *key,
					      const struct session *forward)
{
	return forward->state == STATE_NEW && is_exempt_forward(key, forward);
}

/* Does a pod's packet begin a flow of its own in the place of an exempt one, which outside
 * seems to have begun? A pod answers a request at once, and with neither SYN nor echo
 * request. Else it has answered; of TCP session_tcp.h knows that. */
static __always_inline bool exempt_yields(const struct packet *pkt, struct session *forward)
{
	if (!is_exempt_forward(&pkt->key, forward))
		return false;
	if (opens_flow(pkt))
		return true;
	if (forward->state != STATE_NEW || pkt->key.proto == IPPROTO_TCP)
		return false;
	if (pkt->key.proto == IPPROTO_UDP && !looks_like_reply(pkt) &&
	    bpf_ktime_get_ns() - forward->created > ANSWER_WAIT)
		return true;
	forward->state = STATE_ESTABLISHED;
	return false;
}
#endif

/* Both directions of the flow are known and in use: see session_assured.h. */
static __always_inline void session_used(const struct session_key *key, struct session *session,
					 const struct session_key *other_key,
					 struct session *other)
{
	struct session *forward = session->flags & SESSION_REPLY ? other : session;

	if (!STEADY || (key->proto == IPPROTO_TCP && forward->state == STATE_NEW) ||
	    exempt_unanswered(session == forward ? key : other_key, forward) || is_assured(key))
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
