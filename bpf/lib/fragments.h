/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fragments, in any order.
 *
 * Only the first fragment of a datagram carries the ports, by which it is translated. They
 * are stored for the others. One that comes ahead of the first is held: its bytes wait in
 * `held_fragments`. When the first one comes, they are received once more, by the device that
 * they came in by, and meet the program after it.
 *
 * An identification may be used again as soon as its datagram is whole: at high rates they
 * come round within seconds (RFC 6864, 4.3).
 *
 * Fragments that do not belong to translated flows go on as they came, with the ports of
 * their first, which no session has.
 *
 * An echo's identifier is a port to this. Other ICMP messages have none.
 *
 * What a pod may have under way: see fragment_load.h.
 *
 * Limitations. One that finds no room passes, and is lost if its flow is translated. The 65th
 * and later fragments of a datagram are checked for overlap with the first one only; it never
 * counts as whole, and its identification counts as used for 30 s.
 */
#pragma once

#include <linux/tcp.h>

#include "fragment_load.h"
#include "hash.h"
#include "ip4.h"
#include "maps.h"
#include "share.h"
#include "verdict.h"

/* A held fragment's room may go to another after this. */
#define HELD_TIMEOUT (2ULL * 1000000000)

/* skb->mark of packets on their way back to the device that they came in by. */
#define FRAGMENT_MARK 0x70636e6b

/* fragment.held */
#define FRAGMENTS_HELD 1
#define FRAGMENTS_RELEASED 2

/* Where a program meets a fragment. */
enum fragment_hook {
	FRAGMENT_FROM_POD,
	FRAGMENT_INBOUND, /* from an uplink or the overlay */
	FRAGMENT_PASSING, /* from the node's stack: none is held */
};

/* Which share of the table a packet's source has. A pod that may send from addresses of
 * others has one by its device with these. */
static __always_inline __u32 fragment_source(struct __sk_buff *skb, const struct iphdr *ip,
					     enum fragment_hook hook)
{
	struct endpoint_key key = { .addr = ip->saddr };
	__u32 ifindex = skb->ifindex;
	struct endpoint *endpoint;

	if (hook == FRAGMENT_INBOUND)
		return share_of_other(ip->saddr);
	endpoint = bpf_map_lookup_elem(&endpoints, &key);
	if (endpoint && (hook == FRAGMENT_PASSING || endpoint->ifindex == ifindex))
		return share_of_pod(ip->saddr);
	return share_of_other(hook == FRAGMENT_FROM_POD ? ifindex : ip->saddr);
}

static __always_inline bool fragment_is_of(const struct fragment *datagram, const struct iphdr *ip,
					   enum fragment_hook hook)
{
	return datagram->hook == hook && datagram->src == ip->saddr &&
	       datagram->dst == ip->daddr && datagram->id == ip->id &&
	       datagram->proto == ip->protocol;
}

static __always_inline bool is_whole(const struct fragment *datagram)
{
	return datagram->total && datagram->received == datagram->total;
}

static __always_inline void fragment_begin(struct fragment *datagram, const struct iphdr *ip,
					   enum fragment_hook hook, __u64 now)
{
	datagram->began = now;
	datagram->src = ip->saddr;
	datagram->dst = ip->daddr;
	datagram->id = ip->id;
	datagram->proto = ip->protocol;
	datagram->refused = 0;
	datagram->firsts = 0;
	datagram->held = 0;
	datagram->count = 1;
	datagram->hook = hook;
	datagram->doubtful = 0;
	datagram->received = 0;
	datagram->total = 0;
	datagram->units = 0;
	datagram->route = 0;
	datagram->piece[0] = 0;
}

/* The fragment is the first of a datagram that has no room. */
#define FRAGMENT_REFUSED -1

/* One more than the index of a fragment's datagram; 0: unknown; FRAGMENT_REFUSED. It takes the
 * place of one of its set, if it is new: of one that is whole, else of the oldest; of its own
 * source's, if that has half of a set already that it shares with others. `again`: the
 * fragment was held. Not static: the verifier checks it once. */
