#include "prog/edge_control.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "crypto/random.h"
#include "http/date.h"
#include "http/long_text.h"
#include "http/page.h"
#include "prog/edge_rollout.h"

#define SWEEP_NSEC_MAX  (15 * NSEC_PER_SEC)
#define SWEEP_NSEC_MIN  (100 * NSEC_PER_MSEC)
#define ARENA_BYTES_MAX (4 * 1024 * 1024)

/* ---- what a change asks for ---- */

void edge_control_publish(struct edge_control *c)
{
    struct snapshot *s = api_snapshot(&c->api);
    if (s == NULL) {
        log_error("the routes could not be published", LERR(ERR_NOMEM));
        return;
    }
    edge_publish(c->edge, s);
    snapshot_unref(s);
    c->api.routes_changed = false;
}

static void carry_out(struct edge_control *c)
{
    if (c->api.routes_changed)
        edge_control_publish(c);
    for (size_t i = 0; i < c->api.close_count; i++)
        edge_close_link(c->edge, c->api.closes[i]);
    c->api.close_count = 0;
    if (c->api.configurations_changed)
        edge_rollout_wake(c);
    c->api.configurations_changed = false;
}

/* ---- the API as a right side ---- */

struct api_call {
    struct task task;
    struct edge_control *control;
    struct exchange *ex;
    struct buf body;
};

static void undo_buf(void *p)
{
    buf_done(p);
}

static int respond(struct exchange *ex, const struct api_response *r)
{
    if (r->body.err < 0)
        return r->body.err;
    struct response *p = response_new(ex, r->status);
    if (p == NULL)
        return ERR_NOMEM;
    int e = fields_add(&p->fields, SLICE("Content-Type"), slice_str(r->content_type));
    if (e == 0 && r->no_retry)
        e = fields_add(&p->fields, SLICE("x-should-retry"), SLICE("false"));
    if (e < 0)
        return e;
    bool is_head = slice_eq(ex->request.method, SLICE("HEAD"));
    p->has_length = true;
    p->length = r->body.n;
    p->framing = is_head || r->body.n == 0 ? FRAMING_NONE : FRAMING_LENGTH;
    /* A listing may be longer than what a body holds at once: answers of the control plane are
     * whole, and bounded by the API. */
    if (p->framing != FRAMING_NONE) {
        ex->down.held.max = r->body.n > BODY_BYTES_MAX ? r->body.n : BODY_BYTES_MAX;
        e = buf_put(&ex->down.held, strb_slice(&r->body));
        ex->down.total += r->body.n;
    }
    if (e < 0)
        return e;
    exchange_respond(ex, p);
    body_end(&ex->down);
    return 0;
}

static struct slice field_of(const struct exchange *ex, struct slice name)
{
    const struct field *f = fields_get(&ex->request.fields, name);
    return f != NULL ? f->value : (struct slice){ 0 };
}

static void run_api(struct api_call *c, struct slice body)
{
    struct exchange *ex = c->ex;
    struct slice target = ex->request.target;
    size_t question = slice_find(target, '?');
    struct arena arena;
    struct api_response answer;
    arena_init_secret(&arena, ARENA_BYTES_MAX);
    struct api_request q = {
        .method = ex->request.method,
        .path = slice_sub(target, 0, question),
        .query = slice_sub(target, question + 1, SIZE_MAX),
        .authorization = field_of(ex, SLICE("authorization")),
        .auth_email = field_of(ex, SLICE("x-auth-email")),
        .auth_key = field_of(ex, SLICE("x-auth-key")),
        .body = body,
        .now_us = clock_wall_us(),
        .now = loop_now(c->control->loop),
        .arena = &arena,
    };
    api_handle(&c->control->api, &q, &answer);
    if (respond(ex, &answer) < 0)
        exchange_fail(ex, ERR_NOMEM, HOP_EDGE, "the answer could not be written");
    strb_done(&answer.body);
    arena_done(&arena);
    carry_out(c->control);
    if (c->control->changed != NULL && !slice_eq(q.method, SLICE("GET")))
        c->control->changed(c->control->ctx);
}

