#include "connector/origin_h2.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"

/* A connection on which a request waits and nothing comes may be dead: then a PING asks, and what
 * does not answer that is closed. Origins count PINGs and forgive them with the next response that
 * they send (gRPC's end the connection at the third), so there are two at most from one frame of a
 * response to the next: the second when the silence lasts. */
#define QUIET_NSEC      NSEC_PER_SEC
#define QUIET_LONG_NSEC (10 * NSEC_PER_SEC)
#define PONG_NSEC       (5 * NSEC_PER_SEC)
#define PINGS_MAX       2

/* Where it leads, and with what. */
struct where {
    bool is_unix;
    uint16_t port;
    struct tls_creds *tls; /* its address stands for what it verifies: counted, so that it stays */
    const struct origin_proxy *proxy;
    size_t host_bytes, name_bytes;
    char text[]; /* host, name of TLS */
};

/* A connection, shared. It ends with its last stream when the rule keeps none, some time after it
 * otherwise, or when the origin says so. */
struct shared {
    struct list node; /* the most recently made first */
    struct task task;
    struct deadline idle, quiet;
    nsec watched_at;         /* since when its silence counts */
    uint64_t message_frames; /* that had come when it was last looked at */
    unsigned pings;          /* since then */
    struct where *where;
    struct origin_h2_pool *pool;
    struct h2_conn *conn;
    nsec idle_timeout; /* 0 = for ever */
    bool is_kept;      /* without a stream */
    struct reaper reaper;
};

/* One that is being dialled. */
struct origin_h2_dial {
    struct list node, waiting;
    size_t count;
    struct where *where;
};

struct origin_h2_pool {
    struct loop *loop;
    struct list all, dials;
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
    list_init(&p->dials);
    return p;
}

static struct where *where_new(const struct origin_target *t)
{
    struct where *w = calloc(1, sizeof *w + t->host.n + t->tls_name.n);
    if (w == NULL)
        return NULL;
    w->is_unix = t->is_unix;
    w->port = t->port;
    w->tls = tls_creds_ref(t->tls);
    w->proxy = t->proxy;
    w->host_bytes = t->host.n;
    w->name_bytes = t->tls_name.n;
    if (t->host.n > 0)
        memcpy(w->text, t->host.p, t->host.n);
    if (t->tls_name.n > 0)
        memcpy(w->text + t->host.n, t->tls_name.p, t->tls_name.n);
    return w;
}

static void where_free(struct where *w)
{
    if (w != NULL)
        tls_creds_unref(w->tls);
    free(w);
}