__noinline int fragment_find(struct __sk_buff *skb, __u32 hook, __u32 again)
{
	struct fragment *datagram, *oldest = NULL, *own = NULL;
	__u64 now = bpf_ktime_get_ns(), order, oldest_order = 0, own_order = 0;
	__u32 at, source, set, hash, index = 0, own_at = 0, owned = 0;
	enum fragment_room room = ROOM_TO_BEGIN;
	struct iphdr ip;
	bool done;
	int way;

	if (bpf_skb_load_bytes(skb, MAC_HLEN, &ip, sizeof(ip)))
		return 0;
	source = fragment_source(skb, &ip, hook);
	if (hook == FRAGMENT_FROM_POD && !again)
		room = fragment_room(source);
	if (room == ROOM_FOR_NONE)
		return FRAGMENT_REFUSED;
	hash = hash_word(hash_word(ip.saddr, ip.daddr), ip.id);
	set = (source * FRAGMENT_SETS + hash % FRAGMENT_SETS) * FRAGMENT_WAYS;
#pragma unroll
	for (way = 0; way < FRAGMENT_WAYS; way++) {
		at = set + way;
		datagram = bpf_map_lookup_elem(&fragments, &at);
		if (!datagram)
			return 0;
		if (fragment_is_of(datagram, &ip, hook) &&
		    now - datagram->began < FRAGMENT_TIMEOUT) {
			index = at;
			if (!is_whole(datagram) || again)
				return at + 1;
			oldest = datagram;
			own = NULL;
			break;
		}
		/* Fragments that were held may still come. */
		done = is_whole(datagram) && !datagram->held;
		order = datagram->began + (done ? 0 : FRAGMENT_TIMEOUT);
		if (!oldest || order < oldest_order) {
			oldest = datagram;
			oldest_order = order;
			index = at;
		}
		if (datagram->src != ip.saddr)
			continue;
		owned++;
		if (!own || order < own_order) {
			own = datagram;
			own_order = order;
			own_at = at;
		}
	}
	if (!oldest)
		return 0;
	if (room != ROOM_TO_BEGIN)
		return FRAGMENT_REFUSED;
	if (now - oldest->began < FRAGMENT_TIMEOUT) {
		if (own && owned >= FRAGMENT_WAYS / 2 && source >= SHARE_PODS) {
			oldest = own;
			index = own_at;
		}
		if (!is_whole(oldest))
			share_exceeded(ip.saddr, 0, OF_FRAGMENTS, 1);
	}
	fragment_begin(oldest, &ip, hook, now);
	return index + 1;
}

/* Does [first, end) overlap a piece without being the same? */
static __always_inline bool piece_overlaps(__u32 known, __u32 first, __u32 end)
{
	__u32 known_first = known >> 16, known_end = known & 0xffff;

	return first < known_end && known_first < end && known != (first << 16 | end);
}

/* Enters the piece that a fragment is of its datagram, the last one if nothing `follows`.
 * REASON_NONE, or why it is dropped. */
static __noinline __loop enum reason fragment_check(struct fragment *datagram, __u32 first,
						    __u32 end, bool follows)
{
	__u32 i, known, count = datagram->count, total = datagram->total;

	if (total && (follows ? end > total : end != total))
		datagram->refused = 1;
	if (datagram->refused)
		return DROP_FRAGMENT_OVERLAP;
	for (i = 0; i < FRAGMENT_PIECES; i++) {
		if (i >= count)
			break;
		known = datagram->piece[bounded(i, FRAGMENT_PIECES - 1)];
		if (piece_overlaps(known, first, end) || (!follows && (known & 0xffff) > end)) {
			datagram->refused = 1;
			return DROP_FRAGMENT_OVERLAP;
		}
		if (known == (first << 16 | end))
			return REASON_NONE;
	}
	if (first && count >= FRAGMENT_PIECES)
		return REASON_NONE;
	if (first)
		datagram->count = count + 1;
	datagram->piece[bounded(first ? count : 0, FRAGMENT_PIECES - 1)] = first << 16 | end;
	datagram->received += end - first;
	return REASON_NONE;
}

#ifndef CONVERTING
/* The length of the part of a frame that begins at `at`. */
#define part_size(len, at)                                                                 \
	(bounded(((len) - (at) < HELD_PART ? (len) - (at) : HELD_PART) - 1, HELD_PART - 1) + 1)

/* Is the slot of a source free? Its entry may be one that nothing waits for any more. */
static __always_inline bool held_is_free(const struct held_key *key, __u64 now)
{
	struct held_fragment *held = bpf_map_lookup_elem(&held_fragments, key);

	return !held || now - held->time > HELD_TIMEOUT;
}

/* Holds a fragment of the datagram at `index`. False: there is no room, or its first one came
 * meanwhile. Not static: the verifier checks it once. */
