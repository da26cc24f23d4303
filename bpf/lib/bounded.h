/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers whose bounds the verifier of Linux 5.10 shall believe. */
#pragma once

#include <linux/types.h>

/* Clang drops a mask that it can prove needless, but the verifier of 5.10 forgets
 * a number's bounds once it has been on the stack: hide where it came from. */
#define bounded(value, mask)                                                               \
	({                                                                                 \
		__u64 __value = (value);                                                   \
		asm volatile("" : "+r"(__value));                                          \
		__value & (mask);                                                          \
	})