/* Collects the body, which the API takes whole. */
static void api_call_run(struct task *t)
{
    struct api_call *c = container_of(t, struct api_call, task);
    struct exchange *ex = c->ex;
    if (exchange_has_failed(ex) || exchange_has_left(ex, EX_LEFT)) {
        task_done(&c->task);
        exchange_leave(ex, EX_RIGHT);
        return;
    }
    if (buf_move(&c->body, &ex->up.held, SIZE_MAX) > 0)
        exchange_wake_left(ex);
    if (!body_is_over(&ex->up) && buf_room(&c->body) > 0)
        return;
    size_t n = buf_len(&c->body);
    uint8_t *whole = malloc(n + 1);
    if (whole != NULL) {
        (void)buf_copy(&c->body, 0, whole, n);
        run_api(c, slice_of(whole, n));
        explicit_bzero(whole, n); /* it may hold a tunnel's secret */
        free(whole);
    } else {
        exchange_fail(ex, ERR_NOMEM, HOP_EDGE, NULL);
    }
    task_done(&c->task);
    exchange_leave(ex, EX_RIGHT);
}

static void route_api(struct edge_control *control, struct exchange *ex)
{
    struct api_call *c = arena_alloc(&ex->arena, sizeof *c);
    if (c == NULL || arena_defer(&ex->arena, undo_buf, &c->body) < 0) {
        exchange_fail(ex, ERR_LIMIT, HOP_EDGE, "the request's head is too large");
        return;
    }
    buf_init(&c->body, loop_chunks(control->loop), API_BODY_BYTES_MAX + 1);
    c->control = control;
    c->ex = ex;
    ex->wants_body = true;
    task_init(&c->task, control->loop, api_call_run);
    exchange_attach(ex, &c->task);
    task_wake(&c->task);
}

static void route_metrics(struct edge_control *control, struct exchange *ex)
{
    struct strb page;
    strb_init(&page, METRICS_BYTES_MAX);
    edge_metrics(control->edge, &page);
    metric_process_page(&page, "version=\"" ADIT_VERSION "\"");
    size_t n = page.n;
    char *text = strb_take(&page);
    int r = text != NULL
                ? long_text_respond(ex, "text/plain; version=0.0.4; charset=utf-8", text, n)
                : ERR_LIMIT;
    if (r < 0)
        exchange_fail(ex, r, HOP_EDGE, "the page could not be written");
}

/* The quick-tunnel service asks for no token, and any page that a browser on this machine shows can
 * make it post here: browsers say so by Origin, and what is no browser does not. */
static void route_quick(struct edge_control *control, struct exchange *ex)
{
    if (fields_get(&ex->request.fields, SLICE("origin")) == NULL) {
        route_api(control, ex);
        return;
    }
    if (page_respond(ex, &(struct page){
                             .status = 403,
                             .title = "Web pages may not make tunnels",
                             .text = "The request has an Origin field, as browsers send it.",
                             .next = "Use adit tunnel --url, or the API with a token.",
                         }) < 0)
        exchange_fail(ex, ERR_NOMEM, HOP_EDGE, NULL);
}

/* Whether new visitors should be sent here. */
static int respond_ready(const struct edge_control *c, struct exchange *ex)
{
    bool is_ready = c->edge != NULL && !edge_is_draining(c->edge);
    return page_respond_bytes(ex, is_ready ? 200 : 503, "application/json",
                              is_ready ? SLICE("{\"status\":200}\n") : SLICE("{\"status\":503}\n"));
}

static void route_local(void *ctx, struct exchange *ex, const struct h1_conn *conn)
{
    struct edge_control *c = ctx;
    struct slice path = slice_sub(ex->request.target, 0, slice_find(ex->request.target, '?'));
    int r = 0;
    (void)conn;
    if (slice_eq(path, SLICE("/tunnel")))
        route_quick(c, ex);
    else if (slice_starts(path, SLICE("/client/v4")))
        route_api(c, ex);
    else if (slice_eq(path, SLICE("/metrics")))
        route_metrics(c, ex);
    else if (slice_eq(path, SLICE("/healthcheck")))
        r = page_respond_bytes(ex, 200, "text/plain; charset=utf-8", SLICE("OK\n"));
    else if (slice_eq(path, SLICE("/ready")))
        r = respond_ready(c, ex);
    else
        r = page_respond(
            ex,
            &(struct page){
                .status = 404,
                .title = "Nothing is here",
                .text = "This is the edge's local address.",
                .next = "The API is under /client/v4, the quick-tunnel service at POST /tunnel, "
                        "metrics at /metrics.",
            });
    if (r < 0)
        exchange_fail(ex, r, HOP_EDGE, NULL);
}

