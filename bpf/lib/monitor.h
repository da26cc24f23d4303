/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reports packets and their verdicts to a listener (`pcnk monitor`) through a ring buffer,
 * filtered by reason and address, and sampled.
 *
 * Without a listener a packet costs one array look-up. A listener holds a lease that it
 * renews, so that a killed one ends by itself. It also grants a budget of packets
 * (monitor_budget): in a flood the packets above it cost no clock, no lock and no copy,
 * and are counted (EVENT_MONITOR_LOST).
 *
 * One device, and one address of those behind it, may use as much of a budget as it leaves to
 * others: half, if it is alone. What is left is added to the next one, so that a flood alone
 * has all of the rate, and there is always as much for the packets of others.
 */
#pragma once

#include "ip4.h"
#include "maps.h"
#include "share.h"

/* Reasons that fit in monitor.reasons. */
#define MONITOR_REASONS 128
/* Lost packets of a device between two checks of the lease. A power of two. */
#define MONITOR_CHECK_EVERY 1024

static __always_inline __u32 monitor_end_bits(addr_t addr, port_be port)
{
	struct monitor_end key = { .addr = addr, .port = port };
	__u32 *bits = bpf_map_lookup_elem(&monitor_ends, &key);
	__u32 found = bits ? *bits : 0;

	if (!port)
		return found;
	key.port = 0; /* any */
	bits = bpf_map_lookup_elem(&monitor_ends, &key);
	return found | (bits ? *bits : 0);
}

/* Does the packet have every kind of end that the listener asks for? */
static __always_inline bool monitor_wants(struct __sk_buff *skb, __u32 wanted)
{
	port_be ports[2] = {};
	addr_t addrs[2];

	if (!wanted)
		return true;
	if (!ip_ends(skb, addrs, ports))
		return false;
	return ((monitor_end_bits(addrs[0], ports[0]) | monitor_end_bits(addrs[1], ports[1])) &
		wanted) == wanted;
}

#define MONITOR_MADE (ETH_HLEN - MAC_HLEN) /* bytes of an Ethernet header that the frame lacks */

/* Copies the head of the frame, in one of four lengths: they must be constants. A packet
 * without Ethernet header is reported with one. */
static __always_inline __u16 monitor_capture(struct __sk_buff *skb, __u8 *head)
{
	if (MONITOR_MADE)
		*(__be16 *)(head + offsetof(struct ethhdr, h_proto)) = skb->protocol;
	if (!bpf_skb_load_bytes(skb, 0, head + MONITOR_MADE, MONITOR_HEAD - MONITOR_MADE))
		return MONITOR_HEAD;
	if (!bpf_skb_load_bytes(skb, 0, head + MONITOR_MADE, 54 - MONITOR_MADE)) /* TCP */
		return 54;
	if (!bpf_skb_load_bytes(skb, 0, head + MONITOR_MADE, 42 - MONITOR_MADE)) /* UDP, an echo, ARP */
		return 42;
	if (MONITOR_MADE || !bpf_skb_load_bytes(skb, 0, head, ETH_HLEN))
		return ETH_HLEN;
	return 0;
}

/* Is the lease valid? Else the filter is cleared, and packets cost one look-up again. A
 * listener that was only late writes its filter anew. */
static __always_inline bool monitor_leased(struct monitor *filter, __u64 now)
{
	if (now <= filter->until)
		return true;
	filter->reasons[0] = 0;
	filter->reasons[1] = 0;
	return false;
}

/* What a device (`source` 0), or an address behind it, has used of this round's budget. */
static __always_inline struct monitor_share *monitor_share_get(__u32 ifindex, __u32 source,
							       __u64 round)
{
	struct monitor_share_key key = { .ifindex = ifindex, .source = source };
	struct monitor_share none = { .round = round };
	struct monitor_share *share = bpf_map_lookup_elem(&monitor_shares, &key);

	if (!share) {
		bpf_map_update_elem(&monitor_shares, &key, &none, BPF_NOEXIST);
		return bpf_map_lookup_elem(&monitor_shares, &key);
	}
	if (share->round != round) {
		share->round = round;
		share->used = 0;
	}
	return share;
}

/* Now and then, as it reads the clock: is there still a listener, and who is too loud? */
static __always_inline void monitor_check(struct monitor *filter, __u32 ifindex)
{
	struct pod_device_key key = { .ifindex = ifindex };

	if (monitor_leased(filter, bpf_ktime_get_ns()))
		share_exceeded(0, bpf_map_lookup_elem(&pod_devices, &key) ? ifindex : 0,
			       OF_MONITOR, MONITOR_CHECK_EVERY);
}

/* Takes one packet off the budget, and off the shares of its source. */
static __always_inline bool monitor_afford(struct __sk_buff *skb, struct monitor *filter)
{
	__u32 zero = 0, ifindex = skb->ingress_ifindex, source = 0;
	struct monitor_budget *budget = bpf_map_lookup_elem(&monitor_budget, &zero);
	struct monitor_share *device, *address;
	__s64 left;

	if (!budget)
		return false;
	bpf_skb_load_bytes(skb, MAC_HLEN + offsetof(struct iphdr, saddr), &source, sizeof(source));
	device = monitor_share_get(ifindex, 0, budget->round);
	address = monitor_share_get(ifindex, share_of_other(source), budget->round);
	if (!device || !address)
		return false;
	left = (__s64)budget->left - device->used;
	if (left > 0 && left > address->used) {
		budget->left--;
		device->used++;
		address->used++;
		return true;
	}
	if (!(++device->lost & (MONITOR_CHECK_EVERY - 1)))
		monitor_check(filter, ifindex);
	return false;
}

/* Reports a packet. Returns 1 when it is lost: no budget, or no room. Not static: the
 * verifier checks it once. */
__noinline int monitor_emit(struct __sk_buff *skb, __u32 reason)
{
	__u32 zero = 0;
	struct monitor *filter = bpf_map_lookup_elem(&monitor, &zero);
	struct monitor_event *report;
	__u64 now;

	if (!filter)
		return 0;
	if (filter->sample != 0xffffffff && bpf_get_prandom_u32() > filter->sample)
		return 0;
	if (!monitor_wants(skb, filter->ends))
		return 0;
	if (!monitor_afford(skb, filter))
		return 1;
	now = bpf_ktime_get_ns();
	if (!monitor_leased(filter, now))
		return 0;
	report = bpf_ringbuf_reserve(&monitor_events, sizeof(*report), 0);
	if (!report)
		return 1;
	report->time = now;
	report->ifindex = skb->ifindex;
	report->len = skb->len;
	report->reason = reason;
	__builtin_memset(report->head, 0, sizeof(report->head));
	report->captured = monitor_capture(skb, report->head);
	report->reserved = 0;
	bpf_ringbuf_submit(report, BPF_RB_NO_WAKEUP); /* the listener polls */
	return 0;
}

/* Does the filter have this reason? */
static __always_inline bool monitor_filter(__u32 reason)
{
	__u32 zero = 0;
	struct monitor *filter = bpf_map_lookup_elem(&monitor, &zero);

	return filter && (filter->reasons[(reason / 64) & 1] & (1ULL << (reason % 64)));
}
