/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts packets and events by their reason. */
#pragma once

#include "maps.h"
#include "monitor.h"
#include "reasons.h"

/* The map is per CPU, and no program is preempted by one that counts the same reason:
 * no atomic add is needed. */
static __always_inline void count_bytes(enum reason reason, __u32 bytes)
{
	__u32 key = reason;
	struct counter *counter = bpf_map_lookup_elem(&counters, &key);

	if (!counter)
		return;
	counter->packets += 1;
	counter->bytes += bytes;
}

/* Counts a packet of `bytes` bytes, and reports it to a listener. */
static __always_inline void count_packet(struct __sk_buff *skb, enum reason reason, __u32 bytes)
{
	count_bytes(reason, bytes);
#ifndef PCNK_NO_MONITOR /* the benchmark of what a silent monitor costs */
	if (__builtin_expect(monitor_filter(reason), 0) && monitor_emit(skb, reason))
		count_bytes(EVENT_MONITOR_LOST, 0);
#endif
}

static __always_inline void count(struct __sk_buff *skb, enum reason reason)
{
	count_packet(skb, reason, skb->len);
}

/* Not inlined, for the sake of code size. */
static __noinline void event(enum reason reason)
{
	count_bytes(reason, 0);
}
