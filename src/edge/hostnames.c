#include "edge/hostnames.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/err.h"
#include "edge/families.h"

#define LABEL_BYTES_MAX 600
#define BOUNDS_SHOWN    2 /* every second bound: a hostname has few requests, but they are many */
#define OTHER           "other"

/* A name that some worker has a series of. */
struct name {
    struct map_node node;
    struct list series;
    char text[];
};

struct hostnames {
    pthread_mutex_t lock;
    struct map names;
    size_t max;
    struct list others; /* each view's "other" */
    _Atomic bool is_full;
};

struct hostname_view {
    struct hostnames *all;
    struct map series;
    struct hostname_series *other;
};

struct hostnames *hostnames_new(size_t max)
{
    struct hostnames *h = calloc(1, sizeof *h);
    if (h == NULL)
        abort();
    (void)pthread_mutex_init(&h->lock, NULL);
    map_init(&h->names);
    list_init(&h->others);
    h->max = max;
    return h;
}

void hostnames_free(struct hostnames *h)
{
    if (h == NULL)
        return;
    (void)pthread_mutex_destroy(&h->lock);
    map_done(&h->names);
    free(h);
}

static struct hostname_series *series_new(struct slice name)
{
    struct hostname_series *s = calloc(1, sizeof *s + name.n + 1);
    if (s == NULL)
        return NULL;
    if (name.n > 0)
        memcpy(s->name, name.p, name.n);
    s->node.key = slice_of(s->name, name.n);
    s->counted = s;
    return s;
}

struct hostname_view *hostname_view_new(struct hostnames *h)
{
    struct hostname_view *v = calloc(1, sizeof *v);
    if (v == NULL || (v->other = series_new(SLICE(OTHER))) == NULL)
        abort();
    v->all = h;
    map_init(&v->series);
    (void)pthread_mutex_lock(&h->lock);
    list_push_back(&h->others, &v->other->in_name);
    (void)pthread_mutex_unlock(&h->lock);
    return v;
}

/* ---- joining and leaving a name, under the lock ---- */

static struct name *name_make(struct hostnames *h, struct slice text)
{
    struct map_node *node = map_get(&h->names, text);
    if (node != NULL)
        return container_of(node, struct name, node);
    if (h->names.count >= h->max)
        return NULL;
    struct name *n = calloc(1, sizeof *n + text.n + 1);
    if (n == NULL)
        return NULL;
    memcpy(n->text, text.p, text.n);
    n->node.key = slice_of(n->text, text.n);
    list_init(&n->series);
    if (map_put(&h->names, &n->node) == 0)
        return n;
    free(n);
    return NULL;
}

static void leave(struct hostnames *h, struct hostname_series *s)
{
    struct map_node *node = map_get(&h->names, s->node.key);
    if (node == NULL)
        return;
    struct name *n = container_of(node, struct name, node);
    list_remove(&s->in_name);
    if (!list_is_empty(&n->series))
        return;
    map_remove(&h->names, &n->node);
    free(n);
    atomic_store_explicit(&h->is_full, false, memory_order_relaxed);
}

/* ---- a view ---- */

struct hostname_series *hostname_view_get(struct hostname_view *v, struct slice route)
{
    struct map_node *node = route.n > 0 ? map_get(&v->series, route) : NULL;
    if (node != NULL)
        return container_of(node, struct hostname_series, node)->counted;
    struct hostname_series *s = route.n > 0 ? series_new(route) : NULL;
    if (s == NULL || map_put(&v->series, &s->node) < 0) {
        free(s);
        return v->other;
    }
    (void)pthread_mutex_lock(&v->all->lock);
    struct name *n = name_make(v->all, route);
    if (n != NULL)
        list_push_back(&n->series, &s->in_name);
    (void)pthread_mutex_unlock(&v->all->lock);
    if (n == NULL) {
        s->counted = v->other; /* so that the next request need not take the lock */
        atomic_store_explicit(&v->all->is_full, true, memory_order_relaxed);
    }
    return s->counted;
}

static void drop(struct hostname_view *v, struct hostname_series *s)
{
    map_remove(&v->series, &s->node);
    if (s->counted == s)
        leave(v->all, s);
    free(s);
}

void hostname_view_prune(struct hostname_view *v, const struct snapshot *snapshot)
{
    size_t bucket = 0;
    struct map_node *after = NULL;
    if (!atomic_load_explicit(&v->all->is_full, memory_order_relaxed))
        return;
    (void)pthread_mutex_lock(&v->all->lock);
    for (struct map_node *n = map_next(&v->series, &bucket, &after); n != NULL;
         n = map_next(&v->series, &bucket, &after)) {
        struct hostname_series *s = container_of(n, struct hostname_series, node);
        bool is_idle = metric_read(&s->in_flight) == 0;
        if (s->counted != s || (is_idle && !snapshot_has(snapshot, s->node.key)))
            drop(v, s);
    }
    (void)pthread_mutex_unlock(&v->all->lock);
}

