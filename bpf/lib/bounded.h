/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers whose bounds, and loops whose shape, the verifier of Linux 5.10 accepts. */
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

/* On a function with a loop: clang may otherwise lay the end of the loop's body out
 * ahead of its first instruction, to save a jump, and 5.10 refuses whatever comes back
 * to the start of a loop by anything but a jump ("back-edge from insn"). */
#define __loop __attribute__((minsize))
