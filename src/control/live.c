#include "control/live.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"

struct live_tunnel {
    struct map_node node;
    struct uuid id;
    struct list conns;
    size_t count;
    int64_t away_since_us;
    bool is_forgotten; /* goes with its last connection */
    struct list in_reports;
    uint8_t *report; /* rules of its own; or NULL */
    size_t report_bytes;
};

struct live {
    struct map links, tunnels;
    struct list reports; /* tunnels that have one, the oldest first */
    size_t report_bytes;
};

struct live *live_new(void)
{
    struct live *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    map_init(&l->links);
    map_init(&l->tunnels);
    list_init(&l->reports);
    return l;
}

static void conn_free(struct live_conn *c)
{
    link_gauge_unref(c->gauge);
    free(c);
}

void live_free(struct live *l)
{
    if (l == NULL)
        return;
    size_t bucket = 0;
    struct map_node *after = NULL;
    for (struct map_node *n = map_next(&l->links, &bucket, &after); n != NULL;
         n = map_next(&l->links, &bucket, &after))
        conn_free(container_of(n, struct live_conn, by_link));
    bucket = 0;
    after = NULL;
    for (struct map_node *n = map_next(&l->tunnels, &bucket, &after); n != NULL;
         n = map_next(&l->tunnels, &bucket, &after)) {
        struct live_tunnel *t = container_of(n, struct live_tunnel, node);
        free(t->report);
        free(t);
    }
    map_done(&l->links);
    map_done(&l->tunnels);
    free(l);
}

static struct live_tunnel *tunnel_of(const struct live *l, const struct uuid *id)
{
    struct map_node *n = map_get(&l->tunnels, slice_of(id->bytes, sizeof id->bytes));
    return n != NULL ? container_of(n, struct live_tunnel, node) : NULL;
}

static struct live_tunnel *tunnel_make(struct live *l, const struct uuid *id)
{
    struct live_tunnel *t = tunnel_of(l, id);
    if (t != NULL)
        return t;
    t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->id = *id;
    t->node.key = slice_of(t->id.bytes, sizeof t->id.bytes);
    list_init(&t->conns);
    list_init(&t->in_reports);
    if (map_put(&l->tunnels, &t->node) < 0) {
        free(t);
        return NULL;
    }
    return t;
}

static struct live_conn *conn_of(const struct live *l, uint64_t link)
{
    struct map_node *n = map_get(&l->links, slice_of(&link, sizeof link));
    return n != NULL ? container_of(n, struct live_conn, by_link) : NULL;
}

const struct live_conn *live_find(const struct live *l, uint64_t link)
{
    return conn_of(l, link);
}

static struct live_conn *twin_of(struct live_tunnel *t, const struct live_conn *c)
{
    list_each(it, &t->conns)
    {
        struct live_conn *other = container_of(it, struct live_conn, in_tunnel);
        if (other->index == c->index && uuid_eq(&other->connector, &c->connector) &&
            !other->is_draining)
            return other;
    }
    return NULL;
}

const struct live_conn *live_duplicate(const struct live *l, const struct live_conn *c)
{
    struct live_tunnel *t = tunnel_of(l, &c->tunnel);
    return t != NULL ? twin_of(t, c) : NULL;
}

uint64_t live_replica(const struct live *l, const struct live_conn *c)
{
    const struct live_conn *other = NULL;
    bool is_free = c->label[0] != 0;
    for (other = live_first(l, &c->tunnel); other != NULL; other = live_next(l, other)) {
        if (uuid_eq(&other->connector, &c->connector))
            return other->replica;
        is_free &= other->is_draining || strcmp(other->label, c->label) != 0;
    }
    return replica_key(is_free ? slice_str(c->label)
                               : slice_of(c->connector.bytes, sizeof c->connector.bytes));
}

int live_add(struct live *l, const struct live_conn *c)
{
    struct live_tunnel *t = tunnel_make(l, &c->tunnel);
    if (t == NULL)
        return ERR_NOMEM;
    if (twin_of(t, c) != NULL)
        return ERR_EXISTS;
    if (t->count >= TUNNEL_LINKS_MAX)
        return ERR_LIMIT;
    struct live_conn *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return ERR_NOMEM;
    *copy = *c;
    (void)link_gauge_ref(copy->gauge);
    copy->by_link.key = slice_of(&copy->link, sizeof copy->link);
    int r = map_put(&l->links, &copy->by_link);
    if (r < 0) {
        conn_free(copy);
        return r;
    }
    list_push_back(&t->conns, &copy->in_tunnel);
    t->count++;
    t->away_since_us = 0;
    return 0;
}

