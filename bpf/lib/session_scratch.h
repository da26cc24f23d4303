/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Arguments of functions that the verifier checks once (they are not static, see
 * timed_out()): these take numbers only, so pointers go by way of a scratch. A program is
 * not interrupted by another one on its CPU.
 */
#pragma once

#include <stdbool.h>

#include "types.h"
#include <bpf/bpf_helpers.h>

struct flow_scratch {
	struct session_key flow; /* of session_refresh(), tcp_track(), source_note() */
	struct session_key key; /* of the functions of session_assured.h */
	struct session session;
	struct session_key claim; /* of reply_key_claim(), beside `flow`: the key of replies */
	struct session claim_value;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_scratch);
} flow_scratch SEC(".maps");

static __always_inline struct flow_scratch *scratch_get(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&flow_scratch, &key);
}

/* Names the flow for session_refresh() and tcp_track(). */
static __always_inline bool scratch_flow(const struct session_key *key)
{
	struct flow_scratch *scratch = scratch_get();

	if (!scratch)
		return false;
	scratch->flow = *key;
	return true;
}
