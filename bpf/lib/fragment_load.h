/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What pods' fragments take of receivers' memory.
 *
 * A receiver, be it a pod, this node or another one, keeps fragments for 30 s, or until their
 * datagram is whole, in 4 MB (ipfrag_high_thresh; about 1,800 fragments of a full frame, or
 * less of one). When these are full it gets no datagram in fragments, from any sender. So
 * fragments that a pod has sent of datagrams that are not whole are its load, and a pod may
 * begin datagrams while its load is below half of what the pods of the node leave free of
 * FRAGMENT_ROOM: one alone has a third of it, twenty have a 22nd each (Choudhury and Hahne,
 * "Dynamic queue length thresholds"), and each has room for a small one. What was begun may go
 * on below twice as much.
 *
 * A pod that sends whole datagrams has in its load what is under way at a moment, on each CPU
 * one at most.
 *
 * Only what certainly comes together at the receiver counts as whole (`doubtful`): fragments
 * that are sent alike, and not further apart than it waits (ipfrag_max_dist).
 *
 * Limitations. Fragments that a full queue behind this program drops are taken for received.
 * Pods of several nodes have a room each. The programs of a conversion count nothing.
 */
#pragma once

#include <linux/ip.h>

#include "config.h"
#include "csum.h"
#include "hash.h"
#include "ip4.h"
#include "maps.h"

/* ipfrag_time: the kernel waits as long for the rest of a datagram. */
#define FRAGMENT_TIMEOUT (30ULL * 1000000000)

/* Fragments, those of more bytes than a unit several times, that pods of a node may have under
 * way. At 2,304 bytes of memory each: 2.7 MB. */
#define FRAGMENT_ROOM 1200
#define FRAGMENT_UNIT 1536

/* What each pod has room for, however many others fill theirs. */
#define FRAGMENT_LEAST 4

/* ipfrag_max_dist */
#define FRAGMENT_DISTANCE 64

/* What a source has room for. */
enum fragment_room {
	ROOM_FOR_NONE,
	ROOM_TO_GO_ON,
	ROOM_TO_BEGIN, /* a datagram */
};

#ifdef CONVERTING
#define fragment_room(source) ((void)(source), ROOM_TO_BEGIN)
#else
static __always_inline struct fragment_load *fragment_load(__u32 source)
{
	struct fragment_load *load = bpf_map_lookup_elem(&fragment_loads, &source);
	__u64 period = bpf_ktime_get_ns() / FRAGMENT_TIMEOUT;

	if (load && load->period != period) {
		load->former = load->period + 1 == period ? load->units : 0;
		load->units = 0;
		load->period = period;
	}
	return load;
}

/* Two CPUs that subtract at once may bring a number below 0. */
static __always_inline __u32 load_units(const struct fragment_load *load)
{
	__s32 units = load->units + load->former;

	return units > 0 ? units : 0;
}

static __always_inline enum fragment_room fragment_room(__u32 source)
{
	struct fragment_load *own = fragment_load(source), *all = fragment_load(FRAGMENT_SOURCES);
	__u32 held, total, free;

	if (!own || !all)
		return ROOM_TO_BEGIN;
	held = load_units(own);
	total = load_units(all);
	free = total < FRAGMENT_ROOM ? FRAGMENT_ROOM - total : 0;
	if (held < FRAGMENT_LEAST || 2 * held < free)
		return ROOM_TO_BEGIN;
	return held < free ? ROOM_TO_GO_ON : ROOM_FOR_NONE;
}

/* Will the fragment certainly come together with those of its datagram before it? With
 * another TTL or type of service it may not arrive, nor with a wrong checksum, with options, or
 * where it may not be fragmented further. Of TCP, which no stack fragments, a session may refuse
 * the first one and know nothing of the others. */
static __always_inline bool fragment_is_certain(const struct fragment *datagram,
						struct iphdr *ip, __u32 apart)
{
	return ip->ihl * 4 == sizeof(*ip) && !(ip->frag_off & bpf_htons(IP_DF)) &&
	       ip->protocol != IPPROTO_TCP &&
	       csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0)) == 0xffff &&
	       (!datagram->units || (datagram->route == (ip->tos << 8 | ip->ttl) &&
				     apart <= FRAGMENT_DISTANCE));
}

/* Adds a fragment to the load of its source. */
static __always_inline void fragment_charge(struct __sk_buff *skb, struct fragment *datagram,
					    struct iphdr *ip, __u32 source)
{
	struct fragment_load *own = fragment_load(source), *all = fragment_load(FRAGMENT_SOURCES);
	__u32 path = hash_word(0, ip->daddr) % FRAGMENT_PATHS;
	__u32 units = 1 + skb->len / FRAGMENT_UNIT;
	__u32 sent;

	if (!own || !all)
		return;
	sent = own->sent[path] + 1;
	__sync_fetch_and_add(&own->sent[path], 1);
	if (!fragment_is_certain(datagram, ip, sent - datagram->sent))
		datagram->doubtful = 1;
	if (!datagram->units)
		datagram->route = ip->tos << 8 | ip->ttl;
	datagram->sent = sent;
	datagram->units += units;
	__sync_fetch_and_add(&own->units, units);
	__sync_fetch_and_add(&all->units, units);
}

static __always_inline void load_subtract(struct fragment_load *load, __u32 units)
{
	__u32 now = load->units < units ? load->units : units;
	__u32 former = load->former < units - now ? load->former : units - now;

	__sync_fetch_and_add(&load->units, -now);
	__sync_fetch_and_add(&load->former, -former);
}

/* A datagram is whole: its receiver keeps nothing of it. */
static __always_inline void fragment_arrives(struct fragment *datagram, __u32 source)
{
	struct fragment_load *own = fragment_load(source), *all = fragment_load(FRAGMENT_SOURCES);
	__u32 units = datagram->units;

	if (datagram->doubtful || !own || !all)
		return;
	datagram->units = 0;
	load_subtract(own, units);
	load_subtract(all, units);
}
#endif
