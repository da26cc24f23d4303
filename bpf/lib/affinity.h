/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sessionAffinity ClientIP: which backend a client of a Service got.
 *
 * The address of a client outside may be forged, by a flood of new flows from as many
 * addresses. So it is in `affinity`, which evicts the oldest, until a connection from there
 * is established; then in `affinity_proven`, with pods and the node's processes. There a
 * client has SHARE_AFFINITY_SLOTS entries: with more Services, the later one takes the slot
 * of an earlier one of its own.
 */
#pragma once

#include "service.h"
#include "share.h"

static __always_inline struct affinity_proven_key affinity_slot(const struct affinity_key *key)
{
	struct affinity_proven_key slot = {
		.client = key->client,
		.slot = key->service_id % SHARE_AFFINITY_SLOTS,
		.kind = key->kind,
	};

	return slot;
}

/* The API's default for how long an affinity lasts (timeoutSeconds). What a Service left in a
 * slot before that is no excess of the client. */
#define AFFINITY_DEFAULT (3 * 3600 * SECOND)

/* Stores the backend of a proven client. */
static __noinline void affinity_prove(const struct affinity_key *key, const struct affinity *entry)
{
	struct affinity_proven_key slot = affinity_slot(key);
	struct affinity_proven *former = bpf_map_lookup_elem(&affinity_proven, &slot);
	struct affinity_proven value = {
		.last_used = entry->last_used,
		.addr = entry->addr,
		.port = entry->port,
		.index = entry->index,
		.service_id = key->service_id,
	};

	if (former && former->service_id != value.service_id &&
	    (__s64)(value.last_used - former->last_used) < (__s64)AFFINITY_DEFAULT)
		share_exceeded(key->kind == AFFINITY_ADDRESS ? key->client : 0, 0, OF_AFFINITY, 1);
	bpf_map_update_elem(&affinity_proven, &slot, &value, BPF_ANY);
}

/* Index of the backend that an entry has, if it is not expired and the backend still
 * exists. */
static __always_inline __u32 affinity_valid(const struct service *service, __u64 now,
					    __u64 last_used, __u32 index, addr_t addr, __u32 port)
{
	if ((__s64)(now - last_used) > (__s64)(service->affinity_seconds * SECOND))
		return NOT_FOUND;
	return backend_find(service->first, service->count, index, addr, port);
}

/* Index of the backend that the client had. Each new flow renews it. `trusted`: no packet
 * can forge the client. */
static __noinline __u32 affinity_index(const struct service *service,
				       const struct affinity_key *key, bool trusted)
{
	struct affinity_proven_key slot = affinity_slot(key);
	struct affinity_proven *proven = bpf_map_lookup_elem(&affinity_proven, &slot);
	__u64 now = bpf_ktime_get_ns();
	__u32 index = NOT_FOUND;
	struct affinity *entry;

	if (proven && proven->service_id == key->service_id)
		index = affinity_valid(service, now, proven->last_used, proven->index,
				       proven->addr, proven->port);
	if (proven && index != NOT_FOUND) {
		proven->index = index;
		proven->last_used = now;
		return index;
	}
	entry = bpf_map_lookup_elem(&affinity, key);
	if (!entry)
		return NOT_FOUND;
	index = affinity_valid(service, now, entry->last_used, entry->index, entry->addr,
			       entry->port);
	if (index == NOT_FOUND)
		return NOT_FOUND;
	entry->index = index;
	entry->last_used = now;
	if (trusted) /* of a release that had no `affinity_proven` */
		affinity_prove(key, entry);
	return index;
}

static __noinline void affinity_store(const struct affinity_key *key,
				      const struct backend *backend, __u32 index, bool trusted)
{
	struct affinity value = {
		.last_used = bpf_ktime_get_ns(),
		.addr = backend->addr,
		.port = backend->port,
		.index = index,
	};

	if (trusted)
		affinity_prove(key, &value);
	else
		bpf_map_update_elem(&affinity, key, &value, BPF_ANY);
}
