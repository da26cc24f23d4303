/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Follows a TCP connection in its two entries. What would end or move it is believed as far as
 * RFC 5961 and 5382 ask:
 *
 *   RST  within the window (tcp_window.h), or a refusal of the other end's SYN. A session that
 *        was reset lives on when the end that reset it sends anything else.
 *   FIN  within the window, or once the other end acknowledges it.
 *   SYN  opens another connection when both FINs, or a RST, were believed. Of any other
 *        session it goes to the backend, which replies if it lives. Only one that is silent
 *        for a second, and of its Service no more, loses the flow.
 *
 * All segments are passed on by their session, as ever: the endpoints judge them.
 */
#pragma once

#include "config.h"
#include "count.h"
#include "l4.h"
#include "service.h"
#include "session_key.h"
#include "session_table.h"
#include "tcp_sum.h"
#include "tcp_window.h"

#define SESSION_FINS (SESSION_FIN_FORWARD | SESSION_FIN_REPLY)

/* Names the flow and the segment for tcp_track(). */
static __always_inline bool scratch_segment(const struct session_key *key,
					    const struct packet *pkt)
{
	struct flow_scratch *scratch = scratch_get();

	if (!scratch)
		return false;
	scratch->flow = *key;
	scratch->segment.seq = pkt->seq;
	scratch->segment.seq_end = pkt->seq_end;
	scratch->segment.ack = pkt->ack;
	scratch->segment.l4 = pkt->l4;
	scratch->segment.len = pkt->ip_len + MAC_HLEN - pkt->l4;
	scratch->segment.flags = pkt->tcp_flags;
	scratch->segment.fragment = pkt->fragment;
	return true;
}

/* The bit of an entry's direction. */
static __always_inline __u8 fin_of(const struct session *own)
{
	return own->flags & SESSION_REPLY ? SESSION_FIN_REPLY : SESSION_FIN_FORWARD;
}

static __always_inline void fin_believe(struct session *forward, struct session *own)
{
	if (fin_of(own) == SESSION_FIN_FORWARD && !(forward->flags & SESSION_FIN_REPLY))
		forward->flags |= SESSION_CLIENT_FIRST;
	forward->flags |= fin_of(own);
	own->tcp |= SESSION_WATCH;
}

/* Sets the state by the resets and FINs that are believed. A connection that is over is
 * left to the LRU. */
static __always_inline void tcp_update_state(const struct session_key *forward_key,
					     struct session *forward, __u16 resets)
{
	__u8 before = forward->state;

	if (resets & SESSION_RESET || (forward->flags & SESSION_FINS) == SESSION_FINS)
		forward->state = STATE_CLOSED;
	else
		forward->state = forward->flags & SESSION_FINS ? STATE_CLOSING : STATE_ESTABLISHED;
	/* Starts the port's TIME-WAIT: see port_time_wait(). */
	forward->last_seen = bpf_ktime_get_ns();
	if (forward->state == STATE_CLOSED)
		session_unassure(forward_key);
	else if (before == STATE_CLOSED)
		session_assure(forward_key);
}

/* Is the backend a pod of this node that is no more? */
static __always_inline bool pod_is_gone(addr_t addr)
{
	struct endpoint_key key = { .addr = addr };
	struct node_config *config = node_config();

	return config && config->pod_mask && (addr & config->pod_mask) == config->pod_cidr &&
	       !bpf_map_lookup_elem(&endpoints, &key);
}

/* A SYN of a session that is not over: the client began anew, repeats a SYN that was not
 * answered, or is another machine with its address. A backend that lives replies at once (RFC
 * 5961, 4; Linux twice a second at least). True: it is given up. */
static __always_inline bool syn_gives_up(const struct session_key *key, struct session *forward,
					 struct session *reply)
{
	__u32 scope = forward->ifindex ? SCOPE_EXTERNAL : SCOPE_CLUSTER;
	__u32 now = milliseconds();

	if (forward->flags & SESSION_MASQUERADE)
		return false;
	if (reply->state != STATE_NEW) { /* it has replied since it was asked */
		reply->state = STATE_NEW;
		forward->asked = now;
		return false;
	}
	if (now - forward->asked < 1000 && !pod_is_gone(forward->dst))
		return false;
	return !frontend_has(key->dst, key->dport, scope, forward->dst, forward->dport);
}

/* A SYN of the original direction. 1: it opens a new connection. */
static __always_inline int tcp_syn(const struct session_key *key, struct session *forward,
				   struct session *reply, bool known)
{
	if (forward->state == STATE_CLOSED)
		return 1;
	if (forward->state != STATE_NEW)
		event(EVENT_SEGMENT_IGNORED);
	if (!known || !syn_gives_up(key, forward, reply))
		return 0;
	tcp_update_state(key, forward, SESSION_RESET);
	return 1;
}

static __always_inline bool tcp_reset(struct session *own, const struct session *other,
				      const struct segment *segment)
{
	if (own->tcp & SESSION_RESET)
		return false;
	if (!window_has(own, other, segment->seq) &&
	    !(segment->flags & TCP_ACK && syn_is_refused(other, segment->ack))) {
		event(EVENT_SEGMENT_IGNORED);
		return false;
	}
	own->tcp |= SESSION_RESET | SESSION_WATCH;
	return true;
}

/* Any other segment. An end that has reset the connection sends nothing more, and one that has
 * sent its FIN no more data. True: the state may change. */
