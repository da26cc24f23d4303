/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbrp: load balancer and reverse proxy of the pods of a node, and their switch.
 *
 *   lbrp_from_pod  at tc ingress of the host end of every pod's veth pair: whatever
 *                  a pod sends. Flows to services are translated to a backend,
 *                  replies of local backends back to the service; what is for a pod
 *                  of this node is handed over directly, what is for a pod of another
 *                  sent there, and replies to clients outside the cluster leave by the
 *                  uplink.
 *   lbrp_to_pod    at tc egress of the pods' bridge (of a veth without one): what
 *                  the node's stack sends to pods. Replies of backends that came
 *                  this way; those of other nodes' pods mostly come by k8sdispatcher.
 *
 * Limitations. A pod that talks to a service and, from the same source port and at the
 * same time, to the chosen backend itself has two flows of one 5-tuple at the backend:
 * the one that was opened last gets the replies of both. A packet that the kernel
 * cannot rewrite is dropped (DROP_REWRITE_FAILED).
 *
 * A packet that neither has anything to say about leaves as TC_ACT_UNSPEC, so that
 * other filters of the device go on with it.
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
#include "lib/backend.h"
#include "lib/node_addrs.h"
#include "lib/session.h"
#include "lib/session_create.h"
#include "lib/yield.h"
#include "lib/deliver.h"
#include "lib/nat.h"
#include "lib/icmp.h"
#include "lib/reject.h"
#include "lib/remotes.h"
#include "lib/uplinks.h"

/* Answers a packet to a service address, into the pod that sent it. */
static __noinline int refuse(struct __sk_buff *skb, const struct packet *pkt, enum reason reason)
{
	__u32 bytes = skb->len;
	enum reason failed = reject(skb, pkt);

	count_packet(skb, failed ? failed : reason, bytes);
	return failed ? TC_ACT_SHOT : send_back(skb);
}

/* A flow whose other end is no pod of this node: one of another node's or of the
 * node's own network, or a client outside. What the stack has to answer goes there:
 * translated where its answer will be translated back on the way to the pod. */
static __noinline int translate_away(struct __sk_buff *skb, const struct packet *pkt,
				     const struct session *session)
{
	bool reply = session->flags & SESSION_REPLY;
	struct remote *remote;
	enum reason refused;

	if (reply && session->ifindex) {
		refused = uplink_check(skb, pkt, session->ifindex);
		return refused ? pass(skb, refused) : uplink_reply(skb, pkt, session);
	}
	remote = remote_find(session->dst);
	if (!remote || !remote_has_way(remote) || path_check(skb, pkt, remote->mtu)) {
		if (nat_rewrite(skb, pkt, session, NULL, false))
			return drop(skb, DROP_REWRITE_FAILED);
		return pass(skb, reply ? REPLY_ROUTED : FORWARD_ROUTED);
	}
	if (nat_rewrite(skb, pkt, session, remote->mac, true))
		return drop(skb, DROP_REWRITE_FAILED);
	return remote_send(skb, remote, reply ? REPLY_SENT : FORWARD_SENT);
}

/* Translates a packet of a pod by its session, and sends it on its way. */
static __always_inline int translate(struct __sk_buff *skb, const struct packet *pkt,
				     const struct session *session)
{
	struct endpoint *endpoint = endpoint_find(session->dst);

	if (unlikely(pkt->fragment == FRAGMENT_FIRST))
		fragment_remember(pkt);
	if (!endpoint)
		return translate_away(skb, pkt, session);
	if (nat_rewrite(skb, pkt, session, endpoint->mac, false))
		return drop(skb, DROP_REWRITE_FAILED);
	count(skb, session->flags & SESSION_REPLY ? REPLY_DELIVERED : FORWARD_DELIVERED);
	return redirect_into_pod(skb, endpoint->ifindex);
}

/* A client that is its own backend would take a packet from itself for a forgery:
 * the flow comes from its gateway instead. */
