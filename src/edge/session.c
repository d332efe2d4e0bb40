/* A connector's connection at the edge: its control stream, its registration, its link. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/session_int.h"
#include "edge/stand_in.h"

#define REGISTER_NSEC                                                                              \
    (10 * NSEC_PER_SEC) /* a connection that never registers holds memory for nothing */
#define CONTROL_BYTES_MAX (CAPNP_MESSAGE_BYTES_MAX + 65536)
#define RTT_EVERY         16 /* streams */
#define HEALTH_BUSY_NSEC  (50 * NSEC_PER_MSEC)
#define HEALTH_IDLE_NSEC  NSEC_PER_SEC
/* So long after the last exchange began, those that stand are reason enough to ask for a sign of
 * life; a websocket that stays for hours is not. */
#define RECENT_NSEC (30 * NSEC_PER_SEC)

static void session_run(struct task *t);

/* ---- links in every worker's table ---- */

struct link_news {
    struct mail mail;
    struct link_news *next; /* of those laid by */
    struct edge_worker *worker;
    struct link *link;
    enum link_change change;
};

static void link_news_drop(struct mail *m)
{
    struct link_news *n = container_of(m, struct link_news, mail);
    link_unref(n->link);
    free(n);
}

/* What became of a connector shows on all its connections: those that merely stand are asked. */
static void probe_siblings(struct edge_worker *w, const struct link *l)
{
    list_each(it, &w->sessions)
    {
        struct session *s = container_of(it, struct session, node);
        if (s->is_stand_in || s->state != SESSION_SERVING || s->link == l ||
            memcmp(s->link->connector.bytes, l->connector.bytes, sizeof l->connector.bytes) != 0)
            continue;
        carrier_probe(&s->carrier);
        session_watch(s);
    }
}

static void link_news_deliver(struct mail *m)
{
    struct link_news *n = container_of(m, struct link_news, mail);
    struct edge_worker *w = n->worker;
    switch (n->change) {
    case LINK_ADDED:
        if (link_table_add(w->links, n->link) < 0)
            log_warn("out of memory: a worker does not know of a connection",
                     LSTR("connection", n->link->connection), LU64("worker", w->index));
        dispatch_link_came(w, &n->link->tunnel);
        break;
    case LINK_SUSPECT:
        if (atomic_load_explicit(&n->link->is_suspect, memory_order_relaxed))
            probe_siblings(w, n->link);
        dispatch_link_doubtful(w, n->link);
        break;
    case LINK_REMOVED:
        link_table_remove(w->links, n->link->id, loop_now(w->loop));
        break;
    }
    link_news_drop(m);
}

/* One for each worker and for both the beginning and the end. */
int session_lay_by_news(struct session *s)
{
    for (unsigned i = 0; i < 2 * s->worker->edge->count; i++) {
        struct link_news *n = calloc(1, sizeof *n);
        if (n == NULL)
            return ERR_NOMEM;
        n->next = s->news;
        s->news = n;
    }
    return 0;
}

/* Of a link's health nobody must know: without memory they learn of it later. */
static struct link_news *take_news(struct session *s, enum link_change change)
{
    if (change == LINK_SUSPECT)
        return calloc(1, sizeof(struct link_news));
    struct link_news *n = s->news;
    s->news = n->next;
    return n;
}

/* To worker i, from worker w. */
static void post_news(struct edge_worker *w, struct link *l, enum link_change change, unsigned i,
                      struct link_news *n)
{
    struct edge *e = w->edge;
    n->mail = (struct mail){ .deliver = link_news_deliver, .drop = link_news_drop };
    n->worker = &e->workers[i];
    n->link = link_ref(l);
    n->change = change;
    if (i == w->index)
        link_news_deliver(&n->mail);
    else
        mailbox_post(e->mailboxes[i], &n->mail);
}

void session_tell_workers(struct session *s, enum link_change change)
{
    for (unsigned i = 0; i < s->worker->edge->count; i++) {
        struct link_news *n = take_news(s, change);
        if (n != NULL)
            post_news(s->worker, s->link, change, i, n);
    }
}

void links_tell(struct edge_worker *w, struct link *l, enum link_change change)
{
    for (unsigned i = 0; i < w->edge->count; i++) {
        struct link_news *n = calloc(1, sizeof *n);
        if (n != NULL)
            post_news(w, l, change, i, n);
    }
}

/* ---- life ---- */

