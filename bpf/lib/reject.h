/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets to service addresses that the node replies to itself: rejections and pings. */
#pragma once

#include "config.h"
#include "deliver.h"
#include "reply.h"
#include "uplinks.h"
#include "verdict.h"

enum reply_to {
	REPLY_TO_POD, /* back into the pod that the packet came from: not limited */
	REPLY_TO_DEVICE, /* out of the node, by the device that the packet came in by */
};

/* ICMP errors a second that leave the node, and how many may come at once: what Linux
 * allows itself (icmp_msgs_per_sec, icmp_msgs_burst). Resets are not limited: a reset is
 * no longer than its segment. */
#define ICMP_INTERVAL (SECOND / 1000)
#define ICMP_BURST (50 * ICMP_INTERVAL)

/* When the next one would be due if they came evenly. Written without a lock: the worst
 * that happens is one error more. */
static volatile __u64 icmp_due;

static __always_inline bool icmp_allowed(void)
{
	__u64 now = bpf_ktime_get_ns(), due = icmp_due;

	if ((__s64)(due - now) > (__s64)ICMP_BURST)
		return false;
	icmp_due = ((__s64)(due - now) > 0 ? due : now) + ICMP_INTERVAL;
	return true;
}

/* Sends a packet that is now a reply. */
static __always_inline int reply_send(struct __sk_buff *skb, enum reply_to to)
{
	if (to == REPLY_TO_POD)
		return redirect_into_pod(skb, skb->ifindex, NULL);
#ifdef L3
	return uplink_send(skb, skb->ifindex); /* bpf_redirect() to PPP needs Linux 6.6 */
#else
	return bpf_redirect(skb->ifindex, 0);
#endif
}

/* Rejects a packet to a service, counted under `reason`: TCP gets a reset, UDP an ICMP
 * port unreachable. */
static __always_inline int reject(struct __sk_buff *skb, const struct packet *pkt,
				  enum reason reason, enum reply_to to)
{
	bool tcp = pkt->key.proto == IPPROTO_TCP;
	__u32 bytes = skb->len;
	long failed;

	if (pkt->tcp_flags & TCP_RST)
		return drop(skb, DROP_RST_NO_SESSION);
	if (!addr_is_host(pkt->key.src))
		return drop(skb, DROP_INVALID_SOURCE);
	if (to == REPLY_TO_DEVICE && !tcp && !icmp_allowed())
		return drop(skb, DROP_RATE_LIMITED);
	if (tcp)
		failed = reply_reset(skb);
	else
		failed = reply_icmp(skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0);
	count_packet(skb, failed ? DROP_REWRITE_FAILED : reason, bytes);
	return failed ? TC_ACT_SHOT : reply_send(skb, to);
}

/* Replies to a ping of an address that only services have. */
static __always_inline int echo(struct __sk_buff *skb, const struct packet *pkt, enum reply_to to)
{
	if (reply_echo(skb, pkt))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, ECHO_REPLIED);
	return reply_send(skb, to);
}
