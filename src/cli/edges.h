#pragma once
/* Where the edge is: --edge and --edge-srv, else the token, else the edge of this machine. Blocks,
 * for fifteen seconds at most for each name. */
#include "cli/plan.h"
#include "connector/edge_memory.h"
#include "net/loop.h"

/* Before confinement: where good addresses of the edges are kept, when any is given by its name;
 * the directory is made. c->edge_cache. */
void edges_keep(struct cli *c);
/* Names that cannot be resolved now are looked up again before they are dialled, as what is
 * remembered of them is. Opens `memory`. ERR_INVALID, ERR_NOTFOUND when nothing says where it is.
 */
int edges_find(struct cli *c, struct loop *loop, const struct tunnel_plan *plan, size_t connections,
               struct edge_memory *memory, struct edge_list *ret)
    __attribute__((warn_unused_result));