static void reap(struct reaper *r)
{
    struct session *s = container_of(r, struct session, reaper);
    while (s->news != NULL)
        free(take_news(s, LINK_REMOVED));
    rpc_free(s->rpc);
    buf_done(&s->in);
    buf_done(&s->out);
    link_unref(s->link);
    link_gauge_unref(s->gauge);
    free(s);
}

/* A session without its carrier; NULL when memory is short. */
static struct session *session_new(struct edge_worker *w)
{
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->rpc = rpc_new();
    w->serial = w->serial < INT32_MAX ? w->serial + 1 : 1;
    s->link = link_new(LINK_ID(w->index, w->serial), w->index, w->mailbox);
    s->gauge = link_gauge_new();
    if (s->rpc == NULL || s->link == NULL || s->gauge == NULL) {
        rpc_free(s->rpc);
        link_unref(s->link);
        link_gauge_unref(s->gauge);
        free(s);
        return NULL;
    }
    s->worker = w;
    s->by_id.key = slice_of(&s->link->id, sizeof s->link->id);
    if (map_put(&w->sessions_by_id, &s->by_id) < 0) {
        reap(&s->reaper);
        return NULL;
    }
    task_init(&s->task, w->loop, session_run);
    buf_init(&s->in, loop_chunks(w->loop), CONTROL_BYTES_MAX);
    buf_init(&s->out, loop_chunks(w->loop), CONTROL_BYTES_MAX);
    list_push_back(&w->sessions, &s->node);
    deadline_set(&s->deadline, &s->task, loop_now(w->loop) + REGISTER_NSEC);
    task_wake(&s->task);
    return s;
}

int session_open(struct edge_worker *w, struct quic_conn *conn)
{
    struct session *s = session_new(w);
    if (s == NULL)
        return ERR_NOMEM;
    carrier_init_quic(&s->carrier, conn, &s->task);
    return 0;
}

int session_open_h2(struct edge_worker *w, struct stream *tls, const struct addr *peer)
{
    struct session *s = session_new(w);
    if (s == NULL) {
        stream_abort(tls, ERR_NOMEM);
        stream_release(tls);
        return ERR_NOMEM;
    }
    s->link->is_h2 = true;
    int r = carrier_init_h2(&s->carrier, w->loop, tls, peer, &s->task);
    if (r < 0)
        session_end(s, err_text(r));
    return r;
}

int session_open_stand_in(struct edge_worker *w, struct stream *under, uint64_t *ret_id)
{
    struct session *s = session_new(w);
    if (s == NULL) {
        stream_abort(under, ERR_NOMEM);
        stream_release(under);
        return ERR_NOMEM;
    }
    s->link->is_h2 = s->is_stand_in = true;
    s->link->extensions = EXTENSIONS_ALL;
    s->state = SESSION_SERVING;
    deadline_clear(&s->deadline);
    int r = carrier_init_stand_in(&s->carrier, w->loop, under, &s->task);
    if (r < 0)
        session_end(s, err_text(r));
    else
        *ret_id = s->link->id;
    return r;
}

void session_end(struct session *s, const char *why)
{
    struct edge_worker *w = s->worker;
    if (s->state == SESSION_OVER)
        return;
    if (s->is_stand_in) {
        stand_in_lost(w);
    } else if (s->state == SESSION_SERVING) {
        session_tell_workers(s, LINK_REMOVED);
        metric_add(w->metrics, EDGE_links, -1);
        log_info("connection ended", LSTR("connection", s->link->connection),
                 LU64("index", s->link->index), LSTR("why", why));
    }
    if (s->is_told)
        w->edge->conf.plane.gone(w->edge->conf.plane.ctx, s->link->id);
    s->state = SESSION_OVER;
    map_remove(&w->sessions_by_id, &s->by_id);
    list_remove(&s->node);
    deadline_clear(&s->deadline);
    deadline_clear(&s->health);
    stream_release(s->control);
    carrier_done(&s->carrier);
    task_done(&s->task); /* behind whatever woke it while it ended */
    loop_reap(w->loop, &s->reaper, reap);
}

struct session *session_find(struct edge_worker *w, uint64_t id)
{
    struct map_node *node = map_get(&w->sessions_by_id, slice_of(&id, sizeof id));
    return node != NULL ? container_of(node, struct session, by_id) : NULL;
}

struct link *session_link(struct session *s)
{
    return s->link;
}

void session_close(struct session *s, const char *why)
{
    session_end(s, why);
}

void sessions_abort(struct edge_worker *w)
{
    list_each(it, &w->sessions)
    {
        session_end(container_of(it, struct session, node), "the edge stops");
    }
}

