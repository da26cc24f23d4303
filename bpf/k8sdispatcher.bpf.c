/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* k8sdispatcher: a node's packets from and to other nodes and the world.
 *
 *   k8sd_from_uplink   at tc ingress of every uplink: packets to NodePorts, external IPs
 *                      and load balancers' addresses go to a backend; replies go to pods,
 *                      or to clients outside; packets to a pod of this node are
 *                      redirected into it.
 *   k8sd_to_uplink     at tc egress of every uplink: pods' packets to the world get the
 *                      uplink's address; replies of backends in the node's own network
 *                      get the service's.
 *   k8sd_from_overlay  at tc ingress of the overlay's device: pods' packets from other
 *                      nodes, likewise.
 *
 * The kernel keeps 15 characters of a program's name, hence the short prefix.
 *
 * Limitations. A backend that is neither a pod nor behind an uplink is reached through
 * the stack, and its reply must leave by an uplink. Pods' packets to the world that are
 * neither TCP nor UDP nor echo nor an ICMP error about one of these are dropped. A session
 * keeps the uplink that its first packet came in by.
 */
/* With -DL3 both of the uplinks' programs are those of devices without Ethernet header. */
#ifdef L3
#define k8sd_from_uplink k8sd_from_l3
#define k8sd_to_uplink k8sd_to_l3
#endif

#include "lib/flow.h"
#include "lib/inbound.h"
#include "lib/outbound.h"
#include "lib/partial.h"
#include "lib/uplink_source.h"

SEC("tc")
int k8sd_from_uplink(struct __sk_buff *skb)
{
	struct node_config *config = node_config();
	struct session *session;
	struct packet pkt;
	enum reason reason;

	if (skb->pkt_type == PACKET_OTHERHOST)
		return pass(skb, PASS_OTHER_HOST);
#ifdef L3
	if (unlikely(has_outer_headers(skb)))
		return strip_outer_headers(skb);
#else
	if (unlikely(has_priority_tag(skb)) && !priority_tags_pop(skb))
		return drop(skb, DROP_MALFORMED);
#endif
	pkt.key.src = 0; /* what packet_parse() leaves if it is not IPv4 */
	pkt.key.dst = 0;
	reason = packet_parse(skb, &pkt);
	if (unlikely(reason || !config || skb->pkt_type != PACKET_HOST))
		return unhandled_inbound(skb, &pkt, config, reason);
	if (unlikely(uplink_source_wrong(&pkt, config)))
		return drop(skb, DROP_UPLINK_SOURCE);
	if (is_own_pod(config, pkt.key.src))
		return pass(skb, PASS_LOCAL_SOURCE);
	if (unlikely(pkt.fragment) && fragment_concerns(&pkt, config)) {
		if (client_wrong(&pkt, config))
			return drop(skb, DROP_UPLINK_SOURCE);
		reason = fragment_meet(skb, &pkt, FRAGMENT_INBOUND);
		if (reason)
			return drop(skb, reason);
	}
	if (is_tunnel(config, &pkt.key))
		return pass(skb, PASS_TUNNEL);
	if (is_icmp_error(&pkt))
		return icmp_error_inbound(skb, &pkt);
	session = session_track(skb, &pkt);
	if (session && !session_is_exempt(&pkt, session))
		return session->flags & SESSION_REPLY ? reply_inbound(skb, &pkt, session) :
							forward_inbound(skb, &pkt, session);
	if (session && !is_own_pod(config, pkt.key.dst) && !node_flow_ends(&pkt))
		return pass(skb, PASS_NODE_FLOW);
	if (pkt.fragment == FRAGMENT_LATER)
		return fragment_inbound(skb, &pkt);
	return new_flow_inbound(skb, &pkt, config);
}

#ifndef L3

/* Of any other node, or of its pods? */
static __always_inline bool is_elsewhere(addr_t src)
{
	return remote_find(src) || (node_addr_find(src) && !node_addr_is_local(src));
}

/* The overlay's device accepts every VNI from every address, with any packet in it. A node
 * sends for itself and its own pods, and passes ICMP errors of routers on. REASON_NONE, or
 * why the packet is not from this cluster, or not of that node. The packet's source and ICMP
 * type are 0 where it has none. */