/* ---- the edge's calls ---- */

struct notice {
    struct mail mail;
    struct edge_control *control;
    uint64_t link;
};

static void notice_drop(struct mail *m)
{
    free(container_of(m, struct notice, mail));
}

static void post_notice(struct edge_control *c, uint64_t link, void (*deliver)(struct mail *))
{
    struct notice *n = malloc(sizeof *n);
    if (n == NULL)
        abort();
    *n = (struct notice){ .mail = { .deliver = deliver, .drop = notice_drop },
                          .control = c,
                          .link = link };
    mailbox_post(c->mailbox, &n->mail);
}

static void tell_news(struct edge_control *c, const struct uuid *tunnel, bool is_there)
{
    if (c->tunnel_news != NULL)
        c->tunnel_news(c->ctx, tunnel, is_there);
}

struct lending {
    struct mail mail;
    struct edge_control *control;
    struct uuid tunnel;
    bool is_there;
};

static void lending_drop(struct mail *m)
{
    free(container_of(m, struct lending, mail));
}

static void lending_deliver(struct mail *m)
{
    struct lending *l = container_of(m, struct lending, mail);
    tell_news(l->control, &l->tunnel, l->is_there);
    free(l);
}

static void plane_lends(void *ctx, const struct uuid *tunnel, bool is_there)
{
    struct edge_control *c = ctx;
    struct lending *l = malloc(sizeof *l);
    if (l == NULL)
        abort();
    *l = (struct lending){ .mail = { .deliver = lending_deliver, .drop = lending_drop },
                           .control = c,
                           .tunnel = *tunnel,
                           .is_there = is_there };
    mailbox_post(c->mailbox, &l->mail);
}

static void unregister_deliver(struct mail *m)
{
    struct notice *n = container_of(m, struct notice, mail);
    live_drain(n->control->api.live, n->link);
    free(n);
}

static void gone_deliver(struct mail *m)
{
    struct notice *n = container_of(m, struct notice, mail);
    struct api *api = &n->control->api;
    const struct live_conn *conn = live_find(api->live, n->link);
    struct uuid tunnel;
    if (conn != NULL)
        rollout_left(api->rollout, &conn->tunnel, &conn->connector);
    if (live_remove(api->live, n->link, &tunnel) && live_count(api->live, &tunnel) == 0)
        tell_news(n->control, &tunnel, false);
    free(n);
}

static void plane_unregister(void *ctx, uint64_t link)
{
    post_notice(ctx, link, unregister_deliver);
}

static void plane_gone(void *ctx, uint64_t link)
{
    post_notice(ctx, link, gone_deliver);
}

static void refuse(struct registration *r, const char *cause, bool should_retry)
{
    (void)snprintf(r->cause, sizeof r->cause, "%s", cause);
    r->should_retry = should_retry;
    r->retry_after_ns = should_retry ? NSEC_PER_SEC : 0;
}

static void fill_live(const struct registration *r, struct live_conn *ret)
{
    *ret = (struct live_conn){
        .link = r->link,
        .tunnel = r->tunnel,
        .connector = r->connector,
        .connection = r->connection,
        .index = r->index,
        .transport = r->transport,
        .opened_us = clock_wall_us(),
        .feature_count = r->feature_count,
    };
    (void)snprintf(ret->version, sizeof ret->version, "%s", r->version);
    (void)snprintf(ret->arch, sizeof ret->arch, "%s", r->arch);
    (void)snprintf(ret->origin_ip, sizeof ret->origin_ip, "%.63s", r->origin_ip);
    memcpy(ret->features, r->features, sizeof ret->features);
    ret->gauge = r->gauge;
    struct slice features[REGISTRATION_FEATURES_MAX];
    for (size_t i = 0; i < r->feature_count; i++)
        features[i] = slice_str(r->features[i]);
    replica_label_of(features, r->feature_count, ret->label);
}

/* Unknown tunnels and wrong secrets are told apart by nobody. *ret_is_remote: the tunnel is managed
 * remotely. 0, ERR_DENIED, or what the database said. */
