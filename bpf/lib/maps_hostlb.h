/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps that only hostlb needs; pinned beside the others. */
#pragma once

#include "hostlb_types.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hostlb_config);
} hostlb_config SEC(".maps");

/* Storage local to sockets, not an LRU keyed by their cookies: it cannot fill up,
 * nothing has to be aged, and a closed socket leaves nothing behind. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct hostlb_socket);
} hostlb_sockets SEC(".maps");

/* Entries are deleted when their socket closes; an LRU for sockets whose release no hook
 * saw. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct hostlb_connection_key);
	__type(value, struct hostlb_connection);
} hostlb_connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} hostlb_counters SEC(".maps");

/* Not inlined, for the sake of code size. */
static __noinline void hostlb_count(enum hostlb_event event)
{
	__u32 key = event;
	__u64 *counter = bpf_map_lookup_elem(&hostlb_counters, &key);

	if (counter)
		*counter += 1;
}