static __always_inline __be32 hairpin_source(__be32 pod)
{
	struct endpoint *endpoint = endpoint_find(pod);

	return endpoint && endpoint->gateway ? endpoint->gateway : HAIRPIN_ADDR;
}

/* First packet of a flow to a service: picks the backend it will stay with. */
static __noinline int service_flow(struct __sk_buff *skb, const struct packet *pkt,
				   const struct service *service)
{
	struct backend *backend;
	struct session session = {};
	enum reason failed;

	/* A reset would only make a session for a connection that is gone. */
	if (pkt->tcp_flags & TCP_RST)
		return drop(skb, DROP_RST_NO_SESSION);
	if (!source_allowed(service, pkt->key.src))
		return drop(skb, DROP_SOURCE_RANGE);
	session.service_id = service->id;
	backend = backend_pick(service, &pkt->key);
	if (!backend)
		return service->flags & SERVICE_LOCAL_ONLY ? drop(skb, DROP_NO_LOCAL_BACKEND) :
							     refuse(skb, pkt, REJECTED_NO_BACKEND);
	session.src = pkt->key.src;
	session.sport = pkt->key.sport;
	session.dst = backend->addr;
	session.dport = backend->port;
	if (unlikely(session.dst == session.src)) {
		session.src = hairpin_source(pkt->key.src);
		session.flags = SESSION_HAIRPIN;
	}
	failed = session_create(pkt, &session);
	if (failed)
		return drop(skb, failed);
	return translate(skb, pkt, &session);
}

/* To a pod of another node, if that is where it goes. */
static __always_inline int direct_away(struct __sk_buff *skb, const struct packet *pkt,
				       const struct remote *remote)
{
	enum reason refused = path_check(skb, pkt, remote->mtu);

	if (refused)
		return pass(skb, refused);
	if (!remote_has_way(remote))
		return pass(skb, PASS_NO_SERVICE);
	return remote_forward(skb, remote, DIRECT_SENT);
}

/* The service that a pod means. A NodePort answers at every node's address, and to a
 * pod the choice of a backend is its own node's: its packets need not go there. */
static __always_inline struct service *service_meant(const struct packet *pkt)
{
	struct service *service = service_find(pkt->key.dst, pkt->key.dport, pkt->key.proto,
					       SCOPE_CLUSTER);

	if (service || !node_addr_find(pkt->key.dst))
		return service;
	return service_find(0, pkt->key.dport, pkt->key.proto, SCOPE_CLUSTER);
}

/* Packet of no session: to a pod, to a service, or none of ours. */
static __noinline int other_flow(struct __sk_buff *skb, const struct packet *pkt)
{
	struct endpoint *endpoint = endpoint_find(pkt->key.dst);
	struct service *service;
	struct remote *remote;

	if (endpoint) {
		if (pkt->fragment)
			return pass(skb, PASS_FRAGMENT);
		session_yield(pkt);
		return deliver(skb, endpoint, DIRECT_DELIVERED);
	}
	remote = remote_find(pkt->key.dst);
	if (remote && !pkt->fragment) {
		session_yield(pkt);
		return direct_away(skb, pkt, remote);
	}
	service = service_meant(pkt);
	if (service)
		return service_flow(skb, pkt, service);
	if (service_find(pkt->key.dst, 0, 0, SCOPE_CLUSTER))
		return refuse(skb, pkt, REJECTED_NO_PORT);
	return pass(skb, pkt->fragment ? PASS_FRAGMENT : PASS_NO_SERVICE);
}

static __noinline int icmp_error_from_pod(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 ifindex = 0;
	enum reason failed = icmp_error_translate(skb, pkt, &ifindex);
	struct endpoint *endpoint;
	struct remote *remote;

	if (failed == DROP_REWRITE_FAILED)
		return drop(skb, failed);
	if (ifindex)
		return uplink_error(skb, pkt, ifindex);
	endpoint = endpoint_find(pkt->key.dst);
	if (endpoint)
		return deliver(skb, endpoint, failed ? DIRECT_DELIVERED : ICMP_ERROR_DELIVERED);
	remote = remote_find(pkt->key.dst);
	if (!remote || !remote_has_way(remote) || pkt->ttl <= 1)
		return pass(skb, failed ? failed : ICMP_ERROR_ROUTED);
	return remote_forward(skb, remote, failed ? DIRECT_SENT : ICMP_ERROR_SENT);
}

