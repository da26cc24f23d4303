/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Layouts of struct session in former releases, and their conversion to today's and back.
 * A released layout never changes; the version numbers are those of src/bpf/schema.ts.
 */
#pragma once

#include "types.h"
#include <bpf/bpf_helpers.h>

#define SESSION_VERSION 3 /* of struct session */

struct session_v1 { /* release 0.1.0 */
	ns_t last_seen;
	addr_t src;
	addr_t dst;
	port_be sport;
	port_be dport;
	__u32 service_id;
	__u8 state;
	__u8 flags;
	__u16 reserved;
	__u32 ifindex;
};

struct session_v2 {
	ns_t last_seen;
	addr_t src;
	addr_t dst;
	port_be sport;
	port_be dport;
	__u32 service_id;
	__u8 state;
	__u8 flags;
	__u16 reserved;
	__u32 ifindex;
	__u64 created;
};

union session_former {
	struct session_v1 v1;
	struct session_v2 v2;
	struct session current;
};

/* Which table is authoritative: see session_converting.h. */
enum conversion_phase : __u32 {
	CONVERSION_FORMER = 0,
	CONVERSION_MIRRORED = 1,
	CONVERSION_NEW = 2,
};

/* One element. Also read by later versions of pcnk: its layout stays. */
struct conversion {
	enum conversion_phase phase;
	__u32 map; /* the kernel's id of the new table */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct conversion);
} conversion SEC(".maps");

/* The version in `sessions_former`. The loader sets it; for the verifier it is a constant,
 * which removes the branches of the others. */
const volatile __u32 former_version SEC(".rodata.former") = SESSION_VERSION;

/* Version 2 is version 1 with `created`. What is known of a TCP connection is learnt from its
 * next segments; one that was reset lives on when they come. */
static __always_inline void session_from_former(const union session_former *former,
						struct session *session)
{
	if (former_version == SESSION_VERSION) {
		*session = former->current;
		return;
	}
	*session = (struct session){};
	session->last_seen = former->v1.last_seen;
	session->src = former->v1.src;
	session->dst = former->v1.dst;
	session->sport = former->v1.sport;
	session->dport = former->v1.dport;
	session->service_id = former->v1.service_id;
	session->state = former->v1.state;
	session->flags = former->v1.flags;
	session->ifindex = former->v1.ifindex;
	if (session->state == STATE_CLOSED)
		session->tcp = SESSION_WATCH;
	if (former_version == 2)
		session->created = former->v2.created;
}

static __always_inline void session_to_former(const struct session *session,
					      union session_former *former)
{
	if (former_version == SESSION_VERSION) {
		former->current = *session;
		return;
	}
	former->v1.last_seen = session->last_seen;
	former->v1.src = session->src;
	former->v1.dst = session->dst;
	former->v1.sport = session->sport;
	former->v1.dport = session->dport;
	former->v1.service_id = session->service_id;
	former->v1.state = session->state;
	former->v1.flags = session->flags;
	former->v1.reserved = 0;
	former->v1.ifindex = session->ifindex;
	if (former_version == 2)
		former->v2.created = session->created;
}

/* What changes in an entry while its flow lives: last_seen, state and flags. */
static __always_inline void session_save_former(const struct session *session,
						union session_former *former)
{
	if (former_version == SESSION_VERSION) {
		former->current.last_seen = session->last_seen;
		former->current.state = session->state;
		former->current.flags = session->flags;
		return;
	}
	former->v1.last_seen = session->last_seen;
	former->v1.state = session->state;
	former->v1.flags = session->flags;
}
