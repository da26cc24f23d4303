/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shares: what one source, a pod of this node or an address of elsewhere, may have of what
 * all use. A pod has a number of its own, by the last eight bits of its address: with a
 * podCIDR of 256 addresses no two have the same. Other addresses have one by their hash.
 *
 * What a pod asked for beyond its share is counted in `shares`, by which the agent and
 * `pcnk status` name it. Addresses of elsewhere are one entry there: they may be forged, and
 * would evict the pods'.
 */
#pragma once

#include <bpf/bpf_endian.h>

#include "config.h"
#include "hash.h"

static __always_inline __u32 share_of_pod(addr_t pod)
{
	return bpf_ntohl(pod) % SHARE_PODS;
}

static __always_inline __u32 share_of_other(__u32 number)
{
	return SHARE_PODS + hash_word(0, number) % SHARE_OTHERS;
}

#ifdef CONVERTING
#define COUNT_EXCESS false /* it lasts seconds, with a stack that is full */
#else
#define COUNT_EXCESS true
#endif

static const volatile struct share_excess no_excess = {}; /* not on the stack */

/* Counts what the source of an address, or of a device where that is not 0, was refused or
 * lost beyond its share. */
static __always_inline void share_exceeded(addr_t addr, __u32 ifindex, enum share_kind what,
					   __u32 times)
{
	struct node_config *config = node_config();
	struct share_key key = { .ifindex = ifindex };
	struct share_excess *excess;

	if (!COUNT_EXCESS)
		return;
	if (addr && config && is_own_pod(config, addr))
		key.addr = addr;
	excess = bpf_map_lookup_elem(&shares, &key);
	if (!excess) {
		bpf_map_update_elem(&shares, &key, (const void *)&no_excess, BPF_NOEXIST);
		excess = bpf_map_lookup_elem(&shares, &key);
	}
	if (!excess)
		return;
	excess->last = bpf_ktime_get_ns();
	__sync_fetch_and_add(&excess->times[what], times);
}
