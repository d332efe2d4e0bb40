#pragma once
/* What workers know of the control plane's data: hostnames and where they lead. Immutable once
 * built, counted; read by all threads. */
#include "base/text.h"

struct snapshot;

/* An empty one with one reference; NULL when memory is short. Only its maker's thread adds, before
 * it is given away. */
struct snapshot *snapshot_new(void);
/* A hostname in lower case: exact, or "*.suffix" for everything below suffix. ERR_EXISTS,
 * ERR_NOMEM. */
int snapshot_add(struct snapshot *s, struct slice hostname, const struct uuid *tunnel)
    __attribute__((warn_unused_result));

struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* NULL is accepted */

/* The tunnel of a hostname in lower case: the exact name first, then the longest wildcard. */
bool snapshot_route(const struct snapshot *s, struct slice hostname, struct uuid *ret_tunnel);
/* The same, and the name under which the route was added, which is never the visitor's: borrowed
 * from the snapshot. */
bool snapshot_match(const struct snapshot *s, struct slice hostname, struct uuid *ret_tunnel,
                    struct slice *ret_name);
/* Whether a route was added under this very name. */
bool snapshot_has(const struct snapshot *s, struct slice name);
