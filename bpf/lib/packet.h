/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A parsed packet, and access to its bytes. flow.h fills it in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bounded.h"
#include "types.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Bytes ahead of the IP header: none with -DL3, see eth.h. */
#ifdef L3
#define MAC_HLEN 0
#else
#define MAC_HLEN ETH_HLEN
#endif

enum fragment_part {
	FRAGMENT_WHOLE = 0, /* not fragmented */
	FRAGMENT_FIRST, /* has the ports */
	FRAGMENT_LATER,
};

struct packet {
	struct session_key key; /* the 5-tuple as carried; ports 0 where there are none. An
				 * echo's identifier is the port of the side that asks. */
	__u32 ip_len; /* bytes from the IP header on, without Ethernet's padding */
	__u32 l4; /* offset of the transport header */
	__u8 fragment; /* enum fragment_part */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 ttl;
#ifndef CONVERTING
	/* Of a TCP segment, in host byte order. */
	__u32 seq;
	__u32 seq_end; /* seq, payload, SYN and FIN */
	__u32 ack;
#endif
};

/* The two fields are 32 bits wide to the compiler and pointers to the verifier. A
 * load in assembly keeps clang from moving them through 32-bit registers. */
#define skb_pointer(skb, field)                                                            \
	({                                                                                 \
		void *__pointer;                                                           \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                      \
			     : "=r"(__pointer)                                             \
			     : "r"(skb), "i"(offsetof(struct __sk_buff, field)));          \
		__pointer;                                                                 \
	})

static __always_inline void *packet_data(struct __sk_buff *skb)
{
	return skb_pointer(skb, data);
}

static __always_inline void *packet_end(struct __sk_buff *skb)
{
	return skb_pointer(skb, data_end);
}

/* The transport header; the caller checks it against packet_end(). */
static __always_inline void *packet_l4(struct __sk_buff *skb, const struct packet *pkt)
{
	return packet_data(skb) + bounded(pkt->l4, 127);
}
