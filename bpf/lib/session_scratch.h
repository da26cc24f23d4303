/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Arguments of functions that the verifier checks once (they are not static, see
 * timed_out()): these take numbers only, so pointers go by way of a scratch. A program is
 * not interrupted by another one on its CPU.
 */
#pragma once

#include <stdbool.h>

#include "types.h"
#include <bpf/bpf_helpers.h>

/* Bytes of a segment that segment_sum_right() reads at a time. */
#define SUM_CHUNK 256

/* A TCP segment: see struct packet. */
struct segment {
	__u32 seq;
	__u32 seq_end;
	__u32 ack;
	__u32 l4; /* offset of its header in the frame */
	__u32 len; /* bytes of header and payload */
	__u8 flags;
	__u8 fragment;
};

/* The tries for a source port: see snat.h. Here, where the verifier does not know their values, it
 * looks at each try once. */
struct port_tries {
	__u32 count;
	__u32 scarce;
	__u32 far_end;
};

struct flow_scratch {
	struct session_key flow; /* of session_refresh(), tcp_track(), source_note() */
	struct segment segment; /* of tcp_track() */
	struct session_key key; /* of the functions of session_assured.h */
	struct session session;
	struct session_key claim; /* of reply_key_claim(), beside `flow`: the key of replies */
	struct session claim_value;
	struct session created; /* a new flow, where the stack is full */
	struct port_tries tries; /* of snat_claim() */
	__u8 chunk[SUM_CHUNK] __attribute__((aligned(8)));
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
