/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Internet checksums, incrementally (RFC 1624). A "difference" is the one's
 * complement sum of ~old + new of the 16-bit words that changed, unfolded in 32
 * bits, the form of bpf_l4_csum_replace() with size 0. Words may be summed in
 * pairs: a 32-bit sum modulo 2^16 - 1 is the same.
 */
#pragma once

#include <linux/types.h>

static __always_inline __u32 csum_add(__u32 a, __u32 b)
{
	__u64 sum = (__u64)a + b;

	return (__u32)sum + (__u32)(sum >> 32);
}

static __always_inline __u32 csum_diff(__u32 old, __u32 new)
{
	return csum_add(~old, new);
}

/* Two words side by side, as they lie in the packet. */
static __always_inline __u32 csum_pair(__u16 first, __u16 second)
{
	union {
		__u16 word[2];
		__u32 both;
	} pair = { .word = { first, second } };

	return pair.both;
}

/* 32 bits to 16, not complemented. */
static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* The checksum field after its packet changed by `diff`: RFC 1624, equation 3. */
static __always_inline __u16 csum_update(__u16 check, __u32 diff)
{
	return ~csum_fold(csum_add((__u16)~check, diff));
}