static __always_inline enum reason tunnel_check(const struct node_config *config,
						const struct tunnel *tunnel,
						const struct packet *pkt)
{
	struct vtep_key key = { .addr = bpf_htonl(tunnel->remote) };
	addr_t src = pkt->key.src;
	struct vtep *vtep;

	if (tunnel->vni != config->overlay_vni)
		return DROP_UNKNOWN_VNI;
	if (!(config->flags & NODE_KNOWN_VTEPS))
		return REASON_NONE;
	vtep = bpf_map_lookup_elem(&vteps, &key);
	if (!vtep)
		return DROP_UNKNOWN_VTEP;
	if (vtep->pod_mask ? (src & vtep->pod_mask) == vtep->pod_cidr : is_elsewhere(src))
		return REASON_NONE;
	if (src == vtep->node_addr || src == key.addr)
		return REASON_NONE;
	return is_icmp_error(pkt) && addr_is_host(src) ? REASON_NONE : DROP_TUNNEL_SOURCE;
}

SEC("tc")
int k8sd_from_overlay(struct __sk_buff *skb)
{
	struct node_config *config = node_config();
	struct endpoint *endpoint;
	struct session *session;
	enum reason reason, refused;
	struct tunnel tunnel;
	struct packet pkt;

	pkt.key.src = 0; /* what packet_parse() leaves if it is not IPv4 */
	pkt.icmp_type = 0;
	pkt.fragment = 0;
	reason = packet_parse(skb, &pkt);
	if (config && config->overlay_vni && skb->mark != FRAGMENT_MARK) {
		if (bpf_skb_get_tunnel_key(skb, (struct bpf_tunnel_key *)&tunnel, sizeof(tunnel), 0))
			return drop(skb, DROP_UNKNOWN_VNI);
		refused = tunnel_check(config, &tunnel, &pkt);
		if (likely(!refused))
			refused = csum_check(skb, &pkt, reason);
		if (refused)
			return drop(skb, refused);
	}
	if (reason || !config)
		return unparsed(skb, reason);
	if (is_own_pod(config, pkt.key.src))
		return drop(skb, DROP_TUNNEL_SOURCE);
	if (unlikely(pkt.fragment)) {
		reason = fragment_meet(skb, &pkt, FRAGMENT_INBOUND);
		if (reason)
			return drop(skb, reason);
	}
	if (is_icmp_error(&pkt))
		return icmp_error_inbound(skb, &pkt);
	session = session_track(skb, &pkt);
	if (session && session->flags & SESSION_REPLY && !session_is_exempt(&pkt, session))
		return reply_inbound(skb, &pkt, session);
	endpoint = endpoint_find(pkt.key.dst);
	if (endpoint)
		return direct_inbound(skb, &pkt, config, endpoint);
	return pass(skb, pkt.fragment ? PASS_FRAGMENT : PASS_NO_SERVICE);
}

#endif

SEC("tc")
int k8sd_to_uplink(struct __sk_buff *skb)
{
	struct node_config *config = node_config();
	struct session *session;
	struct packet pkt;
	enum reason reason;

	if (skb->tc_index == TC_INDEX_SENT)
		return uplink_sent(skb);
	pkt.key.src = 0; /* what packet_parse() leaves if it is not IPv4 */
	pkt.key.dst = 0;
	reason = packet_parse(skb, &pkt);
	if (!config || reason == DROP_FRAGMENT_TINY)
		return unparsed(skb, reason);
	if (reason)
		return pass_unmasqueraded(skb, &pkt, config, reason);
	if (unlikely(pkt.fragment)) {
		reason = fragment_meet(skb, &pkt, FRAGMENT_PASSING);
		if (reason)
			return drop(skb, reason);
	}
	if (is_tunnel(config, &pkt.key) && !is_own_pod(config, pkt.key.src))
		return pass(skb, PASS_TUNNEL);
	if (is_icmp_error(&pkt))
		return icmp_error_outbound(skb, &pkt, config);
	session = session_track(skb, &pkt);
	if (session && session->flags & SESSION_REPLY && session->ifindex)
		return reply_routed(skb, &pkt, session);
	if (!is_own_pod(config, pkt.key.src)) {
		/* A TCP socket of the node is found by itself: see node_socket(). */
		if (pkt.key.proto != IPPROTO_TCP || skb->ingress_ifindex)
			node_flow_note(skb, &pkt);
		return pass(skb, pkt.fragment == FRAGMENT_LATER ? PASS_FRAGMENT : PASS_NO_SESSION);
	}
	return masquerade(skb, &pkt, config);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