void sessions_send_away(struct edge_worker *w)
{
    list_each(it, &w->sessions)
    {
        struct session *s = container_of(it, struct session, node);
        if (s->is_stand_in || s->state != SESSION_SERVING || !leaving_step(&s->leaving, w, s->link))
            continue;
        metric_add(w->metrics, EDGE_sent_away, 1);
        session_end(s, w->is_succeeded ? "sent away: another edge serves"
                                       : "sent away: the edge stops");
    }
}

/* Something is sent: its answer is watched for. */
void session_watch(struct session *s)
{
    if (s->is_watched)
        return;
    s->is_watched = true;
    deadline_set(&s->health, &s->task, loop_now(s->worker->loop) + HEALTH_BUSY_NSEC);
}

int session_carrier(struct session *s, struct carrier **ret)
{
    if (s->state != SESSION_SERVING)
        return ERR_CLOSED;
    if (s->opened++ % RTT_EVERY == 0)
        metric_observe(s->worker->metrics, EDGE_link_rtt, carrier_rtt(&s->carrier));
    s->opened_at = loop_now(s->worker->loop);
    session_watch(s);
    *ret = &s->carrier;
    return 0;
}

/* ---- health ---- */

static void set_suspect(struct session *s, bool is_suspect, nsec silent_for)
{
    struct link *l = s->link;
    if (atomic_exchange_explicit(&l->is_suspect, is_suspect, memory_order_relaxed) == is_suspect)
        return;
    metric_add(s->worker->metrics, is_suspect ? EDGE_suspected : EDGE_readmitted, 1);
    if (is_suspect) {
        log_warn("connection is suspect: its connector does not answer",
                 LSTR("connection", l->connection), LU64("index", l->index),
                 LU64("silent_ms", silent_for / NSEC_PER_MSEC));
        session_tell_workers(s, LINK_SUSPECT);
    } else {
        log_info("connection answers again", LSTR("connection", l->connection),
                 LU64("index", l->index));
        session_tell_workers(s, LINK_SUSPECT); /* what waited for a better one may go on here */
    }
}

/* Looks often while something is sent, seldom while exchanges merely stand, and not at all while
 * there is nothing. False when the session ended. */
static bool check_health(struct session *s)
{
    nsec now = loop_now(s->worker->loop);
    struct carrier_health h = carrier_health(&s->carrier, now);
    link_gauge_set_rtt(s->gauge, carrier_rtt(&s->carrier));
    if (h.silent_for > h.give_up) {
        session_end(s, "its connector has not answered for too long");
        return false;
    }
    set_suspect(s, h.silent_for > h.patience, h.silent_for);
    bool is_busy = h.written != s->written || h.is_owed;
    bool has_any = atomic_load_explicit(&s->link->in_flight, memory_order_relaxed) > 0;
    s->written = h.written;
    s->is_watched = is_busy;
    /* Everything was acknowledged, and yet the answer may never come. */
    if (has_any && !is_busy && now - s->opened_at < RECENT_NSEC)
        carrier_probe(&s->carrier);
    if (is_busy || has_any)
        deadline_set(&s->health, &s->task, now + (is_busy ? HEALTH_BUSY_NSEC : HEALTH_IDLE_NSEC));
    return true;
}

/* ---- driving ---- */

/* Who breaks the protocol, or makes work for nothing, is named: registered or not. */
static void note_fault(struct session *s)
{
    char peer[ADDR_TEXT_BYTES];
    bool is_flood = s->carrier.err == ERR_LIMIT;
    if (!is_flood && s->carrier.err != ERR_PROTO)
        return;
    metric_add(s->worker->metrics, is_flood ? EDGE_faults_flood : EDGE_faults_protocol, 1);
    log_warn("a connector broke the protocol and is closed",
             LSTR("address", addr_text(&s->carrier.peer, peer)),
             LSTR("transport", carrier_name(&s->carrier)), LSTR("why", s->carrier.why));
}

static void session_run(struct task *t)
{
    struct session *s = container_of(t, struct session, task);
    if (carrier_is_closed(&s->carrier)) {
        note_fault(s);
        session_end(s, s->carrier.why);
        return;
    }
    if (deadline_take(&s->deadline)) {
        session_end(s, s->state == SESSION_REFUSED ? "the registration was refused"
                                                   : "no registration came");
        return;
    }
    if (deadline_take(&s->health) && !check_health(s))
        return;
    int r = carrier_control(&s->carrier, &s->task, &s->control);
    if (r < 0 && r != ERR_AGAIN) {
        session_end(s, "the connector refused the control stream");
        return;
    }
    if (s->control != NULL)
        session_run_control(s);
}
