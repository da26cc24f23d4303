/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbrp: load balancer and reverse proxy of the pods of a node, and their switch.
 *
 *   lbrp_from_pod  at tc ingress of the host end of every pod's veth pair: what a pod
 *                  sends. Flows to services are translated to a backend, replies of
 *                  local backends back to the service; packets to a pod of this node
 *                  are redirected into it, to a pod of another node sent to that node,
 *                  and replies to clients outside the cluster leave by the uplink.
 *   lbrp_to_pod    at tc egress of the pods' bridge (of a veth without one): what
 *                  the node's stack sends to pods. Replies of backends that came
 *                  this way; those of other nodes' pods mostly come by k8sdispatcher.
 *
 * Limitations. A pod that talks to a service and, from the same source port and at the
 * same time, to the chosen backend itself has two flows of one 5-tuple at the backend:
 * the one that was opened last gets the replies of both. A packet that the kernel
 * cannot rewrite is dropped (DROP_REWRITE_FAILED).
 *
 * Every other packet leaves as TC_ACT_UNSPEC, so that other filters of the device
 * continue with it.
 */
#include "lib/arp.h"
#include "lib/flow.h"
#include "lib/from_pod.h"
#include "lib/partial.h"
#include "lib/source_check.h"

static __always_inline int flow_from_pod(struct __sk_buff *skb, struct packet *pkt)
{
	struct session *session;
	struct flow_scratch *scratch;
	enum reason failed;
	int verdict;

	if (pkt->key.proto == IPPROTO_ICMP)
		return icmp_from_pod(skb, pkt);
	session = session_track(skb, pkt);
	if (!session && pkt->fragment == FRAGMENT_LATER)
		return later_from_pod(skb, pkt);
	if (!session) {
		scratch = scratch_get();
		if (!scratch)
			return drop(skb, DROP_SESSIONS_FULL);
		session = &scratch->created;
		verdict = new_flow_from_pod(skb, pkt, session);
		if (verdict != SESSION_PICKED)
			return verdict;
		failed = session_open(skb, pkt, session);
		if (failed)
			return drop(skb, failed);
	}
	return translate_from_pod(skb, pkt, session);
}

static __noinline int unparsed_from_pod(struct __sk_buff *skb, const struct packet *pkt,
					enum reason reason)
{
	if (reason == PASS_ARP)
		return arp_from_pod(skb);
	return reason == DROP_FRAGMENT_TINY ? drop(skb, reason) : local_or_pass(skb, pkt, reason);
}

static __always_inline int from_pod(struct __sk_buff *skb)
{
	enum reason reason, refused;
	struct packet pkt;
	int verdict;

	pkt.key.src = 0; /* what packet_parse() leaves if it is not IPv4 */
	pkt.key.dst = 0;
	reason = packet_parse(skb, &pkt);
	skb->tc_index = 0; /* what the pod has set */
	refused = source_check(skb, &pkt, reason);
	if (likely(!refused))
		refused = csum_check(skb, &pkt, reason);
	if (unlikely(refused))
		return drop(skb, refused);
	if (reason && reason != PASS_PROTOCOL)
		return unparsed_from_pod(skb, &pkt, reason);
	if (unlikely(pkt.fragment)) {
		refused = fragment_meet(skb, &pkt, FRAGMENT_FROM_POD);
		if (refused)
			return drop(skb, refused);
	}
	if (reason)
		return unparsed_from_pod(skb, &pkt, reason);
	verdict = flow_from_pod(skb, &pkt);
	if (unlikely(verdict == WORLD_FOLLOWED)) {
		tcp_follow(skb, &pkt);
		verdict = TC_ACT_UNSPEC;
	}
	return verdict == WORLD_REFUSED ? world_refuse(skb, &pkt) : verdict;
}

SEC("tc")
int lbrp_from_pod(struct __sk_buff *skb)
{
	int verdict = from_pod(skb);

	if (verdict == TC_ACT_UNSPEC && unlikely(to_bridge(skb)))
		return drop(skb, DROP_REWRITE_FAILED);
	return verdict;
}

static __noinline int icmp_to_pod(struct __sk_buff *skb, struct packet *pkt)
{
	if (!is_icmp_error(pkt))
		return pass(skb, PASS_ICMP);
	return icmp_error(skb, pkt, ERROR_TO_POD, NULL);
}

/* Notes a flow that comes into a pod through the stack, so that it goes back through it.
 * The node's own flows do without, but those from a port that a service has. */
static __noinline void stack_note(struct __sk_buff *skb, const struct packet *pkt)
{
	struct session_key forward = reverse_tuple(&pkt->key, ZONE_MASQUERADE);
	struct node_config *config = node_config();
	bool outside = uplink_find(skb->ingress_ifindex);
	bool begins = is_syn(pkt) || (pkt->key.proto == IPPROTO_UDP && outside);

	if (!config || pkt->fragment == FRAGMENT_LATER || !is_own_pod(config, pkt->key.dst))
		return;
	/* As exempt_inbound(): a fragment, or what is too large, comes this way from there. */
	if (outside && looks_like_reply(pkt))
		return;
	if (node_addr_is_local(pkt->key.src) ?
		    !port_taken(pkt->key.src, pkt->key.sport, pkt->key.proto) :
		    is_own_pod(config, pkt->key.src) || remote_find(pkt->key.src))
		return;
	exempt_create(pkt, &forward, begins ? STATE_NEW : STATE_ESTABLISHED, SESSION_STACK);
}

SEC("tc")
int lbrp_to_pod(struct __sk_buff *skb)
{
	struct packet pkt;
	struct session *session;
	enum reason reason = packet_parse(skb, &pkt);

	if (unlikely(reason == PASS_ARP) && arp_address(skb))
		return drop(skb, DROP_REWRITE_FAILED);
	if (reason)
		return unparsed(skb, reason);
	if (unlikely(pkt.fragment)) {
		reason = fragment_meet(skb, &pkt, FRAGMENT_PASSING);
		if (reason)
			return drop(skb, reason);
	}
	if (pkt.key.proto == IPPROTO_ICMP)
		return icmp_to_pod(skb, &pkt);
	session = session_track(skb, &pkt);
	if (!session || !(session->flags & SESSION_REPLY) || session_is_exempt(&pkt, session)) {
		session_evict(&pkt);
		if (!session)
			stack_note(skb, &pkt);
		return pass(skb, pkt.fragment ? PASS_FRAGMENT : PASS_NO_SESSION);
	}
	if (nat_rewrite(skb, &pkt, session, NULL, false))
		return drop(skb, DROP_REWRITE_FAILED);
	return pass(skb, REPLY_ROUTED);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
