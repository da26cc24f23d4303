/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Configuration that programs read live, with the defaults for fields that are zero:
 * programs work before the first agent runs.
 */
#pragma once

#include <linux/in.h>
#include <stdbool.h>

#include "maps.h"

#define SECOND 1000000000ULL

/* RFC 5382, REQ-5 wants at least 2 h 4 min for an idle connection; five days are
 * nf_conntrack's default, one hour half-closed is what kube-proxy sets
 * (conntrack-tcp-timeout-close-wait). */
#define DEFAULT_TCP_ESTABLISHED (5 * 24 * 3600 * SECOND)
#define DEFAULT_TCP_CLOSING (3600 * SECOND)
/* 2 MSL: stragglers still find their backend. */
#define DEFAULT_TCP_CLOSED (120 * SECOND)
/* After a reset: nf_conntrack_tcp_timeout_close. */
#define RESET_WAIT (10 * SECOND)
/* A SYN is repeated for about two minutes, each time refreshing the session. */
#define DEFAULT_TCP_NEW (60 * SECOND)
/* RFC 4787, REQ-5: not less than two minutes. */
#define DEFAULT_UDP (120 * SECOND)
/* RFC 5508, REQ-1: not less than one minute. */
#define DEFAULT_ICMP (120 * SECOND)

/* A source's share: half of the flows that the default table has room for, and three
 * quarters of the ports to one destination. */
#define DEFAULT_FLOWS 131072
#define DEFAULT_SOURCE_FLOWS (DEFAULT_FLOWS / 2)
#define DEFAULT_SOURCE_PORTS 192
/* Smaller ranges of ports are not shared out. */
#define SHARED_PORTS 1024

/* How many source ports are tried for a flow whose own is in use. */
#define PORT_TRIES 32
/* The same for a source that found hardly any a moment ago. */
#define PORT_TRIES_SHORT 8
#define PORT_FIRST 1024

/* Source ports for SNAT and masquerade: below those of the node's own processes
 * (ip_local_port_range), and below NodePorts. */
#define SNAT_FIRST 1024
#define SNAT_LAST 29999

static __always_inline __u64 or_default(__u64 configured, __u64 fallback)
{
	return configured ? configured : fallback;
}

static __always_inline struct node_config *node_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline struct session_limits *session_limits_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&session_limits, &zero);
}

static __always_inline bool is_own_pod(const struct node_config *config, addr_t addr)
{
	return config->pod_mask && (addr & config->pod_mask) == config->pod_cidr;
}

/* Outer packets of the overlay. The inner ones arrive at the overlay's device. */
static __always_inline bool is_tunnel(const struct node_config *config,
				      const struct session_key *key)
{
	return key->proto == IPPROTO_UDP && config->overlay_port &&
	       key->dport == config->overlay_port;
}

/* Nanoseconds after which a session in this state is dead if idle. */
static __always_inline __u64 session_timeout(__u8 proto, __u8 state)
{
	struct node_config *c = node_config();

	if (!c)
		return 0;
	if (proto == IPPROTO_ICMP)
		return or_default(c->icmp_timeout, DEFAULT_ICMP);
	if (proto != IPPROTO_TCP)
		return or_default(c->udp_timeout, DEFAULT_UDP);
	switch (state) {
	case STATE_NEW:
		return or_default(c->tcp_new_timeout, DEFAULT_TCP_NEW);
	case STATE_ESTABLISHED:
		return or_default(c->tcp_established_timeout, DEFAULT_TCP_ESTABLISHED);
	case STATE_CLOSING:
		return or_default(c->tcp_closing_timeout, DEFAULT_TCP_CLOSING);
	default:
		return or_default(c->tcp_closed_timeout, DEFAULT_TCP_CLOSED);
	}
}
