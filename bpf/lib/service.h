/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Looks up services, and the indices of their backends. */
#pragma once

#include "host_port.h"
#include "ip4.h"
#include "maps.h"

/* Extents are at most 2^20 backends long: 20 steps of a binary search. */
#define EXTENT_BITS 20

static __always_inline struct service *service_find(addr_t addr, __be16 port, __u8 proto,
						    __u8 scope)
{
	struct service_key key = { .addr = addr, .port = port, .proto = proto, .scope = scope };

	return bpf_map_lookup_elem(&services, &key);
}

/* loadBalancerSourceRanges: is the service for this client? */
static __always_inline bool source_allowed(const struct service *service, addr_t client)
{
	struct source_range_key key = {
		.prefixlen = 32 + ADDR_BITS, .service_id = service->id, .addr = client
	};

	return !(service->flags & SERVICE_SOURCE_RANGES) ||
	       bpf_map_lookup_elem(&source_ranges, &key);
}

/* By weight: the first backend of the extent whose cumulative weight is above the ticket,
 * which is below their sum. */
static __noinline __u32 index_by_weight(__u32 first, __u32 count, __u32 ticket)
{
	__u32 low = first, high = first + count - 1;
	int i;

	for (i = 0; i < EXTENT_BITS && low < high; i++) {
		__u32 middle = low + (high - low) / 2;
		struct backend *backend = bpf_map_lookup_elem(&backends, &middle);

		if (!backend)
			break;
		if (backend->weight_end > ticket)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Index of a backend for a new flow, by a number of 32 bits of which all are equally likely.
 * The service must have one. A bias of count / 2^32 remains. */
static __always_inline __u32 backend_index(const struct service *service, __u64 number)
{
	__u32 first = service->first, count = service->count, total = service->total_weight;

	return total ? index_by_weight(first, count, number * total >> 32) :
		       first + (number * count >> 32);
}

/* How many backends of an extent are searched for one that moved. A flow whose service
 * has more may get another backend when the service changes. */
#define SCAN_LIMIT 1024

#define NOT_FOUND (~0U)

static __always_inline bool backend_is(__u32 index, addr_t addr, __u32 port)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &index);

	return backend && backend->addr == addr && backend->port == port;
}

/* Index of a backend in an extent; NOT_FOUND: it is not there. A change of the service
 * moves its backends, so the former index is only a first guess. Not static: see
 * timed_out(). */
__noinline __u32 backend_find(__u32 first, __u32 count, __u32 guess, addr_t addr, __u32 port)
{
	__u32 i;

	if (guess - first < count && backend_is(guess, addr, port))
		return guess;
	for (i = 0; i < SCAN_LIMIT && i < count; i++)
		if (backend_is(first + i, addr, port))
			return first + i;
	return NOT_FOUND;
}

/* Has the TCP frontend, a Service's or a hostPort, this backend? 1 also where the extent is
 * too long to tell. A NodePort is open at every address of a node. Not static: see
 * timed_out(). */
__noinline __u32 frontend_has(addr_t frontend, __u32 port, __u32 scope, addr_t backend,
			      __u32 backend_port)
{
	struct service *service = service_find(frontend, port, IPPROTO_TCP, scope);
	struct host_port *pod;

	if (!service)
		service = service_find(0, port, IPPROTO_TCP, scope);
	if (!service) {
		pod = host_port_find(frontend, port, IPPROTO_TCP);
		return pod && pod->addr == backend && pod->port == backend_port;
	}
	if (service->count > SCAN_LIMIT)
		return 1;
	return backend_find(service->first, service->count, service->first, backend,
			    backend_port) != NOT_FOUND;
}
