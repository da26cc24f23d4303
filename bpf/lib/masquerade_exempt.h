/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which packets keep their pod's address where they leave the node. */
#pragma once

#include "ip4.h"
#include "maps.h"
#include "verdict.h"

static __always_inline bool is_own_pod(const struct node_config *config, addr_t addr)
{
	return config->pod_mask && (addr & config->pod_mask) == config->pod_cidr;
}

/* Is the destination exempt: reached with the pod's own address? */
static __always_inline bool is_masquerade_exempt(const struct node_config *config, addr_t addr)
{
	struct cidr_key key = { .prefixlen = ADDR_BITS, .addr = addr };

	return !(config->flags & NODE_MASQUERADE) || bpf_map_lookup_elem(&no_masquerade, &key);
}

/* A flow that exempt_inbound() created: nothing is translated. */
static __always_inline bool session_is_exempt(const struct packet *pkt,
					      const struct session *session)
{
	return session->flags & SESSION_MASQUERADE && session->dst == pkt->key.dst;
}

/* A packet that cannot be masqueraded: passes under `reason` where it need not be, else it
 * is dropped. No reply would reach a pod's address from there, and it would disclose the
 * pods' network. */
static __noinline int pass_unmasqueraded(struct __sk_buff *skb, const struct packet *pkt,
					 const struct node_config *config, enum reason reason)
{
	if (!is_own_pod(config, pkt->key.src) || is_masquerade_exempt(config, pkt->key.dst))
		return pass(skb, reason);
	if (reason == PASS_FRAGMENT)
		return drop(skb, DROP_FRAGMENT);
	if (reason == PASS_PROTOCOL || reason == PASS_TRUNCATED)
		return drop(skb, DROP_PROTOCOL);
	return drop(skb, DROP_ICMP);
}