__noinline __loop int fragment_hold(struct __sk_buff *skb, __u32 index)
{
	struct held_key key = { .source = index / (FRAGMENT_SETS * FRAGMENT_WAYS) };
	struct fragment *datagram = bpf_map_lookup_elem(&fragments, &index);
	__u32 zero = 0, len = skb->len, at = 0;
	struct held_fragment *held = bpf_map_lookup_elem(&held_scratch, &zero);
	__u64 now = bpf_ktime_get_ns();
	int i;

	if (!datagram || !held || len > HELD_PARTS * HELD_PART)
		return 0;
	for (i = 0; i < HELD_SLOTS; i++) {
		key.slot = i;
		if (held_is_free(&key, now))
			break;
	}
	if (i == HELD_SLOTS)
		return 0;
	datagram->held = FRAGMENTS_HELD; /* before the entry: see fragment_enter() */
	held->time = now;
	held->datagram = index;
	held->id = datagram->id;
	held->src = datagram->src;
	held->dst = datagram->dst;
	held->len = len;
	held->ifindex = skb->ifindex;
	/* The first part last: with it, the fragment is held. */
	for (i = HELD_PARTS - 1; i >= 0; i--) {
		at = i * HELD_PART;
		if (at >= len)
			continue;
		key.part = i;
		if (bpf_skb_load_bytes(skb, at, held->bytes, part_size(len, at)) ||
		    bpf_map_update_elem(&held_fragments, &key, held, BPF_ANY))
			return 0;
	}
	/* The first one may have come on another CPU meanwhile: one of both takes the entry. */
	return !datagram->firsts || bpf_map_delete_elem(&held_fragments, &key);
}

/* Saves the packet's bytes; with `back`, makes the packet of `len` bytes what was saved. 0, or an
 * error. This and the next one are not static: the verifier checks them once. */
__noinline __loop int held_save(struct __sk_buff *skb, __u32 len, __u32 back)
{
	struct held_fragment *saved;
	__u32 part, key, at;
	long failed;

	if (len > HELD_PARTS * HELD_PART || (back && bpf_skb_change_tail(skb, len, 0)))
		return -1;
	for (part = 0; part < HELD_PARTS; part++) {
		at = part * HELD_PART;
		if (at >= len)
			break;
		key = part;
		saved = bpf_map_lookup_elem(&held_scratch, &key);
		if (!saved)
			return -1;
		failed = back ? bpf_skb_store_bytes(skb, at, saved->bytes, part_size(len, at),
						    BPF_F_RECOMPUTE_CSUM) :
				bpf_skb_load_bytes(skb, at, saved->bytes, part_size(len, at));
		if (failed)
			return -1;
	}
	return 0;
}

