/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* k8sdispatcher: where a node meets other nodes and the world.
 *
 *   k8sd_from_uplink   at tc ingress of every uplink: clients of NodePorts, external
 *                      IPs and load balancers' addresses are led to a backend; replies
 *                      find back to pods, or to clients that this node stands in for;
 *                      what is for a pod of this node is handed over directly.
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
#include <stddef.h>
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/types.h"
#include "lib/maps.h"
#include "lib/reasons.h"
#include "lib/verdict.h"
#include "lib/config.h"
#include "lib/packet.h"
#include "lib/fragments.h"
#include "lib/service.h"
#include "lib/node_addrs.h"
#include "lib/session.h"
#include "lib/deliver.h"
#include "lib/nat.h"
#include "lib/icmp.h"
#include "lib/remotes.h"
#include "lib/uplinks.h"
#include "lib/snat.h"
#include "lib/answer.h"
#include "lib/nodeport.h"
#include "lib/masquerade.h"
#include "lib/inbound.h"

/* The overlay's own packets. What is inside comes by again at the overlay's device. */
static __always_inline bool is_tunnel(const struct node_config *config, const struct packet *pkt)
{
	return pkt->key.proto == IPPROTO_UDP && config->overlay_port &&
	       pkt->key.dport == config->overlay_port;
}

/* A flow noted by masquerade_except(): nothing is translated. */
static __always_inline bool is_untranslated(const struct packet *pkt,
					    const struct session *session)
{
	return session->flags & SESSION_MASQUERADE && session->dst == pkt->key.dst;
}

SEC("tc")
int k8sd_from_uplink(struct __sk_buff *skb)
{
	struct node_config *config = node_config();
	struct session *session;
	struct packet pkt;
	enum reason reason;

	if (skb->pkt_type != PACKET_HOST)
		return pass(skb, PASS_OTHER_HOST);
	reason = packet_parse(skb, &pkt);
	if (reason || !config)
		return pass(skb, reason);
	if (is_tunnel(config, &pkt))
		return pass(skb, PASS_TUNNEL);
	if (is_own_pod(config, pkt.key.src))
		return pass(skb, PASS_LOCAL_SOURCE);
	if (icmp_is_error(pkt.icmp_type) && !pkt.fragment)
		return icmp_error_inbound(skb, &pkt);
	if (pkt.fragment == FRAGMENT_LATER && !fragment_recall(&pkt))
		return pass(skb, PASS_FRAGMENT);
	session = session_find(&pkt);
	if (session && !is_untranslated(&pkt, session))
		return session->flags & SESSION_REPLY ? reply_inbound(skb, &pkt, session) :
							forward_inbound(skb, &pkt, session);
	if (pkt.fragment == FRAGMENT_LATER)
		return fragment_inbound(skb, &pkt);
	return other_inbound(skb, &pkt, config);
}

/* The overlay's device takes in every network identifier, from everybody; `tunnel` is what
 * the packet came in. REASON_NONE, or why it is none of this cluster's. */
static __always_inline enum reason tunnel_check(const struct node_config *config,
						const struct tunnel *tunnel)
{
	struct vtep_key key = { .addr = bpf_htonl(tunnel->remote) };

	if (tunnel->vni != config->overlay_vni)
		return DROP_UNKNOWN_VNI;
	if (config->flags & NODE_KNOWN_VTEPS && !bpf_map_lookup_elem(&vteps, &key))
		return DROP_UNKNOWN_VTEP;
	return REASON_NONE;
}

