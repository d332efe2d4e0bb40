#include "edge/link.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/map.h"

/* A link of our own worker is taken while it has at most this many exchanges more than the least
 * busy one: a crossing costs two wake-ups, which is worth about that much queueing. */
#define NEAR_BONUS 16
/* Among equals the one that was taken less than this ago is taken again: the next packet of an
 * exchange carries the acknowledgement that the last one's answer asks for, which would travel
 * alone otherwise. Acknowledgements wait for a millisecond. */
#define WARM_NSEC (2 * NSEC_PER_MSEC)

struct link *link_new(uint64_t id, unsigned worker, struct mailbox *mailbox)
{
    struct link *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    atomic_init(&l->refs, 1);
    l->id = id;
    l->worker = worker;
    l->mailbox = mailbox_ref(mailbox);
    return l;
}

struct link *link_ref(struct link *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void link_unref(struct link *l)
{
    if (l == NULL || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    mailbox_unref(l->mailbox);
    free(l);
}

/* ---- the table: tunnel → its links, and id → link ---- */

struct entry {
    struct map_node by_id;
    struct list in_tunnel;
    struct link *link;
};

struct tunnel_links {
    struct map_node node;
    struct list links;
    uint64_t last; /* link that was picked last, and when */
    nsec last_at;
    struct uuid tunnel;
};

struct link_table {
    struct map by_id, by_tunnel;
};

struct link_table *link_table_new(void)
{
    struct link_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    map_init(&t->by_id);
    map_init(&t->by_tunnel);
    return t;
}

static struct slice id_key(const uint64_t *id)
{
    return slice_of(id, sizeof *id);
}

static struct slice uuid_key(const struct uuid *id)
{
    return slice_of(id->bytes, sizeof id->bytes);
}

static struct tunnel_links *links_of(const struct link_table *t, const struct uuid *tunnel)
{
    struct map_node *node = map_get(&t->by_tunnel, uuid_key(tunnel));
    return node != NULL ? container_of(node, struct tunnel_links, node) : NULL;
}

static struct tunnel_links *links_make(struct link_table *t, const struct uuid *tunnel)
{
    struct tunnel_links *tl = links_of(t, tunnel);
    if (tl != NULL)
        return tl;
    tl = calloc(1, sizeof *tl);
    if (tl == NULL)
        return NULL;
    list_init(&tl->links);
    tl->tunnel = *tunnel;
    tl->node.key = uuid_key(&tl->tunnel);
    if (map_put(&t->by_tunnel, &tl->node) < 0) {
        free(tl);
        return NULL;
    }
    return tl;
}

static void links_drop_if_empty(struct link_table *t, struct tunnel_links *tl)
{
    if (!list_is_empty(&tl->links))
        return;
    map_remove(&t->by_tunnel, &tl->node);
    free(tl);
}

int link_table_add(struct link_table *t, struct link *l)
{
    struct entry *e = calloc(1, sizeof *e);
    struct tunnel_links *tl = e != NULL ? links_make(t, &l->tunnel) : NULL;
    if (tl == NULL) {
        free(e);
        return ERR_NOMEM;
    }
    e->link = l;
    e->by_id.key = id_key(&l->id);
    int r = map_put(&t->by_id, &e->by_id);
    if (r < 0) {
        free(e);
        links_drop_if_empty(t, tl);
        return r;
    }
    (void)link_ref(l);
    list_push_back(&tl->links, &e->in_tunnel);
    return 0;
}

static struct entry *entry_of(const struct link_table *t, uint64_t id)
{
    struct map_node *node = map_get(&t->by_id, id_key(&id));
    return node != NULL ? container_of(node, struct entry, by_id) : NULL;
}

void link_table_remove(struct link_table *t, uint64_t id)
{
    struct entry *e = entry_of(t, id);
    if (e == NULL)
        return;
    map_remove(&t->by_id, &e->by_id);
    list_remove(&e->in_tunnel);
    links_drop_if_empty(t, links_of(t, &e->link->tunnel));
    link_unref(e->link);
    free(e);
}

void link_table_free(struct link_table *t)
{
    if (t == NULL)
        return;
    size_t bucket = 0;
    struct map_node *after = NULL;
    for (struct map_node *n = map_next(&t->by_tunnel, &bucket, &after); n != NULL;
         n = map_next(&t->by_tunnel, &bucket, &after)) {
        struct tunnel_links *tl = container_of(n, struct tunnel_links, node);
        list_each(it, &tl->links)
        {
            struct entry *e = container_of(it, struct entry, in_tunnel);
            link_unref(e->link);
            free(e);
        }
        free(tl);
    }
    map_done(&t->by_id);
    map_done(&t->by_tunnel);
    free(t);
}

struct link *link_table_find(struct link_table *t, uint64_t id)
{
    struct entry *e = entry_of(t, id);
    return e != NULL ? e->link : NULL;
}

static bool was_tried(const struct link_tried *tried, uint64_t id)
{
    for (unsigned i = 0; tried != NULL && i < tried->count; i++)
        if (tried->ids[i] == id)
            return true;
    return false;
}

struct link *link_table_pick(struct link_table *t, const struct uuid *tunnel, unsigned near,
                             struct rng *rng, nsec now, const struct link_tried *tried)
{
    struct tunnel_links *tl = links_of(t, tunnel);
    if (tl == NULL)
        return NULL;
    struct link *best = NULL;
    bool is_warm = now - tl->last_at < WARM_NSEC;
    uint64_t best_cost = 0, ties = 0;
    list_each(it, &tl->links)
    {
        struct link *l = container_of(it, struct entry, in_tunnel)->link;
        if (atomic_load_explicit(&l->is_draining, memory_order_relaxed) || was_tried(tried, l->id))
            continue;
        uint64_t cost = atomic_load_explicit(&l->in_flight, memory_order_relaxed) +
                        (l->worker == near ? 0 : NEAR_BONUS);
        if (best != NULL && cost > best_cost)
            continue;
        ties = best != NULL && cost == best_cost ? ties + 1 : 1;
        /* Otherwise each is as likely (reservoir of one). */
        if (ties == 1 || (is_warm && l->id == tl->last) ||
            (!(is_warm && best->id == tl->last) && rng_below(rng, ties) == 0))
            best = l;
        best_cost = cost;
    }
    if (best != NULL) {
        tl->last = best->id;
        tl->last_at = now;
    }
    return best;
}

bool link_table_serves(const struct link_table *t, const struct uuid *tunnel)
{
    return links_of(t, tunnel) != NULL;
}
