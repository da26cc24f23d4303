/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sources that no packet has which comes in by an uplink (RFC 2827, 3704): a machine there can
 * write any. It may be a client, another node, or a router with an ICMP error; it is no pod
 * whose packets come by the tunnel, nor this node, nor a Service, nor no host at all.
 *
 * Checked ahead of sessions, which would follow the packet: most packets cost comparisons, and
 * one that is to the pods' network a look-up. To all else, what belongs to no session.
 *
 * Limitations. An address of a client or another node may be forged. With direct routing, so
 * may those of other nodes' pods. A TCP segment to the node itself that is no SYN is left to
 * its stack. The programs of a conversion, which run for seconds, check nothing.
 */
#pragma once

#include <linux/if_packet.h>

#include "config.h"
#include "flow.h"
#include "node_addrs.h"
#include "remotes.h"
#include "service.h"
#include "verdict.h"

#ifndef L3
/* Tags of a frame whose VLAN is 0, which the stack takes for none, however many there are. */
#define PRIORITY_TAGS_MAX 2

static __always_inline bool has_priority_tag(struct __sk_buff *skb)
{
	return skb->vlan_present && !(skb->vlan_tci & 0xfff);
}

/* Removes them, or what follows would pass as another VLAN's. False: there are more. */
static __noinline bool priority_tags_pop(struct __sk_buff *skb)
{
	int i;

	for (i = 0; i < PRIORITY_TAGS_MAX && has_priority_tag(skb); i++)
		if (bpf_skb_vlan_pop(skb))
			return false;
	return !has_priority_tag(skb);
}
#endif

#ifdef CONVERTING
#define uplink_source_wrong(pkt, config) false
#define client_wrong(pkt, config) false
#define unhandled_inbound(skb, pkt, config, reason)                                        \
	((skb)->pkt_type != PACKET_HOST ? pass(skb, PASS_OTHER_HOST) : unparsed(skb, reason))
#else

/* A pod of another node, whose packets come by the tunnel alone? */
static __always_inline bool is_tunnelled(const struct node_config *config,
					 const struct remote *remote)
{
	return config->flags & NODE_TUNNELLED && remote->mode == REMOTE_OVERLAY;
}

/* Of a packet to the pods' network, not from there. Another Service's address would be a
 * reply that only the pod's own node can make. */
static __noinline bool source_wrong_to_pod(const struct packet *pkt,
					   const struct node_config *config)
{
	addr_t src = pkt->key.src;
	struct remote *remote = remote_find(src);

	if (remote)
		return is_tunnelled(config, remote);
	return node_addr_is_local(src) || service_find(src, 0, 0, SCOPE_CLUSTER);
}

/* Of a packet with the source of a pod of this node. One that is not masqueraded may return to
 * this node, by a load balancer outside. */
static __noinline bool own_source_wrong(const struct packet *pkt, const struct node_config *config)
{
	if (config->flags & NODE_PODS_HIDDEN)
		return true;
	if (is_own_pod(config, pkt->key.dst))
		return config->flags & NODE_TUNNELLED;
	return !node_addr_is_local(pkt->key.dst) &&
	       !service_find(pkt->key.dst, 0, 0, SCOPE_EXTERNAL);
}

/* DHCP and IGMP have a reason to say 0.0.0.0, to a group or to all. */
static __always_inline bool uplink_source_wrong(const struct packet *pkt,
						const struct node_config *config)
{
	if (!(config->flags & NODE_UPLINK_CHECK))
		return false;
	if (unlikely(!addr_is_host(pkt->key.src)))
		return pkt->key.src || addr_is_host(pkt->key.dst);
	if (unlikely(is_own_pod(config, pkt->key.src)))
		return own_source_wrong(pkt, config);
	return is_own_pod(config, pkt->key.dst) && source_wrong_to_pod(pkt, config);
}

/* Of a packet of no session that is not to the pods' network. Whose address is written into a
 * Service as an external one may be a client all the same. */
static __noinline bool client_wrong(const struct packet *pkt, const struct node_config *config)
{
	addr_t src = pkt->key.src;
	struct remote *remote;

	if (!(config->flags & NODE_UPLINK_CHECK) || is_own_pod(config, pkt->key.dst))
		return false;
	remote = remote_find(src);
	if (remote)
		return config->flags & NODE_PODS_HIDDEN && is_tunnelled(config, remote);
	return node_addr_is_local(src) || (service_find(src, 0, 0, SCOPE_CLUSTER) &&
					   !service_find(src, 0, 0, SCOPE_EXTERNAL));
}

/* A packet that concerns no program here, but the stack. */
static __noinline int unhandled_inbound(struct __sk_buff *skb, const struct packet *pkt,
					const struct node_config *config, enum reason reason)
{
	bool host = skb->pkt_type == PACKET_HOST;

	if (config && pkt->key.src &&
	    (uplink_source_wrong(pkt, config) ||
	     ((host || addr_is_host(pkt->key.dst)) && client_wrong(pkt, config))))
		return drop(skb, DROP_UPLINK_SOURCE);
	return host ? unparsed(skb, reason) : pass(skb, PASS_OTHER_HOST);
}
#endif
