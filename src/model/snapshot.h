#pragma once
/* What workers know of the control plane's data: hostnames and where they lead. Immutable once
 * built, counted; read by all threads. */
#include "base/text.h"
#include "model/balance.h"

struct snapshot;

/* An empty one with one reference; NULL when memory is short. Only its maker's thread adds, before
 * it is given away. */
struct snapshot *snapshot_new(void);
/* A hostname in lower case: exact, or "*.suffix" for everything below suffix. ERR_EXISTS,
 * ERR_NOMEM. */
int snapshot_add(struct snapshot *s, struct slice hostname, const struct uuid *tunnel)
    __attribute__((warn_unused_result));
/* How the requests of a hostname that was added are shared. A reference of its own is taken. */
void snapshot_balance(struct snapshot *s, struct slice hostname, struct balance_rule *rule);

struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* NULL is accepted */

/* The tunnel of a hostname in lower case: the exact name first, then the longest wildcard. */
bool snapshot_route(const struct snapshot *s, struct slice hostname, struct uuid *ret_tunnel);
/* What a hostname leads to; borrowed from the snapshot. */
struct snapshot_match {
    struct uuid tunnel;
    struct slice name;         /* under which the route was added: never the visitor's */
    struct balance_rule *rule; /* or NULL: the preset */
};
bool snapshot_match(const struct snapshot *s, struct slice hostname, struct snapshot_match *ret);
/* Whether a route was added under this very name. */
bool snapshot_has(const struct snapshot *s, struct slice name);
