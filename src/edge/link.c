#include "edge/link_int.h"

#include <stdlib.h>

#include "base/err.h"

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
    l->id = l->session = id;
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

/* One that is suspect costs more than any load. */
#define SUSPECT_COST ((uint64_t)1 << 40)

/* ---- the table: tunnel → its links, and id → link ---- */

struct link_table {
    struct map by_id, by_tunnel;
    struct list lost;
};

struct link_table *link_table_new(void)
{
    struct link_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    map_init(&t->by_id);
    map_init(&t->by_tunnel);
    list_init(&t->lost);
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

struct tunnel_links *link_table_of(const struct link_table *t, const struct uuid *tunnel)
{
    struct map_node *node = map_get(&t->by_tunnel, uuid_key(tunnel));
    return node != NULL ? container_of(node, struct tunnel_links, node) : NULL;
}

static struct tunnel_links *links_make(struct link_table *t, const struct uuid *tunnel)
{
    struct tunnel_links *tl = link_table_of(t, tunnel);
    if (tl != NULL)
        return tl;
    tl = calloc(1, sizeof *tl);
    if (tl == NULL)
        return NULL;
    list_init(&tl->links);
    list_init(&tl->replicas);
    list_init(&tl->lost);
    tl->tunnel = *tunnel;
    tl->node.key = uuid_key(&tl->tunnel);
    if (map_put(&t->by_tunnel, &tl->node) < 0) {
        free(tl);
        return NULL;
    }
    return tl;
}

static void links_free(struct link_table *t, struct tunnel_links *tl)
{
    map_remove(&t->by_tunnel, &tl->node);
    list_remove(&tl->lost);
    free(tl);
}

/* A tunnel without links is remembered for a while: it may be a restart. */
static void links_lost(struct link_table *t, struct tunnel_links *tl, nsec now)
{
    if (!list_is_empty(&tl->links))
        return;
    tl->lost_at = now;
    list_push_back(&t->lost, &tl->lost);
    while (!list_is_empty(&t->lost)) {
        struct tunnel_links *oldest = container_of(t->lost.next, struct tunnel_links, lost);
        if (now - oldest->lost_at < LINK_LOST_NSEC)
            break;
        links_free(t, oldest);
    }
}

/* ---- replicas ---- */

/* The connector's, made in its place when it is new. NULL when memory is short. */
static struct replica *replica_make(struct tunnel_links *tl, const struct link *l)
{
    struct list *behind = &tl->replicas;
    list_each(it, &tl->replicas)
    {
        struct replica *r = container_of(it, struct replica, in_tunnel);
        int order =
            memcmp(l->connector.bytes, r->first->connector.bytes, sizeof l->connector.bytes);
        if (order == 0)
            return r;
        if (order < 0) {
            behind = it;
            break;
        }
    }
    struct replica *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    list_init(&r->links);
    list_push_back(behind, &r->in_tunnel); /* before that one */
    r->first = l;
    return r;
}

static void replica_leave(struct replica *r, struct link_entry *e)
{
    if (e != NULL)
        list_remove(&e->in_replica);
    if (list_is_empty(&r->links)) {
        list_remove(&r->in_tunnel);
        free(r);
    } else if (e != NULL && r->first == e->link) {
        r->first = container_of(r->links.next, struct link_entry, in_replica)->link;
    }
}

int link_table_add(struct link_table *t, struct link *l)
{
    struct link_entry *e = calloc(1, sizeof *e);
    struct tunnel_links *tl = e != NULL ? links_make(t, &l->tunnel) : NULL;
    struct replica *replica = tl != NULL ? replica_make(tl, l) : NULL;
    int r = replica != NULL ? 0 : ERR_NOMEM;
    if (r == 0) {
        e->link = l;
        e->by_id.key = id_key(&l->id);
        r = map_put(&t->by_id, &e->by_id);
    }
    if (r < 0) {
        free(e);
        if (replica != NULL)
            replica_leave(replica, NULL);
        if (tl != NULL && list_is_empty(&tl->links) && !list_has_neighbours(&tl->lost))
            links_free(t, tl);
        return r;
    }
    e->replica = replica;
    list_push_back(&replica->links, &e->in_replica);
    (void)link_ref(l);
    list_remove(&tl->lost);
    list_push_back(&tl->links, &e->in_tunnel);
    return 0;
}

static struct link_entry *entry_of(const struct link_table *t, uint64_t id)
{
    struct map_node *node = map_get(&t->by_id, id_key(&id));
    return node != NULL ? container_of(node, struct link_entry, by_id) : NULL;
}

void link_table_remove(struct link_table *t, uint64_t id, nsec now)
{
    struct link_entry *e = entry_of(t, id);
    if (e == NULL)
        return;
    map_remove(&t->by_id, &e->by_id);
    list_remove(&e->in_tunnel);
    replica_leave(e->replica, e);
    links_lost(t, link_table_of(t, &e->link->tunnel), now);
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
            struct link_entry *e = container_of(it, struct link_entry, in_tunnel);
            replica_leave(e->replica, e);
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
    struct link_entry *e = entry_of(t, id);
    return e != NULL ? e->link : NULL;
}

static bool was_tried(const struct link_tried *tried, uint64_t id)
{
    for (unsigned i = 0; tried != NULL && i < tried->count; i++)
        if (tried->ids[i] == id)
            return true;
    return false;
}

/* Where an exchange may go at all. */
bool link_is_open_to(const struct link *l, const struct link_tried *tried)
{
    return !atomic_load_explicit(&l->is_draining, memory_order_relaxed) && !was_tried(tried, l->id);
}

/* A connector that does not answer on one of its connections may not on the others. */
bool replica_is_suspect(const struct replica *r)
{
    for (const struct list *it = r->links.next; it != &r->links; it = it->next)
        if (link_is_suspect(container_of(it, struct link_entry, in_replica)->link))
            return true;
    return false;
}

static bool has_suspects(const struct tunnel_links *tl)
{
    for (const struct list *it = tl->links.next; it != &tl->links; it = it->next)
        if (link_is_suspect(container_of(it, struct link_entry, in_tunnel)->link))
            return true;
    return false;
}

static uint64_t cost_of(const struct link_entry *e, unsigned near, bool is_doubtful)
{
    const struct link *l = e->link;
    uint64_t cost = atomic_load_explicit(&l->in_flight, memory_order_relaxed) +
                    (l->worker == near ? 0 : NEAR_BONUS);
    if (l->is_stand_in)
        cost += SUSPECT_COST / 4;
    if (is_doubtful && link_is_suspect(l))
        cost += SUSPECT_COST;
    else if (is_doubtful && replica_is_suspect(e->replica))
        cost += SUSPECT_COST / 2;
    return cost;
}

struct link *tunnel_links_pick(struct tunnel_links *tl, bool chosen, unsigned near, struct rng *rng,
                               nsec now, const struct link_tried *tried)
{
    struct link *best = NULL;
    bool is_warm = now - tl->last_at < WARM_NSEC;
    bool is_doubtful = has_suspects(tl);
    uint64_t best_cost = 0, ties = 0;
    list_each(it, &tl->links)
    {
        struct link_entry *e = container_of(it, struct link_entry, in_tunnel);
        struct link *l = e->link;
        if ((chosen && !e->replica->is_chosen) || !link_is_open_to(l, tried))
            continue;
        uint64_t cost = cost_of(e, near, is_doubtful);
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

struct link *link_table_pick(struct link_table *t, const struct uuid *tunnel, unsigned near,
                             struct rng *rng, nsec now, const struct link_tried *tried)
{
    struct tunnel_links *tl = link_table_of(t, tunnel);
    return tl != NULL ? tunnel_links_pick(tl, false, near, rng, now, tried) : NULL;
}

bool link_table_has_better(const struct link_table *t, const struct uuid *tunnel,
                           const struct link_tried *tried)
{
    const struct tunnel_links *tl = link_table_of(t, tunnel);
    for (const struct list *it = tl != NULL ? tl->links.next : NULL; it != NULL && it != &tl->links;
         it = it->next) {
        const struct link_entry *e = container_of(it, struct link_entry, in_tunnel);
        if (link_is_open_to(e->link, tried) && !replica_is_suspect(e->replica))
            return true;
    }
    return false;
}

enum other { OTHER_OF_CONNECTOR, OTHER_OPEN_OF_CONNECTOR, OTHER_OPEN };

static bool has_other(const struct link_table *t, const struct link *l, enum other kind)
{
    const struct tunnel_links *tl = link_table_of(t, &l->tunnel);
    for (const struct list *it = tl != NULL ? tl->links.next : NULL; it != NULL && it != &tl->links;
         it = it->next) {
        const struct link *other = container_of(it, struct link_entry, in_tunnel)->link;
        bool is_kin =
            memcmp(other->connector.bytes, l->connector.bytes, sizeof l->connector.bytes) == 0;
        if (other != l && (is_kin || kind == OTHER_OPEN) &&
            (kind == OTHER_OF_CONNECTOR || link_is_open_to(other, NULL)))
            return true;
    }
    return false;
}

bool link_table_has_sibling(const struct link_table *t, const struct link *l)
{
    return has_other(t, l, OTHER_OPEN_OF_CONNECTOR);
}

bool link_table_has_kin(const struct link_table *t, const struct link *l)
{
    return has_other(t, l, OTHER_OF_CONNECTOR);
}

bool link_table_has_other(const struct link_table *t, const struct link *l)
{
    return has_other(t, l, OTHER_OPEN);
}

bool link_table_served(const struct link_table *t, const struct uuid *tunnel, nsec now, nsec within)
{
    const struct tunnel_links *tl = link_table_of(t, tunnel);
    return tl != NULL && (!list_is_empty(&tl->links) || now - tl->lost_at < within);
}
