#pragma once
/* What the table of links and the choice among replicas share. One worker's. */
#include "base/map.h"
#include "edge/link.h"

/* A connector with its links. In each table they stand in the order of their ids, so that every
 * worker counts them alike. */
struct replica {
    struct list in_tunnel, links;
    const struct link *first; /* says who it is: connector, label, key */
    /* Of the choice that is being made (edge/balance.c): */
    unsigned rank, group;
    bool is_chosen;
};

struct link_entry {
    struct map_node by_id;
    struct list in_tunnel, in_replica;
    struct replica *replica;
    struct link *link;
};

struct tunnel_links {
    struct map_node node;
    struct list links, replicas;
    struct list lost; /* among those that have none, the longest ago first */
    nsec lost_at;
    uint64_t last; /* link that was picked last, and when */
    nsec last_at;
    struct uuid tunnel;
};

/* NULL when the tunnel is not known. */
struct tunnel_links *link_table_of(const struct link_table *t, const struct uuid *tunnel);
/* As link_table_pick; `chosen`: only among the replicas that are marked so. */
struct link *tunnel_links_pick(struct tunnel_links *tl, bool chosen, unsigned near, struct rng *rng,
                               nsec now, const struct link_tried *tried);
/* Whether one of its links does not answer. */
bool replica_is_suspect(const struct replica *r);
/* Where an exchange may go at all. */
bool link_is_open_to(const struct link *l, const struct link_tried *tried);
static inline bool link_is_suspect(const struct link *l)
{
    return atomic_load_explicit(&l->is_suspect, memory_order_relaxed);
}