/* A ping of a service address. */
static __noinline int echo_from_pod(struct __sk_buff *skb, const struct packet *pkt)
{
	enum reason reason;

	if (pkt->fragment == FRAGMENT_FIRST)
		fragment_remember(pkt);
	reason = icmp_echo_answer(skb, pkt);
	count(skb, reason);
	return reason == ECHO_REPLIED ? send_back(skb) : TC_ACT_SHOT;
}

static __noinline int icmp_from_pod(struct __sk_buff *skb, struct packet *pkt)
{
	struct endpoint *endpoint;
	struct remote *remote;
	bool echo = pkt->icmp_type == ICMP_ECHO;

	if (icmp_is_error(pkt->icmp_type) && !pkt->fragment)
		return icmp_error_from_pod(skb, pkt);
	if (pkt->fragment == FRAGMENT_LATER)
		echo = fragment_recall(pkt);
	if (echo && service_find(pkt->key.dst, 0, 0, SCOPE_CLUSTER))
		return echo_from_pod(skb, pkt);
	if (pkt->fragment)
		return pass(skb, PASS_FRAGMENT);
	endpoint = endpoint_find(pkt->key.dst);
	if (endpoint)
		return deliver(skb, endpoint, DIRECT_DELIVERED);
	remote = remote_find(pkt->key.dst);
	return remote ? direct_away(skb, pkt, remote) : pass(skb, PASS_ICMP);
}

SEC("tc")
int lbrp_from_pod(struct __sk_buff *skb)
{
	struct packet pkt;
	struct session *session;
	enum reason reason = packet_parse(skb, &pkt);

	if (reason)
		return pass(skb, reason);
	if (pkt.key.proto == IPPROTO_ICMP)
		return icmp_from_pod(skb, &pkt);
	if (pkt.fragment == FRAGMENT_LATER && !fragment_recall(&pkt))
		return pass(skb, PASS_FRAGMENT);
	session = session_find(&pkt);
	if (session)
		return translate(skb, &pkt, session);
	if (pkt.fragment == FRAGMENT_LATER)
		return pass(skb, PASS_FRAGMENT);
	return other_flow(skb, &pkt);
}

static __noinline int icmp_to_pod(struct __sk_buff *skb, struct packet *pkt)
{
	enum reason failed;
	__u32 ifindex;

	if (!icmp_is_error(pkt->icmp_type) || pkt->fragment)
		return pass(skb, PASS_ICMP);
	failed = icmp_error_translate(skb, pkt, &ifindex);
	if (failed == DROP_REWRITE_FAILED)
		return drop(skb, failed);
	return pass(skb, failed ? failed : ICMP_ERROR_ROUTED);
}

SEC("tc")
int lbrp_to_pod(struct __sk_buff *skb)
{
	struct packet pkt;
	struct session *session;
	enum reason reason = packet_parse(skb, &pkt);

	if (reason)
		return pass(skb, reason);
	if (pkt.key.proto == IPPROTO_ICMP)
		return icmp_to_pod(skb, &pkt);
	if (pkt.fragment == FRAGMENT_LATER && !fragment_recall(&pkt))
		return pass(skb, PASS_FRAGMENT);
	session = session_find(&pkt);
	if (!session || !(session->flags & SESSION_REPLY)) {
		session_yield(&pkt);
		return pass(skb, pkt.fragment ? PASS_FRAGMENT : PASS_NO_SESSION);
	}
	if (pkt.fragment == FRAGMENT_FIRST)
		fragment_remember(&pkt);
	if (nat_rewrite(skb, &pkt, session, NULL, false))
		return drop(skb, DROP_REWRITE_FAILED);
	return pass(skb, REPLY_ROUTED);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
