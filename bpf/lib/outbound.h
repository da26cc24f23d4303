/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What k8sdispatcher does with packets that leave by an uplink, beside masquerade. */
#pragma once

#include "icmp_error.h"
#include "masquerade.h"
#include "nat.h"
#include "node_flow.h"
#include "uplinks.h"
#include "verdict.h"

static __noinline int icmp_error_outbound(struct __sk_buff *skb, struct packet *pkt,
					  const struct node_config *config)
{
	return icmp_error(skb, pkt, ERROR_OUTBOUND, config);
}

/* A reply to a client of the world that passed through the stack: of a backend in the
 * node's own network, or one that had to be fragmented. */
static __noinline int reply_routed(struct __sk_buff *skb, const struct packet *pkt,
				   const struct session *session)
{
	__u32 ifindex = session->ifindex;

	if (nat_rewrite(skb, pkt, session, NULL, false))
		return drop(skb, DROP_REWRITE_FAILED);
	if (ifindex == skb->ifindex)
		return pass(skb, REPLY_ROUTED);
	count(skb, REPLY_SENT);
	return uplink_send(skb, ifindex);
}

#ifdef CONVERTING
#define NOTE_NO_ECHOES true /* it lasts seconds */
#else
#define NOTE_NO_ECHOES false
#endif

/* Removes the flow of a pod that was masqueraded with the identifier of an echo of the node: the
 * node can't choose another one. The pod gets one with its next echo. */
static __always_inline void echo_evict(const struct packet *pkt)
{
	struct session_key key = reverse_tuple(&pkt->key, ZONE_SERVICE), forward;
	struct session *reply = session_read(&key);

	if (!reply || !(reply->flags & SESSION_REPLY) || reply->dst == key.dst)
		return;
	reverse_key(reply, IPPROTO_ICMP, &forward);
	session_remove(&forward);
	session_remove(&key);
	event(EVENT_SESSION_REPLACED);
}

/* Notes a flow that leaves by the node's stack from a port that a service has, or by an echo,
 * whose identifier no socket look-up finds. */
static __noinline void node_flow_note(struct __sk_buff *skb, struct packet *pkt)
{
	if (pkt->fragment == FRAGMENT_LATER)
		return;
	if (pkt->key.proto == IPPROTO_ICMP ? NOTE_NO_ECHOES || pkt->icmp_type != ICMP_ECHO :
					     !port_taken(pkt->key.src, pkt->key.sport,
							 pkt->key.proto))
		return;
	pkt->key.zone = ZONE_MASQUERADE;
	if (session_track(skb, pkt))
		return;
	if (pkt->key.proto == IPPROTO_ICMP)
		echo_evict(pkt);
	exempt_create(pkt, &pkt->key, is_syn(pkt) ? STATE_NEW : STATE_ESTABLISHED, 0);
}
