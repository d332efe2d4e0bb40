/* A connector's connection at the edge: its control stream, its registration, its link. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/leaving.h"
#include "edge/stand_in.h"
#include "tunnel/registration.h"

#define REGISTER_NSEC                                                                              \
    (10 * NSEC_PER_SEC) /* a connection that never registers holds memory for nothing */
#define CONTROL_BYTES_MAX (CAPNP_MESSAGE_BYTES_MAX + 65536)
#define RTT_EVERY         16 /* streams */
#define HEALTH_BUSY_NSEC  (50 * NSEC_PER_MSEC)
#define HEALTH_IDLE_NSEC  NSEC_PER_SEC
/* So long after the last exchange began, those that stand are reason enough to ask for a sign of
 * life; a websocket that stays for hours is not. */
#define RECENT_NSEC (30 * NSEC_PER_SEC)

enum session_state {
    SESSION_NEW,
    SESSION_ENROLLING,
    SESSION_SERVING,
    SESSION_REFUSED,
    SESSION_OVER
};

struct session {
    struct list node;
    struct map_node by_id;
    struct task task;
    struct deadline deadline;
    struct deadline health; /* the next look, while there is something to watch */
    bool is_watched;        /* that look is soon */
    uint64_t written;       /* bytes, at the last one */
    struct edge_worker *worker;
    struct carrier carrier;
    struct stream *control;
    struct rpc *rpc;
    struct buf in, out;
    enum session_state state;
    struct link *link;
    struct link_gauge *gauge; /* counted: the control plane reads it */
    uint64_t opened;          /* streams, by us */
    nsec opened_at;           /* the last of them */
    uint32_t register_id;     /* of the call that waits for its answer */
    bool is_told;             /* the control plane knows of it */
    uint32_t report_id;       /* of updateLocalConfiguration, while that is on its way there */
    bool is_reporting;
    bool is_stand_in;       /* to the edge before us */
    struct leaving leaving; /* by us */
    struct link_news *news; /* laid by: tell_workers cannot fail */
    struct reaper reaper;
};

static void session_run(struct task *t);
static void watch(struct session *s);

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
        watch(s);
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
static int lay_by_news(struct session *s)
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

static void tell_workers(struct session *s, enum link_change change)
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

static void session_end(struct session *s, const char *why);

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

