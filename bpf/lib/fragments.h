/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Only the first fragment of a datagram carries the ports. They are stored for the
 * others; one that comes before the first passes untouched, as does every fragment of a
 * datagram that is not translated, so that all of them take one path to where they are
 * reassembled.
 */
#pragma once

#include "maps.h"
#include "packet.h"

static __always_inline void fragment_key(const struct packet *pkt, struct fragment_key *key)
{
	key->src = pkt->key.src;
	key->dst = pkt->key.dst;
	key->id = pkt->ip_id;
	key->proto = pkt->key.proto;
	key->reserved = 0;
}

static __noinline void fragment_store(const struct packet *pkt)
{
	struct fragment ports = { .sport = pkt->key.sport, .dport = pkt->key.dport };
	struct fragment_key key;

	fragment_key(pkt, &key);
	bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
}

/* Stores the ports, if the packet is a first fragment. */
static __always_inline void fragment_note(const struct packet *pkt)
{
	if (unlikely(pkt->fragment == FRAGMENT_FIRST))
		fragment_store(pkt);
}

/* Looks up the ports of a later fragment; false: its first was not seen. */
static __noinline bool fragment_recall(struct packet *pkt)
{
	struct fragment_key key;
	struct fragment *ports;

	fragment_key(pkt, &key);
	ports = bpf_map_lookup_elem(&fragments, &key);
	if (!ports)
		return false;
	pkt->key.sport = ports->sport;
	pkt->key.dport = ports->dport;
	return true;
}
