/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checksums that a pod leaves to a device (CHECKSUM_PARTIAL). Its stack does so with most
 * packets. A packet socket can, too (PACKET_VNET_HDR), and says at which offset the device has
 * to write: behind the source check, into an address or a port. So a checksum has to be written
 * behind all that programs read: at the transport header's own place for it, or in the payload,
 * where those of a pod's tunnels are. A hypervisor passes such packets on between its virtual
 * machines, so another node can send them by the overlay.
 *
 * No field of the context has that offset. bpf_skb_change_tail() knows it: it refuses to cut a
 * packet above the end of such a checksum, before it changes anything, unless a fix of the kernel
 * took that out: see csum_told.
 */
#pragma once

#include <linux/errno.h>

#include "l4.h"

#ifdef CONVERTING
#define csum_check(skb, pkt, parsed) (REASON_NONE)
#else

#define CSUM_LOWEST_MAX 255 /* of headers that a host sends; below any device's MTU */

/* Set at load, after a try (src/bpf/csum_told.ts): bpf_skb_change_tail() tells where a checksum is
 * written. Where it does not, nothing is checked: every right checksum of a pod would be refused. */
const volatile __u32 csum_told SEC(".rodata.csum") = 0;

/* May a checksum that is left to a device be written at `lowest` and above? 0: none may be left.
 * REASON_NONE, also if none is, or why the packet has to be dropped: it may be cut then. Whether
 * one is shows at any two bytes, as in csum_probe(); read directly, that is 25 ns instead of 85.
 * Not static: the verifier checks it once. */
__noinline int csum_written(struct __sk_buff *skb, __u32 lowest)
{
	struct ethhdr *eth = packet_data(skb);
	__be16 type;

	if (!csum_told)
		return REASON_NONE;
	if ((void *)(eth + 1) > packet_end(skb))
		return DROP_MALFORMED;
	type = eth->h_proto;
	if (bpf_l4_csum_replace(skb, offsetof(struct ethhdr, h_proto), 0, 1, sizeof(type)))
		return DROP_REWRITE_FAILED;
	eth = packet_data(skb);
	if ((void *)(eth + 1) > packet_end(skb))
		return DROP_REWRITE_FAILED;
	if (eth->h_proto != type) {
		eth->h_proto = type;
		return REASON_NONE;
	}
	if (!lowest || lowest > CSUM_LOWEST_MAX ||
	    bpf_skb_change_tail(skb, lowest + sizeof(__sum16) - 1, 0) != -EINVAL)
		return DROP_CHECKSUM;
	return REASON_NONE;
}

/* The same for a packet of IPv4. No stack leaves a fragment's checksum, ICMP's or IGMP's to a
 * device. Of other protocols the first word is kept: ports, or what a tunnel holds. */
static __always_inline enum reason csum_check(struct __sk_buff *skb, const struct packet *pkt,
					      enum reason parsed)
{
	if (parsed && parsed != PASS_PROTOCOL)
		return REASON_NONE;
	if (unlikely(pkt->fragment || pkt->key.proto == IPPROTO_ICMP ||
		     pkt->key.proto == IPPROTO_IGMP))
		return csum_written(skb, 0);
	return csum_written(skb, pkt->l4 + (parsed ? sizeof(__u32) : csum_offset(pkt->key.proto)));
}
#endif
