/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A client may use a port first for a service and then for one of its backends: the
 * destinations differ. At the backend both flows have one 5-tuple.
 */
#pragma once

#include "session.h"

/* Called for packets that are not translated. A SYN, or any datagram, opens a direct
 * flow. If a session would translate its replies, because the client had this backend
 * through a service before, from the same port, the session is evicted: the flow that
 * was opened last gets the replies.
 *
 * An established connection is not evicted: its backend would not accept the SYN either
 * (RFC 9293, 3.10.7.4), and both connections would fail. The SYN is retransmitted, and
 * the reset of a client that has no such connection closes the session. */
static __noinline void session_evict(const struct packet *pkt)
{
	struct session_key reply_key = reverse_tuple(&pkt->key, pkt->key.zone);
	struct session_key forward_key;
	struct session *reply, *forward;

	if (pkt->fragment || (pkt->key.proto == IPPROTO_TCP && !is_syn(pkt)))
		return;
	reply = session_read(&reply_key);
	if (!reply || !(reply->flags & SESSION_REPLY))
		return;
	reverse_key(reply, pkt->key.proto, &forward_key);
	forward = session_read(&forward_key);
	if (pkt->key.proto == IPPROTO_TCP && forward && is_reverse_of(forward, &reply_key) &&
	    (forward->state == STATE_ESTABLISHED || forward->state == STATE_CLOSING) &&
	    !session_expired(forward, pkt->key.proto, bpf_ktime_get_ns()))
		return;
	session_remove(&forward_key);
	session_remove(&reply_key);
	event(EVENT_SESSION_REPLACED);
}
