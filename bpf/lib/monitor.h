/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of packets, told to whoever listens (`pcnk monitor`): packets of the
 * reasons that the listener asks for, filtered and sampled here, through a ring buffer.
 *
 * While nobody listens a packet pays for one look at an array. A listener says until when
 * it will be there and renews that; one that was killed is forgotten by itself. It also
 * says of how many packets it can be told (monitor_budget): in a flood all others cost no
 * clock, no lock and no copy, but are counted (EVENT_MONITOR_LOST).
 */
#pragma once

#include "ip4.h"
#include "maps.h"

/* Reasons that two words of bits can name. */
#define MONITOR_REASONS 128
/* A power of two: every so many packets that there is no budget for, is the listener there? */
#define MONITOR_LOOK_EVERY 1024

static __always_inline __u32 monitor_end_bits(__be32 addr, __be16 port)
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

/* As much of the frame as there is, in steps: the length of a load must be known. */
static __always_inline __u16 monitor_capture(struct __sk_buff *skb, __u8 *head)
{
	if (!bpf_skb_load_bytes(skb, 0, head, MONITOR_HEAD))
		return MONITOR_HEAD;
	if (!bpf_skb_load_bytes(skb, 0, head, 54)) /* TCP */
		return 54;
	if (!bpf_skb_load_bytes(skb, 0, head, 42)) /* UDP, an echo, ARP */
		return 42;
	if (!bpf_skb_load_bytes(skb, 0, head, ETH_HLEN))
		return ETH_HLEN;
	return 0;
}

/* Is the listener still there? Else nothing is asked for any more, and packets pay for
 * one look again. One that was only late says anew what it asks for. */
static __always_inline bool monitor_listens(struct monitor *asked, __u64 now)
{
	if (now <= asked->until)
		return true;
	asked->reasons[0] = 0;
	asked->reasons[1] = 0;
	return false;
}

/* Takes one packet off what the listener may be told of. To look for the listener costs
 * the clock, so those for which nothing is left do it now and then. */
static __always_inline bool monitor_afford(struct monitor *asked)
{
	__u32 zero = 0;
	struct monitor_budget *budget = bpf_map_lookup_elem(&monitor_budget, &zero);

	if (!budget)
		return false;
	budget->left--;
	if ((__s64)budget->left >= 0)
		return true;
	if (!(budget->left & (MONITOR_LOOK_EVERY - 1)))
		monitor_listens(asked, bpf_ktime_get_ns());
	return false;
}

/* Not static: the verifier looks at it once. Returns 1 when the packet should have been
 * told of and there was no room. */
__noinline int monitor_emit(struct __sk_buff *skb, __u32 reason)
{
	__u32 zero = 0;
	struct monitor *asked = bpf_map_lookup_elem(&monitor, &zero);
	struct monitor_event *told;
	__u64 now;

	if (!asked)
		return 0;
	if (asked->sample != 0xffffffff && bpf_get_prandom_u32() > asked->sample)
		return 0;
	if (!monitor_wants(skb, asked->ends))
		return 0;
	if (!monitor_afford(asked))
		return 1;
	now = bpf_ktime_get_ns();
	if (!monitor_listens(asked, now))
		return 0;
	told = bpf_ringbuf_reserve(&monitor_events, sizeof(*told), 0);
	if (!told)
		return 1;
	told->time = now;
	told->ifindex = skb->ifindex;
	told->len = skb->len;
	told->reason = reason;
	__builtin_memset(told->head, 0, sizeof(told->head));
	told->captured = monitor_capture(skb, told->head);
	told->reserved = 0;
	bpf_ringbuf_submit(told, BPF_RB_NO_WAKEUP); /* the listener looks by itself */
	return 0;
}

/* Does anybody ask for this reason? */
static __always_inline bool monitor_asked(__u32 reason)
{
	__u32 zero = 0;
	struct monitor *asked = bpf_map_lookup_elem(&monitor, &zero);

	return asked && (asked->reasons[(reason / 64) & 1] & (1ULL << (reason % 64)));
}
