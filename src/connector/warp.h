#pragma once
/* warp-routing of a configuration (docs/protocol.md §8): how flows to addresses that the
 * edge names are dialled, and how many there may be at once. Pure, but for the limit: it is counted
 * by all workers of one connector. */
#include <stdatomic.h>

#include "base/fault.h"
#include "conf/yaml_tree.h"

/* Times in nanoseconds; a negative tcp_keepalive turns it off. */
struct warp_routing {
    int64_t connect_timeout, tcp_keepalive;
    uint64_t max_flows;                          /* 0 = any number */
    bool has_connect_timeout, has_tcp_keepalive; /* they were written */
};

void warp_routing_defaults(struct warp_routing *w);
/* Over what `w` holds, from a configuration document's key warp-routing. `where` names the file. */
int warp_routing_from_yaml(const struct yaml_node *root, const char *where, struct warp_routing *w,
                           struct fault *fault) __attribute__((warn_unused_result));

struct flow_limit {
    _Atomic uint64_t active;
    _Atomic uint64_t max; /* 0 = any number; a new configuration may change it */
};

/* Takes a place; false when there is none. */
bool flow_limit_take(struct flow_limit *l);
void flow_limit_give(struct flow_limit *l);
