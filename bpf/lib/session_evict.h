/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A client may use a port first for a service and then for one of its backends, as the
 * client's kernel sees no reason why not: the destinations differ. To the backend both
 * are one 5-tuple.
 */
#pragma once

#include "session.h"

/* A packet that is not translated opens a flow: a SYN, or any datagram. If a session
 * would take its replies for its own, because from the same port the client had this
 * backend through a service before, the session goes: who spoke last gets the replies.
 *
 * Not so a connection that is running: its backend would not take the SYN for a new one
 * either (RFC 9293, 3.10.7.4), so that both would come to nothing. The SYN is repeated,
 * and if the client knows of no such connection, its reset ends the session. */
static __noinline void session_evict(const struct packet *pkt)
{
	struct session_key reply_key = {
		.src = pkt->key.dst,
		.dst = pkt->key.src,
		.sport = pkt->key.dport,
		.dport = pkt->key.sport,
		.proto = pkt->key.proto,
		.zone = pkt->key.zone,
	};
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
	    forward->state == STATE_ESTABLISHED &&
	    !session_expired(forward, pkt->key.proto, bpf_ktime_get_ns()))
		return;
	session_remove(&forward_key);
	session_remove(&reply_key);
	event(EVENT_SESSION_REPLACED);
}
