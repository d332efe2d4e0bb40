#pragma once
/* What an edge's name leads to: its addresses, or those of the targets of an SRV name. It has no
 * task of its own: whoever starts it asks again when its task is woken. Loop thread. */
#include "connector/edge_set.h"
#include "net/loop.h"

struct edge_lookup;

int edge_lookup_start(struct loop *loop, const struct edge_name *name, struct task *owner,
                      struct edge_lookup **ret) __attribute__((warn_unused_result));
/* ERR_AGAIN while under way; 0 with at least one address; ERR_NOTFOUND, ERR_RESOLVE, ERR_PROTO. */
int edge_lookup_run(struct edge_lookup *l, struct edge_found *ret)
    __attribute__((warn_unused_result));
/* Lets go, also while under way. NULL is accepted. */
void edge_lookup_free(struct edge_lookup *l);
