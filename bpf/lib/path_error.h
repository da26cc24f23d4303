/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The ICMP errors of a router: time exceeded, fragmentation needed. */
#pragma once

#include "reject.h"
#include "remotes.h"

/* Sends the ICMP error about a packet that cannot be forwarded; `refused` is from
 * path_check(). The one about its MTU goes also to a sender that lets routers fragment, as
 * in IPv6: only the stack can fragment, and the stack would not forward this packet. Linux
 * takes it, and makes smaller fragments from then on. */
static __noinline int reject_path(struct __sk_buff *skb, const struct packet *pkt,
				  enum reason refused, __u32 mtu)
{
	struct remote *remote;
	long failed;

	/* RFC 1122, 3.2.2: no error about a later fragment. */
	if (refused == PASS_TOO_BIG && pkt->fragment == FRAGMENT_LATER)
		return drop(skb, DROP_TOO_BIG);
	if (!addr_is_host(pkt->key.src))
		return drop(skb, DROP_INVALID_SOURCE);
	/* As Linux, which has no limit for path MTU discovery: others would use it up. */
	if (refused == PASS_TTL_EXPIRED && !icmp_allowed())
		return drop(skb, DROP_RATE_LIMITED);
	if (refused == PASS_TTL_EXPIRED)
		failed = reply_icmp(skb, ICMP_TIME_EXCEEDED, 0, 0);
	else
		failed = reply_icmp(skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, bpf_htonl(mtu));
	if (failed)
		return drop(skb, DROP_REWRITE_FAILED);
	refused = refused == PASS_TTL_EXPIRED ? REPLIED_TTL_EXPIRED : REPLIED_TOO_BIG;
	remote = remote_find(pkt->key.src);
	if (remote && remote_bypasses_stack(remote))
		return remote_forward(skb, remote, refused);
	count(skb, refused);
	return reply_send(skb, REPLY_TO_DEVICE);
}