static void session_end(struct session *s, const char *why)
{
    struct edge_worker *w = s->worker;
    if (s->state == SESSION_OVER)
        return;
    if (s->is_stand_in) {
        stand_in_lost(w);
    } else if (s->state == SESSION_SERVING) {
        tell_workers(s, LINK_REMOVED);
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
static void watch(struct session *s)
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
    watch(s);
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
        tell_workers(s, LINK_SUSPECT);
    } else {
        log_info("connection answers again", LSTR("connection", l->connection),
                 LU64("index", l->index));
        tell_workers(s, LINK_SUSPECT); /* what waited for a better one may go on here */
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

/* ---- registration ---- */

static void copy_text(char *to, size_t size, struct slice text)
{
    size_t n = text.n < size ? text.n : size - 1;
    if (n > 0)
        memcpy(to, text.p, n);
    to[n] = 0;
}

static void answer_refused(struct session *s, uint32_t id, const char *cause, bool should_retry,
                           uint64_t retry_after)
{
    struct register_result result = { .cause = slice_str(cause),
                                      .should_retry = should_retry,
                                      .retry_after_ns = retry_after };
    metric_add(s->worker->metrics, EDGE_registrations_refused, 1);
    if (register_answer(s->rpc, id, &result, &s->out) < 0)
        session_end(s, "no memory for the answer");
}

/* The reference waits for the edge to close after a refusal; it gets the time to read why. */
static void answer_refused_for_good(struct session *s, const char *cause, bool should_retry,
                                    uint64_t retry_after)
{
    s->state = SESSION_REFUSED;
    answer_refused(s, s->register_id, cause, should_retry, retry_after);
    if (s->state != SESSION_OVER)
        deadline_set(&s->deadline, &s->task, loop_now(s->worker->loop) + NSEC_PER_SEC);
}

static void answer_accepted(struct session *s, const struct registration *r)
{
    if (lay_by_news(s) < 0) {
        answer_refused_for_good(s, "the edge is out of memory", true, NSEC_PER_SEC);
        return;
    }
    struct register_result result = {
        .is_accepted = true,
        .connection = r->connection,
        .location = slice_str(r->location),
        .is_remotely_managed = r->is_remotely_managed,
        .extensions = s->link->extensions,
    };
    s->link->tunnel = r->tunnel;
    s->link->connector = r->connector;
    s->link->index = r->index;
    s->link->key = r->replica;
    (void)uuid_text(&r->connection, s->link->connection);
    s->state = SESSION_SERVING;
    deadline_clear(&s->deadline);
    metric_add(s->worker->metrics, EDGE_registrations_ok, 1);
    carrier_probe(&s->carrier); /* so that the time of its round trip is known */
    watch(s);
    tell_workers(s, LINK_ADDED);
    metric_add(s->worker->metrics, EDGE_links, 1);
    if (register_answer(s->rpc, s->register_id, &result, &s->out) < 0)
        session_end(s, "no memory for the answer");
}

static void answer_drop(struct mail *m)
{
    registration_free(container_of(m, struct registration, mail));
}

/* The control plane's answer. The session may be gone by now. */
static void answer_deliver(struct mail *m)
{
    struct registration *r = container_of(m, struct registration, mail);
    struct edge_worker *w = r->answer_ctx;
    struct session *s = session_find(w, r->link);
    if (s != NULL && s->state == SESSION_ENROLLING) {
        if (r->is_accepted)
            answer_accepted(s, r);
        else
            answer_refused_for_good(s, r->cause, r->should_retry, r->retry_after_ns);
        if (s->state != SESSION_OVER)
            task_wake(&s->task);
    }
    registration_free(r);
}

static void enroll(struct session *s, uint32_t id, const struct capnp_struct *params)
{
    struct edge_worker *w = s->worker;
    struct register_params p;
    if (s->state != SESSION_NEW) {
        (void)!rpc_answer_exception(s->rpc, id, "the connection is registered already", &s->out);
        return;
    }
    if (register_params_read(params, &p) < 0 || p.secret.n > REGISTRATION_SECRET_BYTES) {
        answer_refused(s, id, "malformed registration", false, 0);
        return;
    }
    struct registration *r = registration_new(w->mailbox);
    if (r == NULL) {
        answer_refused(s, id, "the edge is out of memory", true, NSEC_PER_SEC);
        return;
    }
    r->answer_deliver = answer_deliver;
    r->answer_drop = answer_drop;
    r->answer_ctx = w;
    r->link = s->link->id;
    r->tunnel = p.tunnel;
    r->connector = p.connector;
    r->index = p.index;
    r->attempts = p.attempts;
    r->replace_existing = p.replace_existing;
    r->transport = carrier_name(&s->carrier);
    r->secret_bytes = p.secret.n;
    if (p.secret.n > 0)
        memcpy(r->secret, p.secret.p, p.secret.n);
    copy_text(r->account, sizeof r->account, p.account);
    copy_text(r->version, sizeof r->version, p.version);
    copy_text(r->arch, sizeof r->arch, p.arch);
    for (uint32_t i = 0; i < p.feature_count && i < REGISTRATION_FEATURES_MAX; i++)
        copy_text(r->features[r->feature_count++], REGISTRATION_TEXT_BYTES, p.features[i]);
    s->link->extensions = extensions_of(p.features, p.feature_count) & EXTENSIONS_ALL;
    replica_label_of(p.features, p.feature_count, s->link->label);
    r->gauge = link_gauge_ref(s->gauge);
    (void)addr_ip_text(&s->carrier.peer, r->origin_ip);
    s->state = SESSION_ENROLLING;
    s->register_id = id;
    s->is_told = true;
    w->edge->conf.plane.enroll(w->edge->conf.plane.ctx, r);
}

static void unregister(struct session *s, uint32_t id)
{
    struct plane *plane = &s->worker->edge->conf.plane;
    atomic_store_explicit(&s->link->is_draining, true, memory_order_relaxed);
    if (s->state == SESSION_SERVING)
        log_info("connection unregistered", LSTR("connection", s->link->connection),
                 LU64("index", s->link->index));
    if (s->is_told)
        plane->unregister(plane->ctx, s->link->id);
    (void)!empty_answer(s->rpc, id, &s->out);
}

/* One at a time, which is answered when the control plane has it: each may be a mebibyte. */
static void report_rules(struct session *s, const struct rpc_event *call)
{
    const char *wrong = s->state != SESSION_SERVING ? "the connection is not registered"
                        : s->is_reporting           ? "the last configuration is being taken"
                                                    : NULL;
    if (wrong == NULL &&
        local_report_send(s->worker, s->link->id, local_configuration_read(&call->value)) < 0)
        wrong = "the edge is out of memory";
    if (wrong != NULL) {
        (void)!rpc_answer_exception(s->rpc, call->id, wrong, &s->out);
        return;
    }
    s->is_reporting = true;
    s->report_id = call->id;
}

void session_reported(struct session *s)
{
    s->is_reporting = false;
    (void)!empty_answer(s->rpc, s->report_id, &s->out);
    task_wake(&s->task);
}

static void on_call(struct session *s, const struct rpc_event *call)
{
    if (call->interface == REGISTRATION_INTERFACE && call->method == METHOD_REGISTER)
        enroll(s, call->id, &call->value);
    else if (call->interface == REGISTRATION_INTERFACE && call->method == METHOD_UNREGISTER)
        unregister(s, call->id);
    else if (call->interface == REGISTRATION_INTERFACE &&
             call->method == METHOD_LOCAL_CONFIGURATION)
        report_rules(s, call);
    else
        (void)!rpc_answer_unimplemented(s->rpc, call, &s->out);
}

/* ---- driving ---- */

/* Answers what came. 0; ERR_NOMEM: the conversation will not go on. */
static int answer_calls(struct session *s)
{
    struct rpc_event event;
    unsigned step = 0;
    for (; step < RPC_CALLS_MAX && rpc_next(s->rpc, &s->in, &s->out, &event) == 0; step++) {
        if (event.kind == RPC_CALL)
            on_call(s, &event);
        if (event.kind == RPC_OVER)
            return event.err == ERR_NOMEM ? event.err : 0;
        if (s->state == SESSION_OVER)
            return 0;
    }
    if (step == RPC_CALLS_MAX)
        task_wake(&s->task); /* the rest in another step */
    return 0;
}

/* Reads and writes the control stream. Its end is not the connection's; but without memory for it
 * nobody would be registered any more, and the connector wait for nothing. */
static void run_control(struct session *s)
{
    int r;
    while ((r = stream_read(s->control, &s->in, READ_STEP_BYTES)) == 0)
        continue;
    if (r != ERR_NOMEM)
        r = answer_calls(s);
    if (s->state != SESSION_OVER && r != ERR_NOMEM && !buf_is_empty(&s->out))
        r = stream_write(s->control, &s->out);
    if (r == ERR_NOMEM && s->state != SESSION_SERVING)
        session_end(s, "out of memory");
}

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
        run_control(s);
}