void live_drain(struct live *l, uint64_t link)
{
    struct live_conn *c = conn_of(l, link);
    if (c != NULL)
        c->is_draining = true;
}

bool live_remove(struct live *l, uint64_t link, struct uuid *ret_tunnel)
{
    struct live_conn *c = conn_of(l, link);
    if (c == NULL)
        return false;
    struct live_tunnel *t = tunnel_of(l, &c->tunnel);
    *ret_tunnel = c->tunnel;
    map_remove(&l->links, &c->by_link);
    list_remove(&c->in_tunnel);
    if (--t->count == 0)
        t->away_since_us = clock_wall_us();
    if (t->is_forgotten)
        live_forget(l, ret_tunnel);
    conn_free(c);
    return true;
}

size_t live_count(const struct live *l, const struct uuid *tunnel)
{
    const struct live_tunnel *t = tunnel_of(l, tunnel);
    return t != NULL ? t->count : 0;
}

const struct live_conn *live_first(const struct live *l, const struct uuid *tunnel)
{
    const struct live_tunnel *t = tunnel_of(l, tunnel);
    return t != NULL && t->count > 0 ? container_of(t->conns.next, struct live_conn, in_tunnel)
                                     : NULL;
}

const struct live_conn *live_next(const struct live *l, const struct live_conn *c)
{
    const struct live_tunnel *t = tunnel_of(l, &c->tunnel);
    struct list *next = c->in_tunnel.next;
    return next != &t->conns ? container_of(next, struct live_conn, in_tunnel) : NULL;
}

int64_t live_away_since(const struct live *l, const struct uuid *tunnel)
{
    const struct live_tunnel *t = tunnel_of(l, tunnel);
    return t != NULL ? t->away_since_us : 0;
}

bool live_was_active(const struct live *l, const struct uuid *tunnel)
{
    return tunnel_of(l, tunnel) != NULL;
}

/* ---- rules of their own ---- */

static void drop_report(struct live *l, struct live_tunnel *t)
{
    l->report_bytes -= t->report_bytes;
    free(t->report);
    t->report = NULL;
    t->report_bytes = 0;
    list_remove(&t->in_reports);
}

int live_report(struct live *l, const struct uuid *tunnel, struct slice json)
{
    struct live_tunnel *t = tunnel_of(l, tunnel);
    if (t == NULL || t->count == 0)
        return ERR_NOTFOUND;
    drop_report(l, t);
    uint8_t *copy = malloc(json.n + 1);
    if (copy == NULL)
        return ERR_NOMEM;
    if (json.n > 0)
        memcpy(copy, json.p, json.n);
    t->report = copy;
    t->report_bytes = json.n;
    l->report_bytes += json.n;
    list_push_back(&l->reports, &t->in_reports);
    while (l->report_bytes > LOCAL_REPORTS_BYTES_MAX)
        drop_report(l, container_of(l->reports.next, struct live_tunnel, in_reports));
    return 0;
}

struct slice live_reported(const struct live *l, const struct uuid *tunnel)
{
    const struct live_tunnel *t = tunnel_of(l, tunnel);
    return t != NULL ? slice_of(t->report, t->report_bytes) : (struct slice){ 0 };
}

void live_forget(struct live *l, const struct uuid *tunnel)
{
    struct live_tunnel *t = tunnel_of(l, tunnel);
    if (t == NULL)
        return;
    t->is_forgotten = true;
    if (t->count > 0)
        return;
    map_remove(&l->tunnels, &t->node);
    drop_report(l, t);
    free(t);
}

void live_tunnels(const struct live *l, void (*each)(void *ctx, const struct uuid *tunnel),
                  void *ctx)
{
    size_t bucket = 0;
    struct map_node *after = NULL;
    for (struct map_node *n = map_next(&l->tunnels, &bucket, &after); n != NULL;
         n = map_next(&l->tunnels, &bucket, &after)) {
        const struct live_tunnel *t = container_of(n, struct live_tunnel, node);
        if (t->count > 0)
            each(ctx, &t->id);
    }
}
