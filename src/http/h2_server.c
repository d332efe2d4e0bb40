#include "http/h2_server.h"

#include <stdlib.h>

#include "base/err.h"
#include "http/h2_fields.h"
#include "http/page.h"

#define STEPS 8

struct server_stream {
    struct list node;
    struct task task;
    struct h2_server_group *group;
    struct h2_stream *s;
    struct exchange *ex;
    struct deadline stall;
    uint64_t moved; /* bytes when the deadline was set */
    bool was_owed;  /* bytes waited for whoever asked then */
    bool is_routed, is_head_sent, is_finished;
    struct reaper reaper;
};

struct server_conn {
    struct list node;
    struct task task;
    struct h2_server_group *group;
    struct h2_conn *conn;
    const char *scheme;
    struct reaper reaper;
};

static void stream_run(struct task *t);

void h2_server_group_init(struct h2_server_group *g, struct loop *loop, struct task *owner,
                          void (*route)(void *ctx, struct exchange *ex), void *ctx)
{
    *g = (struct h2_server_group){ .loop = loop, .owner = owner, .route = route, .ctx = ctx };
    g->stall = VISITOR_STALL_MS * NSEC_PER_MSEC;
    g->rate = VISITOR_RATE_BYTES;
    list_init(&g->streams);
    list_init(&g->conns);
}

/* ---- the end of a stream ---- */

static void reap_stream(struct reaper *r)
{
    free(container_of(r, struct server_stream, reaper));
}

/* `err` 0: in order. Otherwise the stream is reset with what stands for it. */
static void stream_end(struct server_stream *t, int err)
{
    struct h2_server_group *g = t->group;
    if (err < 0)
        stream_abort(h2_stream_body(t->s), err);
    stream_release(h2_stream_body(t->s));
    if (t->ex != NULL) {
        t->ex->at.done = loop_now(g->loop);
        if (t->is_routed && g->done != NULL)
            g->done(g->ctx, t->ex);
        exchange_leave(t->ex, EX_LEFT);
    }
    list_remove(&t->node);
    g->count--;
    deadline_clear(&t->stall);
    task_done(&t->task);
    loop_reap(g->loop, &t->reaper, reap_stream);
    task_wake(g->owner);
}

/* ---- the request ---- */

static int copy(struct exchange *ex, struct slice from, struct slice *ret)
{
    if (from.n == 0)
        return 0;
    *ret = arena_copy(&ex->arena, from);
    return ret->p != NULL ? 0 : ERR_NOMEM;
}

static struct slice host_of(const struct h2_head *h)
{
    for (size_t i = 0; i < h->count && h->authority.n == 0; i++)
        if (slice_eq(h->fields[i].name, SLICE("host")))
            return h->fields[i].value;
    return h->authority;
}

static int take_request(struct server_stream *t, const struct h2_head *h, const struct h2_hop *hop)
{
    struct exchange *ex = t->ex;
    struct request *q = &ex->request;
    int r = copy(ex, h->method, &q->method);
    if (r == 0)
        r = copy(ex, h->path, &q->target);
    if (r == 0)
        r = copy(ex, host_of(h), &q->host);
    if (r == 0)
        r = h2_fields_in(h, &q->fields);
    if (r < 0)
        return r;
    const struct field *expect = fields_get(&q->fields, SLICE("expect"));
    q->scheme = slice_str(hop->scheme);
    ex->extensions = hop->extensions;
    ex->connection = hop->connection;
    q->has_length = h->has_length;
    q->length = h->length;
    q->framing = h->ends ? FRAMING_NONE : h->has_length ? FRAMING_LENGTH : FRAMING_STREAM;
    q->expects_continue =
        !h->ends && expect != NULL && slice_eq_nocase(expect->value, SLICE("100-continue"));
    if (slice_eq(h->method, SLICE("CONNECT")) && h->protocol.n == 0)
        q->upgrade = UPGRADE_CONNECT;
    if (slice_eq_nocase(h->protocol, SLICE("websocket")))
        q->upgrade = UPGRADE_WEBSOCKET;
    return t->group->dialect != NULL ? t->group->dialect->request(ex, h) : 0;
}

