/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is needed of <linux/icmp.h>, which cannot be included here: it pulls in the C
 * library's <sys/socket.h>, and that wants headers of a 32-bit target. Names and
 * values are those of RFC 792.
 */
#pragma once

#include <linux/types.h>

#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

#define ICMP_PORT_UNREACH 3
#define ICMP_FRAG_NEEDED 4

#define ICMP_ID 4 /* where an echo's identifier is */

struct icmphdr {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be32 rest; /* depends on the type */
};
