#include "connector/origin_h2.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"

/* A connection, shared. It ends with its last stream when the rule keeps none, some time after it
 * otherwise, or when the origin says so. */
struct shared {
    struct list node; /* the most recently made first */
    struct task task;
    struct deadline idle;
    struct origin_h2_pool *pool;
    struct h2_conn *conn;
    nsec idle_timeout; /* 0 = for ever */
    bool is_kept;      /* without a stream */
    bool is_unix;
    uint16_t port;
    struct tls_creds *tls; /* its address stands for what it verifies: counted, so that it stays */
    const struct origin_proxy *proxy;
    size_t host_bytes, name_bytes;
    struct reaper reaper;
    char text[]; /* host, name of TLS */
};

struct origin_h2_pool {
    struct loop *loop;
    struct list all;
    size_t count, head_max;
};

struct origin_h2_pool *origin_h2_pool_new(struct loop *loop, size_t head_max)
{
    struct origin_h2_pool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->loop = loop;
    p->head_max = head_max;
    list_init(&p->all);
    return p;
}

static void reap(struct reaper *r)
{
    free(container_of(r, struct shared, reaper));
}

static void shared_free(struct shared *s)
{
    list_remove(&s->node);
    s->pool->count--;
    deadline_clear(&s->idle);
    task_done(&s->task);
    h2_conn_release(s->conn);
    tls_creds_unref(s->tls);
    loop_reap(s->pool->loop, &s->reaper, reap);
}

void origin_h2_pool_free(struct origin_h2_pool *p)
{
    if (p == NULL)
        return;
    list_each(it, &p->all)
    {
        struct shared *s = container_of(it, struct shared, node);
        h2_conn_abort(s->conn);
        s->conn = NULL;
        shared_free(s);
    }
    free(p);
}

/* ---- its life ---- */

static void shared_run(struct task *t)
{
    struct shared *s = container_of(t, struct shared, task);
    struct h2_stats stats;
    if (h2_conn_state(s->conn) == H2_CLOSED) {
        shared_free(s);
        return;
    }
    h2_conn_stats(s->conn, &stats);
    if (stats.streams > 0) {
        deadline_clear(&s->idle);
        return;
    }
    if (!s->is_kept || deadline_take(&s->idle))
        h2_conn_drain(s->conn);
    else if (s->idle_timeout > 0 && !deadline_is_set(&s->idle))
        deadline_set(&s->idle, &s->task, loop_now(s->pool->loop) + s->idle_timeout);
}

static bool is_for(const struct shared *s, const struct origin_target *t)
{
    const uint8_t *text = (const uint8_t *)s->text;
    return s->tls == t->tls && s->port == t->port && s->is_unix == t->is_unix &&
           s->proxy == t->proxy && slice_eq(slice_of(text, s->host_bytes), t->host) &&
           slice_eq(slice_of(text + s->host_bytes, s->name_bytes), t->tls_name);
}

struct h2_conn *origin_h2_find(struct origin_h2_pool *p, const struct origin_target *target)
{
    list_each(it, &p->all)
    {
        struct shared *s = container_of(it, struct shared, node);
        struct h2_stats stats;
        if (h2_conn_state(s->conn) >= H2_DRAINING || !is_for(s, target))
            continue;
        h2_conn_stats(s->conn, &stats);
        if (stats.streams < stats.streams_max)
            return s->conn;
    }
    return NULL;
}

static int shared_new(struct origin_h2_pool *p, struct stream *under, const struct origin_target *t,
                      struct shared **ret)
{
    /* Quiet is no sign of death here: a PING too many makes some origins hang up, and the kernel
     * looks after connections that are silent (tcpKeepAlive). */
    const struct h2_conf conf = { .head_bytes = (uint32_t)p->head_max };
    struct shared *s = calloc(1, sizeof *s + t->host.n + t->tls_name.n);
    if (s == NULL)
        return ERR_NOMEM;
    task_init(&s->task, p->loop, shared_run);
    int r = h2_open(p->loop, &conf, under, &s->task, &s->conn);
    if (r < 0) {
        free(s);
        return r;
    }
    s->pool = p;
    s->idle_timeout = t->idle_timeout;
    s->is_kept = t->idle_max > 0 && p->count < ORIGIN_H2_KEPT_MAX;
    s->is_unix = t->is_unix;
    s->port = t->port;
    s->tls = tls_creds_ref(t->tls);
    s->proxy = t->proxy;
    s->host_bytes = t->host.n;
    s->name_bytes = t->tls_name.n;
    if (t->host.n > 0)
        memcpy(s->text, t->host.p, t->host.n);
    if (t->tls_name.n > 0)
        memcpy(s->text + t->host.n, t->tls_name.p, t->tls_name.n);
    *ret = s;
    return 0;
}

int origin_h2_adopt(struct origin_h2_pool *p, struct origin_conn *conn,
                    const struct origin_target *target, struct h2_conn **ret)
{
    struct shared *s;
    struct stream *under = origin_take_stream(conn);
    int r = shared_new(p, under, target, &s);
    if (r < 0) {
        stream_release(under);
        return r;
    }
    list_push_front(&p->all, &s->node);
    p->count++;
    *ret = s->conn;
    return 0;
}