static int authorise(struct edge_control *c, const struct registration *r, bool *ret_is_remote)
{
    struct tunnel t;
    int e = store_tunnel_get(c->api.store, &r->tunnel, &t);
    if (e < 0)
        return e == ERR_NOTFOUND ? ERR_DENIED : e;
    bool is_good =
        t.deleted_us == 0 && slice_eq(slice_str(r->account), slice_str(c->api.account)) &&
        slice_eq_secret(slice_of(r->secret, r->secret_bytes), slice_of(t.secret, t.secret_bytes));
    *ret_is_remote = t.is_remote;
    explicit_bzero(&t, sizeof t);
    return is_good ? 0 : ERR_DENIED;
}

static const char *cause_of(int e)
{
    return e == ERR_DENIED   ? "Unauthorized: the tunnel does not exist, or its secret is another"
           : e == ERR_EXISTS ? "EDUPCONN" /* a word of the protocol */
           : e == ERR_LIMIT  ? "the tunnel has as many connections as this edge allows"
           : e == ERR_NOMEM  ? "the edge is out of memory"
                             : "the edge's database cannot be read";
}

/* A connector that has lost a connection knows it before we do: the one that it comes back for is
 * dead. */
static void replace_lost(struct edge_control *c, const struct registration *r,
                         const struct live_conn *conn)
{
    const struct live_conn *lost =
        r->attempts > 0 || r->replace_existing ? live_duplicate(c->api.live, conn) : NULL;
    if (lost == NULL || c->edge == NULL) /* it may have been stopped meanwhile */
        return;
    uint64_t link = lost->link;
    live_drain(c->api.live, link);
    edge_close_link(c->edge, link);
}

/* Into both tables, or neither. */
static int admit(struct edge_control *c, struct registration *r)
{
    struct live_conn conn;
    struct uuid tunnel;
    int version = 0;
    int e = r->is_remotely_managed ? store_config_version(c->api.store, &r->tunnel, &version) : 0;
    if (e < 0)
        return e;
    fill_live(r, &conn);
    replace_lost(c, r, &conn);
    r->replica = conn.replica = live_replica(c->api.live, &conn);
    e = live_add(c->api.live, &conn);
    if (e < 0)
        return e;
    e = rollout_joined(c->api.rollout, &r->tunnel, &r->connector, version, loop_now(c->loop));
    if (e < 0)
        (void)live_remove(c->api.live, r->link, &tunnel);
    return e;
}

static void decide(struct edge_control *c, struct registration *r)
{
    int e = authorise(c, r, &r->is_remotely_managed);
    if (e == 0) {
        random_uuid(&r->connection);
        e = admit(c, r);
    }
    if (e < 0) {
        /* Only what cannot change is refused for good. */
        refuse(r, cause_of(e), e != ERR_DENIED);
        return;
    }
    r->is_accepted = true;
    if (live_count(c->api.live, &r->tunnel) == 1)
        tell_news(c, &r->tunnel, true);
    (void)snprintf(r->location, sizeof r->location, "%s", c->api.location);
}

static void log_decision(const struct registration *r)
{
    char tunnel[UUID_TEXT_BYTES], connector[UUID_TEXT_BYTES], connection[UUID_TEXT_BYTES];
    if (r->is_accepted)
        log_info("connection registered", LSTR("tunnel", uuid_text(&r->tunnel, tunnel)),
                 LSTR("connector", uuid_text(&r->connector, connector)), LU64("index", r->index),
                 LSTR("connection", uuid_text(&r->connection, connection)),
                 LSTR("version", r->version), LSTR("from", r->origin_ip),
                 LSTR("transport", r->transport));
    else
        log_warn("connection refused", LSTR("tunnel", uuid_text(&r->tunnel, tunnel)),
                 LU64("index", r->index), LSTR("from", r->origin_ip), LSTR("why", r->cause));
}

static void enroll_deliver(struct mail *m)
{
    struct registration *r = container_of(m, struct registration, mail);
    struct edge_control *c = r->plane_ctx;
    decide(c, r);
    log_decision(r);
    r->mail = (struct mail){ .deliver = r->answer_deliver, .drop = r->answer_drop };
    mailbox_post(r->reply, &r->mail);
    edge_rollout_wake(c); /* its configuration follows, behind the answer */
}

static void enroll_drop(struct mail *m)
{
    registration_free(container_of(m, struct registration, mail));
}