void h2_serve_stream(struct h2_server_group *g, struct h2_stream *s, const struct h2_head *head,
                     const struct h2_hop *hop)
{
    struct server_stream *t = calloc(1, sizeof *t);
    if (t == NULL) {
        stream_abort(h2_stream_body(s), ERR_NOMEM);
        stream_release(h2_stream_body(s));
        return;
    }
    t->group = g;
    t->s = s;
    task_init(&t->task, g->loop, stream_run);
    list_push_back(&g->streams, &t->node);
    g->count++;
    h2_stream_body(s)->owner = &t->task;
    t->ex = exchange_new(g->loop, &t->task);
    int r = t->ex != NULL ? take_request(t, head, hop) : ERR_NOMEM;
    if (r < 0) {
        stream_end(t, r);
        return;
    }
    if (t->ex->request.framing == FRAMING_NONE && t->ex->request.upgrade == UPGRADE_NONE)
        body_end(&t->ex->up);
    t->is_routed = true;
    g->route(g->ctx, t->ex);
    task_wake(&t->task);
}

/* ---- its body ---- */

static int take_trailers(struct exchange *ex, const struct h2_head *h)
{
    if (h == NULL)
        return 0;
    struct fields *f = arena_alloc(&ex->arena, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    fields_init(f, &ex->arena);
    int r = h2_fields_in(h, f);
    ex->up_trailers = f;
    return r;
}

/* ERR_AGAIN when nothing more can be taken now. */
static int read_up(struct server_stream *t)
{
    struct exchange *ex = t->ex;
    size_t before = buf_len(&ex->up.held), room = body_room(&ex->up);
    /* With no room, or nothing to come, a reset shows itself all the same. */
    int r = stream_read(h2_stream_body(t->s), &ex->up.held, ex->up.ended ? 0 : room);
    size_t n = buf_len(&ex->up.held) - before;
    ex->up.total += n;
    ex->bytes_up += n;
    if (n > 0)
        exchange_wake_right(ex);
    if (r == ERR_EOF && !ex->up.ended) {
        r = take_trailers(ex, h2_stream_trailers(t->s));
        if (r < 0)
            return r;
        body_end(&ex->up);
        exchange_wake_right(ex);
    }
    return r == 0 && n > 0 ? 0 : r == 0 || r == ERR_EOF ? ERR_AGAIN : r;
}

/* ---- the response ---- */

static int plain_response(struct exchange *ex, const struct response *r, struct h2_send_head *ret)
{
    struct h2_field *fields;
    size_t count, first = 1;
    int e = h2_fields_out(&r->fields, &ex->arena, 1, &fields, &count);
    if (e == 0 && r->has_length && r->status >= 200 && r->status != 204) {
        e = h2_field_length(r->length, &ex->arena, &fields[0]);
        first = 0;
    }
    ret->fields = fields + first;
    ret->count = count - first;
    return e;
}

static int respond(struct server_stream *t, const struct response *r, bool ends)
{
    const struct h2_server_dialect *dialect = t->group->dialect;
    struct h2_send_head head = { .status = r->status == 101 ? 200 : r->status };
    int e = dialect != NULL ? dialect->response(t->ex, r, &head) : plain_response(t->ex, r, &head);
    if (e == ERR_UNSUPPORTED && r->status < 200)
        return 0;
    return e == 0 ? h2_stream_respond(t->s, &head, ends) : e;
}

/* What failed before its response: said by a head alone. */
static int tell_failure(struct server_stream *t)
{
    struct h2_send_head head = { 0 };
    int r = t->group->dialect->failure(t->ex, &head);
    t->is_head_sent = t->is_finished = true;
    return r == 0 ? h2_stream_respond(t->s, &head, true) : r;
}

static int send_heads(struct server_stream *t)
{
    struct exchange *ex = t->ex;
    if (t->is_head_sent)
        return 0;
    if (ex->request.expects_continue && ex->wants_body && ex->response == NULL) {
        struct h2_send_head head = { .status = 100 };
        ex->request.expects_continue = false;
        int r = h2_stream_respond(t->s, &head, false);
        if (r < 0)
            return r;
    }
    for (; ex->interim != NULL; ex->interim = ex->interim->next) {
        /* A 100 was answered here already, and is for this hop alone. */
        int r = ex->interim->status == 100 ? 0 : respond(t, ex->interim, false);
        if (r < 0)
            return r;
    }
    if (ex->response == NULL)
        return 0;
    if (t->group->head_out != NULL)
        t->group->head_out(t->group->ctx, ex);
    t->is_head_sent = true;
    t->is_finished = !ex->is_upgraded && ex->response->framing == FRAMING_NONE;
    /* A refused upgrade is an answer like any other: nothing more goes up. */
    if (!ex->is_upgraded && ex->request.upgrade != UPGRADE_NONE && !ex->up.ended) {
        body_end(&ex->up);
        exchange_wake_right(ex);
    }
    return respond(t, ex->response, t->is_finished);
}

static int finish(struct server_stream *t)
{
    struct exchange *ex = t->ex;
    struct h2_field *fields;
    size_t count;
    int r = 0;
    if (ex->down_trailers != NULL) {
        r = h2_fields_out(ex->down_trailers, &ex->arena, 0, &fields, &count);
        if (r == 0)
            r = h2_stream_set_trailers(t->s, fields, count);
    }
    t->is_finished = true;
    stream_finish(h2_stream_body(t->s));
    return r;
}

static int send_down(struct server_stream *t)
{
    struct exchange *ex = t->ex;
    size_t before = buf_len(&ex->down.held);
    if (!t->is_head_sent || t->is_finished)
        return 0;
    int r = before > 0 ? stream_write(h2_stream_body(t->s), &ex->down.held) : 0;
    size_t n = before - buf_len(&ex->down.held);
    ex->bytes_down += n;
    if (n > 0)
        exchange_wake_right(ex);
    return r == 0 && body_is_over(&ex->down) ? finish(t) : r;
}

/* ---- both ---- */

/* As on HTTP/1.1: a body without a length may be a conversation, of which any byte counts. */
static uint64_t least_progress(const struct server_stream *t, bool is_owed)
{
    const struct h2_server_group *g = t->group;
    if (!is_owed && t->ex->request.framing != FRAMING_LENGTH)
        return 1;
    uint64_t bytes = g->rate * (g->stall / NSEC_PER_MSEC) / 1000;
    return bytes > 0 ? bytes : 1;
}

/* Who asks may neither take nor send, or by too little, for so long and no longer; whoever answers
 * has limits of its own. */
static void watch_stall(struct server_stream *t)
{
    const struct exchange *ex = t->ex;
    uint64_t moved = ex->bytes_up + ex->bytes_down;
    bool is_owed = !buf_is_empty(&ex->down.held);
    bool is_asked = !ex->is_upgraded && !ex->up.ended && !t->is_head_sent &&
                    body_room(&ex->up) > 0 && !ex->request.expects_continue;
    if (t->group->stall == 0 || (!is_owed && !is_asked)) {
        deadline_clear(&t->stall);
        return;
    }
    bool is_new = !deadline_is_set(&t->stall) || is_owed != t->was_owed ||
                  moved - t->moved >= least_progress(t, is_owed);
    t->was_owed = is_owed;
    if (!is_new)
        return;
    t->moved = moved;
    deadline_set(&t->stall, &t->task, loop_now(t->group->loop) + t->group->stall);
}

static int answer_failure(struct exchange *ex)
{
    struct page page;
    page_for_failure(ex->verdict.failure, ex->verdict.text, &page);
    buf_drop(&ex->down.held, buf_len(&ex->down.held));
    ex->down.ended = false;
    return page_respond(ex, &page);
}

/* 0 when the exchange is complete, ERR_AGAIN, or why it is not. */
static int step(struct server_stream *t)
{
    struct exchange *ex = t->ex;
    int up = ERR_AGAIN;
    for (unsigned n = 0; n < STEPS && (up = read_up(t)) == 0; n++)
        ;
    if (up == 0)
        task_wake(&t->task);
    if (up < 0 && up != ERR_AGAIN)
        return up;
    int gone = h2_stream_send_err(t->s);
    if (gone < 0) /* whoever asked wants no answer any more */
        return gone;
    bool is_unanswered = exchange_has_failed(ex) && ex->response == NULL;
    if (is_unanswered && t->group->dialect != NULL)
        return tell_failure(t);
    if (is_unanswered && answer_failure(ex) < 0)
        return ex->verdict.err;
    /* What broke off must not look complete. */
    if (exchange_has_failed(ex) && !ex->down.ended)
        return ex->verdict.err;
    int r = send_heads(t);
    if (r == 0)
        r = send_down(t);
    if (r < 0)
        return r;
    return t->is_finished ? 0 : ERR_AGAIN;
}

/* Who asked left; in a tunnel, where resets stand for visitors, anything else is the connection's
 * end. */
static void note_gone(struct server_stream *t, int err)
{
    if (exchange_has_failed(t->ex))
        return;
    if (t->group->dialect != NULL && err != ERR_RESET && err != ERR_CUT)
        exchange_fail(t->ex, err, HOP_TUNNEL, NULL);
    else
        exchange_fail(t->ex, ERR_CANCELED, HOP_VISITOR, "the stream was reset");
}

static void stream_run(struct task *task)
{
    struct server_stream *t = container_of(task, struct server_stream, task);
    if (deadline_take(&t->stall)) {
        exchange_fail(t->ex, ERR_CANCELED, HOP_VISITOR, "nothing moved for too long");
        stream_end(t, ERR_TIMEOUT);
        return;
    }
    int r = step(t);
    if (r == ERR_AGAIN) {
        watch_stall(t);
        return;
    }
    if (r < 0)
        note_gone(t, r);
    stream_end(t, r);
}

/* ---- connections ---- */

static void reap_conn(struct reaper *r)
{
    free(container_of(r, struct server_conn, reaper));
}

static void conn_free(struct server_conn *c)
{
    struct h2_server_group *g = c->group;
    list_remove(&c->node);
    task_done(&c->task);
    loop_reap(g->loop, &c->reaper, reap_conn);
    task_wake(g->owner);
}

static void serve_one(struct server_conn *c, struct h2_stream *s)
{
    const struct h2_hop hop = { .scheme = c->scheme, .connection = -1 };
    const struct h2_head *head;
    int r = h2_stream_head(s, &head);
    if (r == 0) {
        h2_serve_stream(c->group, s, head, &hop);
        return;
    }
    stream_abort(h2_stream_body(s), r);
    stream_release(h2_stream_body(s));
}

static void conn_run(struct task *t)
{
    struct server_conn *c = container_of(t, struct server_conn, task);
    struct h2_stream *s;
    while (h2_conn_accept(c->conn, NULL, &s) == 0)
        serve_one(c, s);
    if (h2_conn_state(c->conn) != H2_CLOSED)
        return;
    h2_conn_release(c->conn);
    conn_free(c);
}

int h2_serve(struct h2_server_group *g, struct stream *under, const struct h2_conf *conf,
             const char *scheme)
{
    struct server_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    task_init(&c->task, g->loop, conn_run);
    int r = h2_open(g->loop, conf, under, &c->task, &c->conn);
    if (r < 0) {
        free(c);
        return r;
    }
    c->group = g;
    c->scheme = scheme;
    list_push_back(&g->conns, &c->node);
    return 0;
}

size_t h2_server_group_part(struct h2_server_group *g, int connection, enum parting parting)
{
    size_t count = 0;
    list_each(it, &g->streams)
    {
        struct server_stream *t = container_of(it, struct server_stream, node);
        if (t->ex != NULL && t->ex->connection == connection)
            count += exchange_part(t->ex, parting);
    }
    return count;
}

void h2_server_group_drain(struct h2_server_group *g)
{
    list_each(it, &g->conns)
    {
        h2_conn_drain(container_of(it, struct server_conn, node)->conn);
    }
}

void h2_server_group_abort(struct h2_server_group *g)
{
    list_each(it, &g->streams)
    {
        stream_end(container_of(it, struct server_stream, node), ERR_CLOSED);
    }
    list_each(at, &g->conns)
    {
        struct server_conn *c = container_of(at, struct server_conn, node);
        h2_conn_abort(c->conn);
        conn_free(c);
    }
}