void hostname_view_free(struct hostname_view *v)
{
    size_t bucket = 0;
    struct map_node *after = NULL;
    if (v == NULL)
        return;
    (void)pthread_mutex_lock(&v->all->lock);
    for (struct map_node *n = map_next(&v->series, &bucket, &after); n != NULL;
         n = map_next(&v->series, &bucket, &after))
        drop(v, container_of(n, struct hostname_series, node));
    list_remove(&v->other->in_name);
    (void)pthread_mutex_unlock(&v->all->lock);
    map_done(&v->series);
    free(v->other);
    free(v);
}

/* ---- the page ---- */

struct sums {
    uint64_t requests[HOSTNAME_CLASSES], bytes_up, bytes_down, in_flight, latency[METRIC_BUCKETS],
        latency_sum;
};

static void add_up(struct list *series, struct sums *ret)
{
    *ret = (struct sums){ 0 };
    list_each(it, series)
    {
        struct hostname_series *s = container_of(it, struct hostname_series, in_name);
        for (size_t i = 0; i < HOSTNAME_CLASSES; i++)
            ret->requests[i] += metric_read(&s->requests[i]);
        ret->bytes_up += metric_read(&s->bytes_up);
        ret->bytes_down += metric_read(&s->bytes_down);
        ret->in_flight += metric_read(&s->in_flight);
        for (size_t i = 0; i < METRIC_BUCKETS; i++)
            ret->latency[i] += metric_read(&s->latency.buckets[i]);
        ret->latency_sum += metric_read(&s->latency.sum);
    }
}

static void requests_line(struct strb *to, struct slice label, const struct sums *s)
{
    static const char *const CLASSES[] = { "1xx", "2xx", "3xx", "4xx", "5xx", "none" };
    for (size_t i = 0; i < HOSTNAME_CLASSES; i++)
        if (s->requests[i] > 0)
            strb_fmt(to, "%s{%.*s,class=\"%s\"} %" PRIu64 "\n",
                     edge_family(FAMILY_HOSTNAME_REQUESTS)->name, SLICE_FMT(label), CLASSES[i],
                     s->requests[i]);
}

static void bytes_line(struct strb *to, struct slice label, const struct sums *s)
{
    const char *name = edge_family(FAMILY_HOSTNAME_BYTES)->name;
    strb_fmt(to, "%s{%.*s,direction=\"up\"} %" PRIu64 "\n", name, SLICE_FMT(label), s->bytes_up);
    strb_fmt(to, "%s{%.*s,direction=\"down\"} %" PRIu64 "\n", name, SLICE_FMT(label),
             s->bytes_down);
}

static void exchanges_line(struct strb *to, struct slice label, const struct sums *s)
{
    strb_fmt(to, "%s{%.*s} %" PRIu64 "\n", edge_family(FAMILY_HOSTNAME_EXCHANGES)->name,
             SLICE_FMT(label), s->in_flight);
}

static void latency_line(struct strb *to, struct slice label, const struct sums *s)
{
    metric_hist_page(to, edge_family(FAMILY_HOSTNAME_LATENCY)->name, label, s->latency,
                     s->latency_sum, BOUNDS_SHOWN);
}

static void one(struct strb *to, struct slice name, struct list *series,
                void (*line)(struct strb *, struct slice, const struct sums *))
{
    struct strb label;
    struct sums sums;
    strb_init(&label, LABEL_BYTES_MAX);
    strb_str(&label, "hostname=\"");
    metric_label(&label, name);
    strb_char(&label, '"');
    add_up(series, &sums);
    if (label.err == 0)
        line(to, strb_slice(&label), &sums);
    strb_done(&label);
}

void hostnames_page(struct hostnames *h, struct strb *to)
{
    static const struct {
        enum edge_family family;
        void (*line)(struct strb *, struct slice, const struct sums *);
    } PARTS[] = { { FAMILY_HOSTNAME_REQUESTS, requests_line },
                  { FAMILY_HOSTNAME_BYTES, bytes_line },
                  { FAMILY_HOSTNAME_EXCHANGES, exchanges_line },
                  { FAMILY_HOSTNAME_LATENCY, latency_line } };
    (void)pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++) {
        size_t bucket = 0;
        struct map_node *after = NULL;
        metric_family_head(to, edge_family(PARTS[i].family));
        for (struct map_node *n = map_next(&h->names, &bucket, &after); n != NULL;
             n = map_next(&h->names, &bucket, &after)) {
            struct name *name = container_of(n, struct name, node);
            one(to, n->key, &name->series, PARTS[i].line);
        }
        one(to, SLICE(OTHER), &h->others, PARTS[i].line);
    }
    (void)pthread_mutex_unlock(&h->lock);
}