static void plane_enroll(void *ctx, struct registration *r)
{
    struct edge_control *c = ctx;
    r->plane_ctx = c;
    r->mail = (struct mail){ .deliver = enroll_deliver, .drop = enroll_drop };
    mailbox_post(c->mailbox, &r->mail);
}

struct plane edge_control_plane(struct edge_control *c)
{
    return (struct plane){
        .ctx = c,
        .enroll = plane_enroll,
        .unregister = plane_unregister,
        .configured = edge_rollout_configured,
        .reported = edge_rollout_reported,
        .lends = plane_lends,
        .gone = plane_gone,
    };
}

/* ---- life ---- */

/* Often enough that nothing outstays its time by more than a twentieth. */
static nsec sweep_wait(const struct edge_control *c)
{
    nsec wait = (nsec)c->api.quick_away_us * NSEC_PER_USEC / 20;
    return wait > SWEEP_NSEC_MAX ? SWEEP_NSEC_MAX : wait < SWEEP_NSEC_MIN ? SWEEP_NSEC_MIN : wait;
}

static void accept_clients(struct edge_control *c)
{
    struct stream *s;
    struct addr peer;
    if (c->is_paused || c->local == NULL)
        return;
    for (unsigned i = 0; i < ACCEPT_STEP; i++) {
        if (tcp_accept(c->local, NULL, &s, &peer) < 0)
            return;
        if (c->clients.count < API_CLIENTS_MAX && h1_serve(&c->clients, s, &peer, "http") == 0)
            continue;
        log_warn("a client of the local address was refused", LU64("limit", API_CLIENTS_MAX));
        stream_abort(s, ERR_LIMIT);
        stream_release(s);
    }
    task_wake(&c->task); /* there may be more */
}

static void control_run(struct task *t)
{
    struct edge_control *c = container_of(t, struct edge_control, task);
    if (deadline_take(&c->sweep)) {
        if (!c->is_shared) {
            api_sweep(&c->api, clock_wall_us());
            carry_out(c);
        }
        deadline_set(&c->sweep, &c->task, loop_now(c->loop) + sweep_wait(c));
    }
    accept_clients(c);
    if (c->idle != NULL && c->clients.count == 0)
        c->idle(c->ctx);
}

int edge_control_open(struct edge_control *c, struct loop *loop, struct addr *local, int fd,
                      struct fault *fault)
{
    char text[ADDR_TEXT_BYTES];
    struct addr got;
    struct tcp_listen_opts opts = { .fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1 };
    c->loop = loop;
    chunk_pool_keep_secrets(loop_chunks(loop)); /* tokens and secrets are asked for and told */
    c->mailbox = loop_mailbox(loop);
    task_init(&c->task, loop, control_run);
    edge_rollout_open(c);
    h1_group_init(&c->clients, loop, &c->task, route_local, c);
    c->clients.head_out = http_date_head;
    int r = tcp_listen(loop, local, &opts, &c->task, &c->local, &got);
    if (r < 0)
        return fault_set(fault, r, "%s %s; choose another address with --local",
                         addr_text(local, text),
                         r == ERR_BUSY ? "is in use by another program" : err_text(r));
    *local = got;
    deadline_set(&c->sweep, &c->task, loop_now(loop) + sweep_wait(c));
    return 0;
}

void edge_control_begin(struct edge_control *c)
{
    c->is_paused = false;
    edge_control_look_again(c);
    task_wake(&c->task);
}

void edge_control_hand_over(struct edge_control *c)
{
    tcp_listener_close(c->local);
    c->local = NULL;
    c->is_shared = true;
    h1_group_drain(&c->clients);
}

void edge_control_when_idle(struct edge_control *c, void (*idle)(void *ctx))
{
    c->idle = idle;
    task_wake(&c->task);
}

void edge_control_alone(struct edge_control *c)
{
    c->is_shared = false;
    c->api.alone_us = clock_wall_us();
}

void edge_control_close(struct edge_control *c)
{
    tcp_listener_close(c->local);
    c->local = NULL;
    deadline_clear(&c->sweep);
    edge_rollout_close(c);
    c->edge = NULL; /* it is stopped next, and what it still says asks nothing of it */
    h1_group_abort(&c->clients);
    task_done(&c->task);
}