static __always_inline bool tcp_segment(struct session *forward, struct session *own,
					struct session *other, const struct segment *segment)
{
	bool reset = forward->state == STATE_CLOSED &&
		     (forward->flags & SESSION_FINS) != SESSION_FINS;
	bool fin = segment->flags & TCP_FIN, changes = reset;

	own->tcp &= ~SESSION_RESET;
	if (!fin && forward->flags & fin_of(own) &&
	    run_grows(own, segment->seq, segment->seq_end)) {
		forward->flags &= ~(fin_of(own) | SESSION_CLIENT_FIRST);
		changes = true;
	}
	ack_note(own, segment->ack);
	run_note(own, segment->seq, segment->seq_end);
	if (fin && !(forward->flags & fin_of(own))) {
		if (window_has(own, other, segment->seq_end - 1)) {
			fin_believe(forward, own);
			changes = true;
		} else {
			own->tcp |= SESSION_FIN_NOTED;
			other->tcp |= SESSION_WATCH;
			event(EVENT_SEGMENT_IGNORED);
		}
	}
	if (other->tcp & SESSION_FIN_NOTED && own->ack == other->seq_end) {
		other->tcp &= ~SESSION_FIN_NOTED;
		fin_believe(forward, other);
		changes = true;
	}
	/* What the other end has acknowledged is no other machine's. */
	if (!(other->tcp & SESSION_FIN_NOTED) &&
	    !(forward->flags & fin_of(own) && other->ack != own->seq_end))
		own->tcp &= ~SESSION_WATCH;
	return changes;
}

/* The first reply, and the client's first ACK, which ends the handshake. Of a flow from outside
 * to a pod's own address (masquerade.h) that is of the reply direction, and of something that
 * the pod has sent: before, it may be forged. */
static __always_inline void tcp_open(const struct session_key *key,
				     const struct session_key *other_key, struct session *own,
				     struct session *other, __u8 tcp_flags)
{
	if (own->state != STATE_NEW)
		return;
	if (own->flags & SESSION_REPLY) {
		bool exempt = own->flags & SESSION_MASQUERADE && own->dst == key->dst &&
			      other->state == STATE_NEW;

		if (exempt && (!(other->tcp & SESSION_ACKED) || !run_has(other, own->ack)))
			return;
		own->state = STATE_ESTABLISHED;
		session_save(key, own);
		if (exempt) {
			other->state = STATE_ESTABLISHED;
			session_assure(other_key);
		}
	} else if (!(tcp_flags & TCP_SYN) && (!other->seq_run || run_has(other, own->ack))) {
		own->state = STATE_ESTABLISHED;
		session_assure(key);
	}
}

/* Follows a segment of scratch_segment(). 1: it opens a new connection instead. Not static: see
 * timed_out(). All is in the scratch, as the stack is nearly full where passes_stack() calls. */
__noinline int tcp_track(struct __sk_buff *skb)
{
	struct flow_scratch *scratch = scratch_get();
	struct session *own, *other;
	bool known, replies, changes;
	__u8 flags;

	if (!scratch)
		return 0;
	flags = scratch->segment.flags;
	own = session_read(&scratch->flow);
	if (!own || !flags) /* a later fragment */
		return 0;
	if ((flags & (TCP_FIN | TCP_RST) || syn_only(flags)) && !segment_sum_right(skb)) {
		event(EVENT_SEGMENT_IGNORED);
		return 0;
	}
	replies = own->flags & SESSION_REPLY;
	reverse_key(own, IPPROTO_TCP, &scratch->claim);
	other = session_read(&scratch->claim);
	known = other && is_reverse_of(other, &scratch->flow);
	if (!known) {
		other = &scratch->claim_value;
		*other = (struct session){};
	}
	if (syn_only(flags)) {
		if (!replies && tcp_syn(&scratch->flow, own, other, known))
			return 1;
		syn_note(own, scratch->segment.seq_end);
		return 0;
	}
	if (flags & TCP_RST) {
		changes = tcp_reset(own, other, &scratch->segment);
	} else if (flags & TCP_ACK) {
		changes = tcp_segment(replies ? other : own, own, other, &scratch->segment);
		tcp_open(&scratch->flow, &scratch->claim, own, other, flags);
	} else {
		return 0;
	}
	if (changes && !replies) {
		tcp_update_state(&scratch->flow, own, own->tcp | other->tcp);
		session_save(&scratch->flow, own);
	} else if (changes && known) {
		tcp_update_state(&scratch->claim, other, own->tcp | other->tcp);
		session_save(&scratch->claim, other);
	}
	return 0;
}

/* Notes a segment that changes no state. True: tcp_follow() has to be called. */
static __always_inline bool tcp_note(const struct session_key *key, const struct packet *pkt,
				     struct session *session)
{
	if (unlikely(pkt->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) ||
		     session->state == STATE_NEW || session->tcp & SESSION_WATCH))
		return scratch_segment(key, pkt);
	if (likely(pkt->tcp_flags & TCP_ACK)) { /* no later fragment */
		ack_note(session, pkt->ack);
		run_note(session, pkt->seq, pkt->seq_end);
	}
	return false;
}

/* True: the segment opens a new connection instead. */
static __always_inline bool tcp_follow(struct __sk_buff *skb, const struct packet *pkt)
{
	(void)pkt;
	return tcp_track(skb);
}