static bool leads_to(const struct where *w, const struct origin_target *t)
{
    const uint8_t *text = (const uint8_t *)w->text;
    return w->tls == t->tls && w->port == t->port && w->is_unix == t->is_unix &&
           w->proxy == t->proxy && slice_eq(slice_of(text, w->host_bytes), t->host) &&
           slice_eq(slice_of(text + w->host_bytes, w->name_bytes), t->tls_name);
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
    deadline_clear(&s->quiet);
    task_done(&s->task);
    h2_conn_release(s->conn);
    where_free(s->where);
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

/* Some request waits on it from now on. */
static void watch(struct shared *s)
{
    if (deadline_is_set(&s->quiet))
        return;
    s->watched_at = loop_now(s->pool->loop);
    deadline_set(&s->quiet, &s->task, s->watched_at + QUIET_NSEC);
}

static void look_at_silence(struct shared *s, const struct h2_stats *stats)
{
    nsec now = loop_now(s->pool->loop);
    nsec since = stats->heard_at > s->watched_at ? stats->heard_at : s->watched_at;
    if (stats->message_frames != s->message_frames)
        s->pings = 0;
    s->message_frames = stats->message_frames;
    if (stats->streams == 0)
        return;
    nsec due = since + (s->pings == 0 ? QUIET_NSEC : QUIET_LONG_NSEC);
    if (now >= due && s->pings < PINGS_MAX) {
        h2_conn_ping(s->conn);
        s->pings++;
    }
    deadline_set(&s->quiet, &s->task, now < due ? due : now + QUIET_LONG_NSEC);
}

static void shared_run(struct task *t)
{
    struct shared *s = container_of(t, struct shared, task);
    struct h2_stats stats;
    if (h2_conn_state(s->conn) == H2_CLOSED) {
        shared_free(s);
        return;
    }
    h2_conn_stats(s->conn, &stats);
    if (deadline_take(&s->quiet))
        look_at_silence(s, &stats);
    if (stats.streams > 0) {
        deadline_clear(&s->idle);
        return;
    }
    if (!s->is_kept || deadline_take(&s->idle))
        h2_conn_drain(s->conn);
    else if (s->idle_timeout > 0 && !deadline_is_set(&s->idle))
        deadline_set(&s->idle, &s->task, loop_now(s->pool->loop) + s->idle_timeout);
}

struct h2_conn *origin_h2_find(struct origin_h2_pool *p, const struct origin_target *target)
{
    list_each(it, &p->all)
    {
        struct shared *s = container_of(it, struct shared, node);
        struct h2_stats stats;
        if (h2_conn_state(s->conn) >= H2_DRAINING || !leads_to(s->where, target))
            continue;
        h2_conn_stats(s->conn, &stats);
        if (stats.streams < stats.streams_max) {
            watch(s);
            return s->conn;
        }
    }
    return NULL;
}

static int shared_new(struct origin_h2_pool *p, struct stream *under, const struct origin_target *t,
                      struct shared **ret)
{
    /* Quiet is no sign of death here: a PING too many makes some origins hang up (look_at_silence).
     */
    const struct h2_conf conf = { .head_bytes = (uint32_t)p->head_max, .pong = PONG_NSEC };
    struct shared *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->where = where_new(t);
    if (s->where == NULL) {
        free(s);
        return ERR_NOMEM;
    }
    task_init(&s->task, p->loop, shared_run);
    int r = h2_open(p->loop, &conf, under, &s->task, &s->conn);
    if (r < 0) {
        where_free(s->where);
        free(s);
        return r;
    }
    s->pool = p;
    s->idle_timeout = t->idle_timeout;
    s->is_kept = t->idle_max > 0 && p->count < ORIGIN_H2_KEPT_MAX;
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
    watch(s);
    *ret = s->conn;
    return 0;
}

/* ---- waiting for one ---- */

static struct origin_h2_dial *dial_to(const struct origin_h2_pool *p, const struct origin_target *t)
{
    list_each(it, &p->dials)
    {
        struct origin_h2_dial *d = container_of(it, struct origin_h2_dial, node);
        if (leads_to(d->where, t))
            return d;
    }
    return NULL;
}

struct origin_h2_dial *origin_h2_dial_begin(struct origin_h2_pool *p, const struct origin_target *t)
{
    struct origin_h2_dial *d = dial_to(p, t) == NULL ? calloc(1, sizeof *d) : NULL;
    if (d == NULL)
        return NULL;
    d->where = where_new(t);
    if (d->where == NULL) {
        free(d);
        return NULL;
    }
    list_init(&d->waiting);
    list_push_back(&p->dials, &d->node);
    return d;
}

void origin_h2_wait_end(struct origin_h2_wait *w)
{
    if (w->dial == NULL)
        return;
    list_remove(&w->node);
    w->dial->count--;
    w->dial = NULL;
}

void origin_h2_dial_end(struct origin_h2_dial *d)
{
    if (d == NULL)
        return;
    list_each(it, &d->waiting)
    {
        struct origin_h2_wait *w = container_of(it, struct origin_h2_wait, node);
        origin_h2_wait_end(w);
        task_wake(w->task);
    }
    list_remove(&d->node);
    where_free(d->where);
    free(d);
}

bool origin_h2_wait_begin(struct origin_h2_pool *p, const struct origin_target *target,
                          struct origin_h2_wait *w, struct task *task)
{
    struct origin_h2_dial *d = dial_to(p, target);
    if (d == NULL || d->count >= ORIGIN_H2_WAITING_MAX)
        return false;
    list_push_back(&d->waiting, &w->node);
    d->count++;
    w->dial = d;
    w->task = task;
    return true;
}
