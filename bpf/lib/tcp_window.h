/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What both ends of a TCP connection have sent, and which resets and FINs that makes
 * believable (RFC 5961).
 *
 * Each entry has, of its own direction, where its newest segment ends, how much before that
 * came without a gap, and its newest acknowledgment. The other end expects the number that it
 * acknowledged last, or one that it has received and not acknowledged yet.
 *
 * A machine that can send with the address of one end, but sees nothing of the connection, can
 * put anything into that direction's entry: with one segment, as its numbers are those of the
 * newest. So what it sends is compared with the other direction's entry. The next segment of
 * the real end puts its own numbers back.
 */
#pragma once

#include "l4.h"

/* A SYN of a connection that is over opens a new one from the same port (RFC 6191). */
static __always_inline bool reopens(__u8 tcp_flags, const struct session *session)
{
	return syn_only(tcp_flags) && session->state == STATE_CLOSED &&
	       !(session->flags & SESSION_REPLY);
}

static __always_inline __u32 milliseconds(void)
{
	return bpf_ktime_get_ns() / 1000000;
}

/* More than is in flight. */
#define RUN_MAX (1U << 24)

static __always_inline void ack_note(struct session *own, __u32 ack)
{
	if (own->ack == ack && own->tcp & SESSION_ACKED)
		return;
	own->ack = ack;
	own->tcp |= SESSION_ACKED;
}

/* Does a segment continue what came without a gap, or repeat it? */
static __always_inline bool run_has(const struct session *own, __u32 seq)
{
	return own->seq_end - seq <= own->seq_run;
}

/* Does it bring anything new to that? */
static __always_inline bool run_grows(const struct session *own, __u32 seq, __u32 seq_end)
{
	return run_has(own, seq) && (__s32)(seq_end - own->seq_end) > 0;
}

/* Notes a segment. A gap, of one that was lost on its way here, begins anew: the numbers
 * of a direction are wrong for as long as the segments that come are. */
static __always_inline void run_note(struct session *own, __u32 seq, __u32 seq_end)
{
	__u32 run;

	if (likely(run_has(own, seq))) {
		if ((__s32)(seq_end - own->seq_end) <= 0)
			return;
		run = own->seq_run + (seq_end - own->seq_end);
		own->seq_run = run < RUN_MAX ? run : RUN_MAX;
	} else {
		own->seq_run = seq_end - seq;
	}
	own->seq_end = seq_end;
	if (unlikely(own->tcp & (SESSION_SYN | SESSION_FIN_NOTED)))
		own->tcp &= ~(SESSION_SYN | SESSION_FIN_NOTED);
}

/* Notes a SYN: data that follows begins behind it. On a living connection it may be forged. */
static __always_inline void syn_note(struct session *own, __u32 seq_end)
{
	own->seq_end = seq_end;
	own->seq_run = 0;
	own->tcp = (own->tcp & ~SESSION_FIN_NOTED) | SESSION_SYN;
}

/* Notes the first segment of a flow in the entry of its direction. */
static __always_inline void window_begin(struct session *own, const struct packet *pkt)
{
#ifdef CONVERTING
	(void)own;
	(void)pkt;
#else
	own->asked = milliseconds();
	if (is_syn(pkt)) {
		syn_note(own, pkt->seq_end);
		return;
	}
	own->seq_end = pkt->seq_end;
	own->seq_run = pkt->seq_end - pkt->seq;
	if (pkt->tcp_flags & TCP_ACK)
		ack_note(own, pkt->ack);
#endif
}

/* May the other end expect this sequence number of a reset or FIN? What was not acknowledged
 * yet must follow on what was, and come with an acknowledgment of something that the
 * other end has sent. An end that has not been seen since the entry was created or converted has
 * acknowledged nothing. */
static __always_inline bool window_has(const struct session *own, const struct session *other,
				       __u32 seq)
{
	__u32 outstanding = own->seq_end - other->ack;

	if (!(other->tcp & SESSION_ACKED))
		return false;
	if (seq == other->ack)
		return true;
	return outstanding <= own->seq_run && seq - other->ack <= outstanding &&
	       own->tcp & SESSION_ACKED && run_has(other, own->ack);
}

/* A refusal of the other end's SYN: RFC 9293, 3.10.7.1 and 3.10.7.3. */
static __always_inline bool syn_is_refused(const struct session *other, __u32 ack)
{
	return other->tcp & SESSION_SYN && other->seq_end == ack;
}
