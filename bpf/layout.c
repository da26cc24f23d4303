/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Everything that programs and user space share, in one object that is never loaded:
 * src/build/layout.ts makes TypeScript of its BTF, which has what a variable refers to.
 */
#include "lib/maps.h"
#include "lib/maps_hostlb.h"
#include "lib/reasons.h"
#include "lib/session_former.h"

/* What is in no map by its type. */
enum reason reason;
enum hostlb_event hostlb_event;
enum share_kind share_kind;
struct monitor_event monitor_event;
struct session_v1 session_v1;
struct session_v2 session_v2;
