/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Answers that leave the node: refusals, and the ICMP errors that a router owes to who
 * sends through it.
 */
#pragma once

#include "reject.h"
#include "remotes.h"
#include "verdict.h"

/* ICMP errors a second, and how many may come at once: what Linux allows itself
 * (icmp_msgs_per_sec, icmp_msgs_burst). Resets are not limited: a reset is no
 * longer than what it answers. */
#define ANSWER_INTERVAL (SECOND / 1000)
#define ANSWER_BURST (50 * ANSWER_INTERVAL)

/* When the next one would be due if they came evenly. Written without a lock: the worst
 * that happens is an answer more. */
static volatile __u64 answers_until;

static __always_inline bool answer_allowed(void)
{
	__u64 now = bpf_ktime_get_ns(), until = answers_until;

	if ((__s64)(until - now) > (__s64)ANSWER_BURST)
		return false;
	answers_until = ((__s64)(until - now) > 0 ? until : now) + ANSWER_INTERVAL;
	return true;
}

/* Back out of the device that the packet came in by; the frame is turned around. */
static __always_inline int answer_send(struct __sk_buff *skb)
{
	return bpf_redirect(skb->ifindex, 0);
}

/* Refuses a packet to a service of this node, counted under `reason`. */
static __noinline int refuse(struct __sk_buff *skb, const struct packet *pkt, enum reason reason)
{
	__u32 bytes = skb->len;
	enum reason failed;

	if (pkt->key.proto != IPPROTO_TCP && !answer_allowed())
		return drop(skb, DROP_RATE_LIMITED);
	failed = reject(skb, pkt);
	count_packet(skb, failed ? failed : reason, bytes);
	return failed ? TC_ACT_SHOT : answer_send(skb);
}

static __always_inline bool may_be_cut(struct __sk_buff *skb)
{
	__be16 flags;

	return !bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, frag_off), &flags,
				   sizeof(flags)) &&
	       !(flags & bpf_htons(IP_DF));
}

/* Tells the sender why a packet does not go on: `refused` is PASS_TTL_EXPIRED or PASS_TOO_BIG.
 * What may be cut up gets no answer, and is lost: only the stack can cut, and this
 * packet is none that it would take. */
static __noinline int answer_sender(struct __sk_buff *skb, const struct packet *pkt,
				    enum reason refused, __u32 mtu)
{
	struct remote *remote;
	long failed;

	if (refused == PASS_TOO_BIG && may_be_cut(skb))
		return drop(skb, DROP_TOO_BIG);
	if (!answerable(pkt))
		return drop(skb, DROP_INVALID_SOURCE);
	if (!answer_allowed())
		return drop(skb, DROP_RATE_LIMITED);
	if (refused == PASS_TTL_EXPIRED)
		failed = answer_icmp(skb, ICMP_TIME_EXCEEDED, 0, 0);
	else
		failed = answer_icmp(skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, bpf_htonl(mtu));
	if (failed)
		return drop(skb, DROP_REWRITE_FAILED);
	remote = remote_find(pkt->key.src);
	refused = refused == PASS_TTL_EXPIRED ? REPLIED_TTL_EXPIRED : REPLIED_TOO_BIG;
	if (remote && remote_has_way(remote))
		return remote_forward(skb, remote, refused);
	count(skb, refused);
	return answer_send(skb);
}
