/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Picks the backend of a new flow: the one that its client had before (sessionAffinity
 * ClientIP), the one that the client's hash selects (Maglev), or any, by weight.
 */
#pragma once

#include "affinity.h"
#include "bounded.h"
#include "config.h"
#include "count.h"
#include "hash.h"
#include "maps.h"
#include "service.h"

/* Every node maps the same hash to the same backend: it includes neither the frontend's
 * address, which may be a node's, nor the service's id. With affinity all flows of a
 * client have one hash. */
static __always_inline __u32 client_hash(const struct service *service,
					 const struct session_key *key)
{
	__u32 hash = hash_word(0, key->src);

	if (service->affinity_seconds)
		return hash;
	return hash_word(hash, ((__u32)key->sport << 16 | key->dport) ^ key->proto << 8);
}

/* Maglev (Eisenbud et al., NSDI 2016, 3.4): index of the backend in the hash's slot of the
 * service's table. NOT_FOUND where there is no such table. */
static __noinline __u32 maglev_index(const struct service *service, __u32 hash)
{
	struct node_config *config = node_config();
	struct maglev_slots *slots;
	__u32 size, slot, element, number;

	if (!config || !config->maglev_size)
		return NOT_FOUND;
	size = config->maglev_size;
	slot = hash % size;
	element = service->table * ((size + MAGLEV_SLOTS - 1) / MAGLEV_SLOTS) + slot / MAGLEV_SLOTS;
	slots = bpf_map_lookup_elem(&maglev, &element);
	if (!slots)
		return NOT_FOUND;
	number = slots->backend[bounded(slot, MAGLEV_SLOTS - 1)];
	return number < service->count ? service->first + number : NOT_FOUND;
}

/* With affinity, all flows of a client that no entry is found for get the same backend, too:
 * of a client outside it may have been evicted in a flood. */
static __always_inline __u32 backend_ticket(const struct service *service, __u64 client)
{
	if (!service->affinity_seconds)
		return bpf_get_prandom_u32();
	return hash_word(hash_word(service->id, client), client >> 32);
}

/* What `client` is in this object: see enum affinity_kind. No argument of backend_for(), whose
 * sixth it would be: clang drops one that is constant, but Linux 7.2 counts those that BTF names. */
#ifndef AFFINITY_KIND
#define AFFINITY_KIND AFFINITY_ADDRESS
#endif

/* A backend for a new flow, and its index; NULL: the service has none. `client` is the key of
 * affinity, `hash` that of Maglev. `trusted`: see affinity_index(). */
static __noinline struct backend *backend_for(const struct service *service, __u64 client,
					      __u32 hash, bool trusted, __u32 *found)
{
	struct affinity_key key = {
		.client = client, .service_id = service->id, .kind = AFFINITY_KIND
	};
	struct backend *backend;
	__u32 index = NOT_FOUND;
	bool fresh;

	if (!service->count)
		return NULL;
	if (service->affinity_seconds)
		index = affinity_index(service, &key, trusted);
	fresh = index == NOT_FOUND;
	if (fresh && service->flags & SERVICE_MAGLEV)
		index = maglev_index(service, hash);
	if (index == NOT_FOUND)
		index = backend_index(service, backend_ticket(service, client));
	backend = bpf_map_lookup_elem(&backends, &index);
	if (!backend)
		event(EVENT_BACKEND_MISSING);
	else if (fresh && service->affinity_seconds)
		affinity_store(&key, backend, index, trusted);
	*found = index;
	return backend;
}

/* The same for a packet: `key` is its flow's. */
static __always_inline struct backend *backend_pick(const struct service *service,
						    const struct session_key *key, bool trusted)
{
	__u32 hash = service->flags & SERVICE_MAGLEV ? client_hash(service, key) : 0;
	__u32 index;

	return backend_for(service, key->src, hash, trusted, &index);
}