/* Makes the packet what is held, of `len` bytes, in a slot of a source. 0, or an error. */
__noinline __loop int held_restore(struct __sk_buff *skb, __u32 source, __u32 slot, __u32 len)
{
	struct held_key key = { .source = source, .slot = slot };
	struct held_fragment *held;
	__u32 part, at;

	if (len > HELD_PARTS * HELD_PART || bpf_skb_change_tail(skb, len, 0))
		return -1;
	for (part = 0; part < HELD_PARTS; part++) {
		at = part * HELD_PART;
		if (at >= len)
			break;
		key.part = part;
		held = bpf_map_lookup_elem(&held_fragments, &key);
		if (!held || bpf_skb_store_bytes(skb, at, held->bytes, part_size(len, at),
						 BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	return 0;
}

/* Lets the datagram's fragments that are held be received once more, by way of its first
 * one's buffer, which is the same afterwards. They come after it: the device's queue is not
 * served meanwhile. 0, or an error: the packet is broken. */
__noinline __loop int fragment_release(struct __sk_buff *skb, __u32 index)
{
	struct held_key key = { .source = index / (FRAGMENT_SETS * FRAGMENT_WAYS) };
	struct fragment *datagram = bpf_map_lookup_elem(&fragments, &index);
	__u32 ifindex, length, len = skb->len, mark = skb->mark;
	__u64 now = bpf_ktime_get_ns();
	struct held_fragment *held;
	int i;

	if (!datagram || held_save(skb, len, false))
		return 0;
	skb->mark = FRAGMENT_MARK;
	for (i = 0; i < HELD_SLOTS; i++) {
		key.slot = i;
		held = bpf_map_lookup_elem(&held_fragments, &key);
		if (!held || held->datagram != index || held->id != datagram->id ||
		    held->src != datagram->src || held->dst != datagram->dst ||
		    now - held->time > FRAGMENT_TIMEOUT)
			continue;
		length = held->len;
		ifindex = held->ifindex;
		if (held_restore(skb, key.source, i, length))
			continue;
		/* Only one CPU deletes it, and that one sends it. */
		if (!bpf_map_delete_elem(&held_fragments, &key))
			bpf_clone_redirect(skb, ifindex, BPF_F_INGRESS);
	}
	skb->mark = mark;
	return held_save(skb, len, true);
}
#endif

/* Has the first fragment ports, or an identifier? */
static __always_inline bool has_ports(const struct iphdr *ip)
{
	return ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP ||
	       ip->protocol == IPPROTO_ICMP;
}

/* Does a fragment cut the transport header, or hold nothing, or end beyond 64 KB? */
static __always_inline bool fragment_is_tiny(const struct iphdr *ip, __u32 at, __u32 size)
{
	return !size || at + size > 0xffff ||
	       (at && ip->protocol == IPPROTO_TCP && at < sizeof(struct tcphdr));
}

#ifdef CONVERTING
#define fragment_account(skb, index, again)
#else
/* Counts a fragment of a pod in its load. Not static: the verifier checks it once. */
__noinline int fragment_account(struct __sk_buff *skb, __u32 index, __u32 again)
{
	struct fragment *datagram = bpf_map_lookup_elem(&fragments, &index);
	__u32 source = index / (FRAGMENT_SETS * FRAGMENT_WAYS);
	struct iphdr ip;

	if (!datagram || bpf_skb_load_bytes(skb, MAC_HLEN, &ip, sizeof(ip)))
		return 0;
	if (!again)
		fragment_charge(skb, datagram, &ip, source);
	if (is_whole(datagram))
		fragment_arrives(datagram, source);
	return 0;
}
#endif

/* Notes a fragment whose ports are `sport << 16 | dport`, if it is the first. Below 0: its way
 * ends here, under the reason of that number. 0: no ports are known; else one more than the
 * index of the datagram. Not static: the verifier checks it once. */
__noinline int fragment_enter(struct __sk_buff *skb, __u32 hook, __u32 ports)
{
	struct fragment *datagram;
	__u32 at, size, index;
	enum reason refused;
	struct iphdr ip;
	bool again = skb->mark == FRAGMENT_MARK, follows;
	int found;

	if (bpf_skb_load_bytes(skb, MAC_HLEN, &ip, sizeof(ip)))
		return 0;
	follows = ip.frag_off & bpf_htons(IP_MF);
	at = (bpf_ntohs(ip.frag_off) & IP_OFFSET) * 8;
	size = bpf_ntohs(ip.tot_len) - ip.ihl * 4;
	if (fragment_is_tiny(&ip, at, size))
		return -DROP_FRAGMENT_TINY;
	if (again)
		skb->mark = 0;
	found = fragment_find(skb, hook, again);
	if (found < 0) {
		share_exceeded(ip.saddr, 0, OF_FRAGMENTS, 1);
		return -DROP_FRAGMENT_SHARE;
	}
	index = found - 1;
	datagram = found ? bpf_map_lookup_elem(&fragments, &index) : NULL;
	if (!datagram)
		return 0;
	refused = fragment_check(datagram, at, at + size, follows);
	if (refused)
		return -refused;
	if (!follows)
		datagram->total = at + size;
	if (hook == FRAGMENT_FROM_POD)
		fragment_account(skb, index, again);
	if (!at) {
		datagram->sport = ports >> 16;
		datagram->dport = ports;
		__sync_fetch_and_add(&datagram->firsts, 1); /* written before `held` is read */
	}
#ifndef CONVERTING
	if (!has_ports(&ip))
		return 0;
	if (!at && datagram->held == FRAGMENTS_HELD) {
		datagram->held = FRAGMENTS_RELEASED;
		if (fragment_release(skb, index))
			return -DROP_REWRITE_FAILED;
	} else if (!datagram->firsts && hook != FRAGMENT_PASSING) {
		if (fragment_hold(skb, index))
			return -EVENT_FRAGMENT_HELD;
		if (!datagram->firsts) {
			event(EVENT_FRAGMENT_NOT_HELD);
			share_exceeded(ip.saddr, 0, OF_FRAGMENTS, 1);
		}
	}
#endif
	return datagram->firsts ? index + 1 : 0;
}

/* Notes a fragment; a later one gets its first one's ports. REASON_NONE: go on with it; else
 * it ends here, under that reason. */
static __noinline enum reason fragment_meet(struct __sk_buff *skb, struct packet *pkt,
					    enum fragment_hook hook)
{
	int known = fragment_enter(skb, hook, (__u32)pkt->key.sport << 16 | pkt->key.dport);
	struct fragment *datagram;
	__u32 index = known - 1;

	if (known < 0)
		return -known;
	if (!known || pkt->fragment == FRAGMENT_FIRST)
		return REASON_NONE;
	datagram = bpf_map_lookup_elem(&fragments, &index);
	if (datagram) {
		pkt->key.sport = datagram->sport;
		pkt->key.dport = datagram->dport;
	}
	return REASON_NONE;
}
