/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP. <linux/icmp.h> cannot be included here: it pulls in the C library's
 * <sys/socket.h>, and that wants headers of a 32-bit target. Names and values are those
 * of RFC 792.
 */
#pragma once

#include "packet.h"

#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_ECHO 8
#define ICMP_ROUTER_ADVERTISEMENT 9 /* RFC 1256 */
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

#define ICMP_PORT_UNREACH 3
#define ICMP_FRAG_NEEDED 4

#define ICMP_ID 4 /* offset of an echo's identifier */

#define ICMP_MAX 576 /* RFC 1812, 4.3.2.3: length of an ICMP error */
#define ICMP_TOS 0xc0 /* RFC 1812, 4.3.2.5: internetwork control */

struct icmphdr {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be32 rest; /* depends on the type */
};

/* Has it an identifier, which is the port of its key? Of a later fragment nothing shows it. */
static __always_inline bool has_identifier(const struct packet *pkt)
{
	return pkt->fragment == FRAGMENT_LATER || pkt->icmp_type == ICMP_ECHO ||
	       pkt->icmp_type == ICMP_ECHOREPLY;
}

static __always_inline bool is_error_type(__u8 type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

/* An ICMP error, whole. Other protocols have type 0. */
static __always_inline bool is_icmp_error(const struct packet *pkt)
{
	return is_error_type(pkt->icmp_type) && !pkt->fragment;
}
