/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A hash of a few words: the finalizer of MurmurHash3 (Austin Appleby, public domain)
 * over each of them. Two nodes must agree on it, so it has no seed.
 */
#pragma once

#include <linux/types.h>

static __always_inline __u32 hash_word(__u32 hash, __u32 word)
{
	hash ^= word;
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	hash ^= hash >> 16;
	return hash + 0x9e3779b9;
}
