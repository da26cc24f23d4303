/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Is the checksum of the TCP segment in the scratch right? Only of those that would change a
 * session's state: the rest is the endpoints' to check.
 *
 * Not verified are GSO packets (GRO has verified what it merged, and a sender on this machine
 * leaves the sum to the device) and what is longer than SUM_MAX. The first fragment of a
 * segment is refused, as the rest of it is not here.
 */
#pragma once

#include "ip4.h"
#include "l4.h"
#include "session_scratch.h"

/* A frame of 9,216 bytes. */
#define SUM_MAX (36 * SUM_CHUNK)

/* Sum of header and payload. */
static __always_inline long segment_sum(struct __sk_buff *skb, struct flow_scratch *scratch,
					  __u32 *sum)
{
	__u32 at = scratch->segment.l4, len = scratch->segment.len;
	int i;

	for (i = 0; i < SUM_MAX / SUM_CHUNK && len; i++) {
		__u32 n = bounded((len < SUM_CHUNK ? len : SUM_CHUNK) - 1, SUM_CHUNK - 1) + 1;

		if (n < SUM_CHUNK)
			__builtin_memset(scratch->chunk, 0, SUM_CHUNK);
		if (bpf_skb_load_bytes(skb, at, scratch->chunk, n))
			return -1;
		*sum = bpf_csum_diff(NULL, 0, (__be32 *)scratch->chunk, SUM_CHUNK, *sum);
		at += n;
		len -= n;
	}
	return 0;
}

/* A sender on this machine leaves the sum of the pseudo header, and the rest to the device
 * (CHECKSUM_PARTIAL): nothing of the payload has to be read. A frame of elsewhere that has
 * such a sum is wrong, nearly always: csum_probe() tells them apart. Not static: see
 * timed_out(). */
__noinline __loop int segment_sum_right(struct __sk_buff *skb)
{
	struct flow_scratch *scratch = scratch_get();
	bool partial = false;
	addr_t *addrs;
	__u16 check;
	__u32 sum, at;

	if (!scratch || scratch->segment.fragment)
		return 0;
	if (skb->gso_size || scratch->segment.len > SUM_MAX)
		return 1;
	addrs = (addr_t *)scratch->chunk;
	at = scratch->segment.l4 + offsetof(struct tcphdr, check);
	if (bpf_skb_load_bytes(skb, MAC_HLEN + offsetof(struct iphdr, saddr), addrs,
			       2 * sizeof(*addrs)) ||
	    bpf_skb_load_bytes(skb, at, &check, sizeof(check)))
		return 0;
	sum = pseudo_header(addrs[0], addrs[1], IPPROTO_TCP, scratch->segment.len);
	if (check == csum_fold(sum) && csum_probe(skb, at, &check, &partial))
		return 0;
	if (partial)
		return 1;
	if (segment_sum(skb, scratch, &sum))
		return 0;
	return csum_fold(sum) == 0xffff;
}
