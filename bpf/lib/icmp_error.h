/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Handles ICMP errors: translates them with their flow, and forwards them. */
#pragma once

#include "deliver.h"
#include "icmp_quote.h"
#include "masquerade_exempt.h"
#include "remotes.h"
#include "uplinks.h"

/* Where a program meets the error. */
enum icmp_error_hook {
	ERROR_FROM_POD,
	ERROR_TO_POD,
	ERROR_INBOUND, /* from an uplink or the overlay */
	ERROR_OUTBOUND, /* to an uplink */
};

/* Translates the error. An outbound one may be about a masqueraded flow; the flow of an
 * inbound one may be translated twice: see reply_inbound(). */
static __always_inline enum reason icmp_error_rewrite(struct __sk_buff *skb, struct packet *pkt,
						      enum icmp_error_hook hook, __u32 *uplink)
{
	enum reason failed = icmp_error_translate(skb, pkt, uplink);

	if (hook == ERROR_OUTBOUND && failed == PASS_ICMP_ERROR) {
		pkt->key.zone = ZONE_MASQUERADE;
		return icmp_error_translate(skb, pkt, uplink);
	}
	if (hook == ERROR_INBOUND && !failed && !*uplink &&
	    icmp_error_translate(skb, pkt, uplink) == DROP_REWRITE_FAILED)
		return DROP_REWRITE_FAILED;
	return failed;
}

/* Past the stack, to the pod that pkt->key.dst now names, as far as it is one.
 * `untranslated`: REASON_NONE, or why the error is not translated. */
static __always_inline int icmp_error_forward(struct __sk_buff *skb, const struct packet *pkt,
					      enum icmp_error_hook hook, enum reason untranslated)
{
	struct endpoint *endpoint = endpoint_find(pkt->key.dst);
	bool limited = hook == ERROR_FROM_POD && has_rate(skb->ifindex, RATE_EGRESS);
	struct remote *remote;

	/* No port of a bridge gets back what it sent. */
	if (endpoint && (!limited || endpoint->ifindex == skb->ifindex))
		return deliver(skb, endpoint,
			       untranslated ? DIRECT_DELIVERED : ICMP_ERROR_DELIVERED);
	if (untranslated && hook == ERROR_INBOUND)
		return pass(skb, untranslated);
	remote = limited ? NULL : remote_find(pkt->key.dst);
	if (!remote || !remote_bypasses_stack(remote) || pkt->ttl <= 1)
		return pass(skb, untranslated ? untranslated : ICMP_ERROR_ROUTED);
	return remote_forward(skb, remote, untranslated ? DIRECT_SENT : ICMP_ERROR_SENT);
}

/* Handles an ICMP error. `config` is needed outbound only. */
static __always_inline int icmp_error(struct __sk_buff *skb, struct packet *pkt,
				      enum icmp_error_hook hook, const struct node_config *config)
{
	__u32 uplink = 0;
	enum reason failed = icmp_error_rewrite(skb, pkt, hook, &uplink);

	if (failed == DROP_REWRITE_FAILED)
		return drop(skb, failed);
	if (hook == ERROR_OUTBOUND && failed)
		return pass_unmasqueraded(skb, pkt, config, failed);
	if (hook == ERROR_OUTBOUND && uplink && uplink != skb->ifindex) {
		count(skb, ICMP_ERROR_SENT);
		return uplink_send(skb, uplink);
	}
	if (hook == ERROR_OUTBOUND || hook == ERROR_TO_POD)
		return pass(skb, failed ? failed : ICMP_ERROR_ROUTED);
	if (uplink)
		return uplink_error(skb, pkt, uplink);
	return icmp_error_forward(skb, pkt, hook, failed);
}
