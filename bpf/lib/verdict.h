/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The two verdicts that need no more than a reason. */
#pragma once

#include <linux/pkt_cls.h>

#include "count.h"

/* The packet continues unchanged: to other filters of the device, and the stack. */
static __noinline int pass(struct __sk_buff *skb, enum reason reason)
{
	count(skb, reason);
	return TC_ACT_UNSPEC;
}

static __noinline int drop(struct __sk_buff *skb, enum reason reason)
{
	count(skb, reason);
	return TC_ACT_SHOT;
}
