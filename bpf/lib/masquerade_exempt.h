/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which packets keep their pod's address where they leave the node. */
#pragma once

#include "ip4.h"
#include "maps.h"
#include "session.h"
#include "verdict.h"

/* Is the destination exempt: reached with the pod's own address? */
static __always_inline bool is_masquerade_exempt(const struct node_config *config, addr_t addr)
{
	struct cidr_key key = { .prefixlen = ADDR_BITS, .addr = addr };

	return !(config->flags & NODE_MASQUERADE) || bpf_map_lookup_elem(&no_masquerade, &key);
}

/* A flow that exempt_create() noted: nothing is translated. */
static __always_inline bool session_is_exempt(const struct packet *pkt,
					      const struct session *session)
{
	return session->flags & SESSION_MASQUERADE && session->dst == pkt->key.dst;
}

/* Writes one entry of an exempt flow, unless a live flow that is translated has the key:
 * its packets would change their source in the middle of a connection. */
static __noinline bool exempt_entry(const struct session_key *key, const struct session *value)
{
	struct session *found;

	if (!session_write(key, value, BPF_NOEXIST))
		return true;
	found = session_read(key);
	if (found && found->state != STATE_CLOSED &&
	    !session_expired(found, key->proto, value->last_seen)) {
		if (found->src != key->src || found->dst != key->dst)
			return false;
		if (!((found->flags ^ value->flags) & SESSION_STACK))
			return true;
	}
	return !session_write(key, value, BPF_ANY);
}

/* Creates the session of a flow that is not translated, of which this is the first packet.
 * `forward`: its key from this side to the world, of ZONE_MASQUERADE; `flags`: 0 or
 * SESSION_STACK. */
static __noinline void exempt_create(const struct packet *pkt, const struct session_key *forward,
				     enum session_state state, __u8 flags)
{
	struct session_key back = reverse_tuple(forward, ZONE_SERVICE);
	struct session value = {
		.src = forward->src,
		.dst = forward->dst,
		.sport = forward->sport,
		.dport = forward->dport,
		.state = state,
		.flags = SESSION_MASQUERADE | flags,
	};
	struct session reply;

	value.created = bpf_ktime_get_ns();
	value.last_seen = value.created;
	reverse_entry(forward, &value, &reply);
	if (pkt->key.proto == IPPROTO_TCP)
		window_begin(pkt->key.src == forward->src ? &value : &reply, pkt);
	if (!exempt_entry(forward, &value) || !exempt_entry(&back, &reply))
		return;
	event(EVENT_SESSION_CREATED);
	session_note(forward, &value);
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