SEC("tc")
int k8sd_from_overlay(struct __sk_buff *skb)
{
	struct node_config *config = node_config();
	struct endpoint *endpoint;
	struct session *session;
	struct tunnel tunnel;
	struct packet pkt;
	enum reason reason;

	if (config && config->overlay_vni) {
		if (bpf_skb_get_tunnel_key(skb, (struct bpf_tunnel_key *)&tunnel, sizeof(tunnel), 0))
			return drop(skb, DROP_UNKNOWN_VNI);
		reason = tunnel_check(config, &tunnel);
		if (reason)
			return drop(skb, reason);
	}
	reason = packet_parse(skb, &pkt);
	if (reason || !config)
		return pass(skb, reason);
	if (is_own_pod(config, pkt.key.src))
		return pass(skb, PASS_LOCAL_SOURCE);
	if (icmp_is_error(pkt.icmp_type) && !pkt.fragment)
		return icmp_error_inbound(skb, &pkt);
	if (pkt.fragment == FRAGMENT_LATER && !fragment_recall(&pkt))
		return pass(skb, PASS_FRAGMENT);
	session = session_find(&pkt);
	if (session && session->flags & SESSION_REPLY && !is_untranslated(&pkt, session))
		return reply_inbound(skb, &pkt, session);
	endpoint = endpoint_find(pkt.key.dst);
	if (endpoint)
		return direct_inbound(skb, &pkt, config, endpoint);
	return pass(skb, pkt.fragment ? PASS_FRAGMENT : PASS_NO_SERVICE);
}

/* An error about a flow of a service or of masquerade, or about none. */
static __noinline int icmp_error_outbound(struct __sk_buff *skb, struct packet *pkt,
					  const struct node_config *config)
{
	__u32 ifindex = 0;
	enum reason failed = icmp_error_translate(skb, pkt, &ifindex);

	if (failed == PASS_ICMP_ERROR) {
		pkt->key.zone = ZONE_MASQUERADE;
		failed = icmp_error_translate(skb, pkt, &ifindex);
	}
	if (failed == DROP_REWRITE_FAILED)
		return drop(skb, failed);
	if (failed)
		return leave_as_is(skb, pkt, config, failed);
	if (!ifindex || ifindex == skb->ifindex)
		return pass(skb, ICMP_ERROR_ROUTED);
	count(skb, ICMP_ERROR_SENT);
	return uplink_send(ifindex);
}

/* A reply to a client of the world that took its way through the stack: of a backend in
 * the node's own network, or one that had to be cut up. */
static __noinline int reply_routed(struct __sk_buff *skb, const struct packet *pkt,
				   const struct session *session)
{
	__u32 ifindex = session->ifindex;

	if (unlikely(pkt->fragment == FRAGMENT_FIRST))
		fragment_remember(pkt);
	if (nat_rewrite(skb, pkt, session, NULL, false))
		return drop(skb, DROP_REWRITE_FAILED);
	if (ifindex == skb->ifindex)
		return pass(skb, REPLY_ROUTED);
	count(skb, REPLY_SENT);
	return uplink_send(ifindex);
}

SEC("tc")
int k8sd_to_uplink(struct __sk_buff *skb)
{
	struct node_config *config = node_config();
	struct session *session;
	struct packet pkt;
	enum reason reason;

	pkt.key.src = 0; /* of what is no packet of IPv4 */
	pkt.key.dst = 0;
	reason = packet_parse(skb, &pkt);
	if (!config)
		return pass(skb, reason);
	if (reason)
		return leave_as_is(skb, &pkt, config, reason);
	/* A pod may speak to somebody else's port of that number. */
	if (is_tunnel(config, &pkt) && !is_own_pod(config, pkt.key.src))
		return pass(skb, PASS_TUNNEL);
	if (icmp_is_error(pkt.icmp_type) && !pkt.fragment)
		return icmp_error_outbound(skb, &pkt, config);
	if (pkt.fragment == FRAGMENT_LATER && !fragment_recall(&pkt))
		return leave_as_is(skb, &pkt, config, PASS_FRAGMENT);
	session = session_find(&pkt);
	if (session && session->flags & SESSION_REPLY && session->ifindex)
		return reply_routed(skb, &pkt, session);
	if (!is_own_pod(config, pkt.key.src))
		return pass(skb, PASS_NO_SESSION);
	return masquerade(skb, &pkt, config);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
