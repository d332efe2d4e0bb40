#pragma once
/* A visitor's connection served over an in-memory pair: what the visitor sends is text, what it
 * gets is collected as text, and the right side of its exchanges is the test itself, or an app that
 * answers with what it was asked. */
#include "http/h1_server.h"
#include "net/pipe.h"
#include "net/turn.h"

#define GOT_BYTES_MAX (1 << 16)
#define ROUTES_MAX    32

struct site {
    struct loop *loop;
    struct task owner, visitor_task, right;
    struct h1_group group;
    struct stream *visitor; /* the visitor's end; NULL once released */
    struct buf out;         /* on its way from the visitor */
    char got[GOT_BYTES_MAX];
    size_t n;
    int end;             /* what the last read of the visitor said */
    bool is_not_reading; /* the visitor takes nothing */
    bool is_manual;      /* exchanges are the test's: site->ex */
    bool is_early;       /* the app answers before the body has come */
    struct exchange *ex; /* of the last route, in manual mode */
    unsigned routed, dones, right_wakes;
    char asked[ROUTES_MAX][64]; /* method and target of each */
    struct verdict last;        /* of the last exchange that was done */
    uint64_t last_up, last_down;
};

/* ---- the app ---- */

struct app {
    struct task task;
    struct exchange *ex;
    struct buf body;
};

static inline void app_leave(struct app *a)
{
    buf_done(&a->body);
    task_done(&a->task);
    exchange_leave(a->ex, EX_RIGHT);
}

/* "GET /x 3:abc", with trailers behind it. */
static inline void app_answer(struct app *a)
{
    struct exchange *ex = a->ex;
    char text[2048];
    uint8_t body[1024];
    size_t n = buf_copy(&a->body, 0, body, sizeof body);
    int at = snprintf(text, sizeof text, "%.*s %.*s %zu:%.*s", SLICE_FMT(ex->request.method),
                      SLICE_FMT(ex->request.target), buf_len(&a->body), (int)n, body);
    for (size_t i = 0; ex->up_trailers != NULL && i < ex->up_trailers->count; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, " %.*s=%.*s",
                       SLICE_FMT(ex->up_trailers->lines[i].name),
                       SLICE_FMT(ex->up_trailers->lines[i].value));
    struct response *r = response_new(ex, 200);
    struct buf down;
    assert_non_null(r);
    r->has_length = true;
    r->length = (uint64_t)at;
    r->framing = slice_eq(ex->request.method, SLICE("HEAD")) ? FRAMING_NONE : FRAMING_LENGTH;
    buf_init(&down, loop_chunks(ex->loop), sizeof text);
    if (r->framing == FRAMING_LENGTH) {
        assert_int_equal(buf_put(&down, slice_of(text, (size_t)at)), 0);
        assert_int_equal(body_put(&ex->down, &down, SIZE_MAX), at);
    }
    buf_done(&down);
    body_end(&ex->down);
    exchange_respond(ex, r);
    app_leave(a);
}

static inline void app_run(struct task *t)
{
    struct app *a = container_of(t, struct app, task);
    if (exchange_has_failed(a->ex)) {
        app_leave(a);
        return;
    }
    if (buf_move(&a->body, &a->ex->up.held, SIZE_MAX) > 0)
        exchange_wake_left(a->ex);
    if (!a->ex->wants_body) {
        a->ex->wants_body = true;
        exchange_wake_left(a->ex);
    }
    if (body_is_over(&a->ex->up))
        app_answer(a);
}

/* ---- the site ---- */

static inline void site_route(void *ctx, struct exchange *ex, const struct h1_conn *conn)
{
    struct site *s = ctx;
    assert_true(s->routed < ROUTES_MAX);
    (void)snprintf(s->asked[s->routed++], sizeof s->asked[0], "%.*s %.*s",
                   SLICE_FMT(ex->request.method), SLICE_FMT(ex->request.target));
    assert_int_equal(h1_conn_requests(conn), s->routed);
    assert_string_equal(h1_conn_scheme(conn), "http");
    if (s->is_manual) {
        s->ex = ex;
        exchange_attach(ex, &s->right);
        return;
    }
    struct app *a = arena_alloc(&ex->arena, sizeof *a);
    assert_non_null(a);
    a->ex = ex;
    buf_init(&a->body, loop_chunks(ex->loop), 1 << 20);
    task_init(&a->task, ex->loop, app_run);
    exchange_attach(ex, &a->task);
    task_wake(&a->task);
}

static inline void site_done_with(void *ctx, const struct exchange *ex, const struct h1_conn *conn)
{
    struct site *s = ctx;
    (void)conn;
    s->dones++;
    s->last = ex->verdict;
    s->last_up = ex->bytes_up;
    s->last_down = ex->bytes_down;
}

static inline void site_right_run(struct task *t)
{
    container_of(t, struct site, right)->right_wakes++;
}

static inline void site_open_window(struct site *s, size_t window)
{
    struct stream *server;
    struct addr peer = { 0 };
    memset(s, 0, sizeof *s);
    assert_int_equal(loop_new(&s->loop), 0);
    task_init(&s->owner, s->loop, do_nothing);
    task_init(&s->visitor_task, s->loop, do_nothing);
    task_init(&s->right, s->loop, site_right_run);
    h1_group_init(&s->group, s->loop, &s->owner, site_route, s);
    s->group.done = site_done_with;
    assert_int_equal(pipe_new(s->loop, window, &s->visitor, &server), 0);
    s->visitor->owner = &s->visitor_task;
    buf_init(&s->out, loop_chunks(s->loop), 8 << 20);
    assert_int_equal(h1_serve(&s->group, server, &peer, "http"), 0);
}

static inline void site_open(struct site *s)
{
    site_open_window(s, 1 << 20);
}

static inline void site_read(struct site *s)
{
    struct buf in;
    buf_init(&in, loop_chunks(s->loop), GOT_BYTES_MAX);
    while (s->visitor != NULL && !s->is_not_reading && s->n < sizeof s->got - 1 &&
           (s->end = stream_read(s->visitor, &in, sizeof s->got - 1 - s->n)) == 0) {
        s->n += buf_copy(&in, 0, s->got + s->n, sizeof s->got - 1 - s->n);
        buf_drop(&in, buf_len(&in));
    }
    s->got[s->n] = 0;
    buf_done(&in);
}

/* Until nothing moves any more: everything is in memory, so a few turns are enough. */
static inline void site_turn(struct site *s)
{
    for (int i = 0; i < 8; i++) {
        if (s->visitor != NULL && !buf_is_empty(&s->out))
            (void)!stream_write(s->visitor, &s->out);
        loop_turn(s->loop, 0);
        site_read(s);
    }
}

static inline void site_send(struct site *s, struct slice text)
{
    assert_int_equal(buf_put(&s->out, text), 0);
    if (s->visitor != NULL)
        (void)!stream_write(s->visitor, &s->out);
}

static inline void site_say(struct site *s, const char *text)
{
    site_send(s, slice_str(text));
    site_turn(s);
}

/* Forgets what came so far. */
static inline void site_forget(struct site *s)
{
    s->n = 0;
    s->got[0] = 0;
}

static inline void site_close(struct site *s)
{
    h1_group_abort(&s->group);
    stream_release(s->visitor);
    s->visitor = NULL;
    if (s->ex != NULL && !exchange_has_left(s->ex, EX_RIGHT))
        exchange_leave(s->ex, EX_RIGHT);
    for (int i = 0; i < 3; i++)
        loop_turn(s->loop, 0);
    assert_int_equal(s->group.count, 0);
    assert_int_equal(s->dones, s->routed); /* each is told once */
    buf_done(&s->out);
    task_done(&s->owner);
    task_done(&s->visitor_task);
    task_done(&s->right);
    loop_free(s->loop);
}

/* ---- the right side by hand ---- */

static inline struct response *site_response(struct site *s, unsigned status)
{
    struct response *r = response_new(s->ex, status);
    assert_non_null(r);
    return r;
}

static inline void site_body(struct site *s, struct slice text)
{
    struct buf b;
    buf_init(&b, loop_chunks(s->loop), text.n + 1);
    assert_int_equal(buf_put(&b, text), 0);
    assert_int_equal(body_put(&s->ex->down, &b, SIZE_MAX), text.n);
    buf_done(&b);
    exchange_wake_left(s->ex);
}

static inline void site_leave(struct site *s)
{
    struct exchange *ex = s->ex;
    s->ex = NULL;
    exchange_leave(ex, EX_RIGHT);
}

/* A whole answer with a length. */
static inline void site_answer(struct site *s, unsigned status, const char *text)
{
    struct response *r = site_response(s, status);
    r->has_length = true;
    r->length = strlen(text);
    r->framing = r->length > 0 ? FRAMING_LENGTH : FRAMING_NONE;
    exchange_respond(s->ex, r);
    if (r->length > 0)
        site_body(s, slice_str(text));
    body_end(&s->ex->down);
    site_leave(s);
    site_turn(s);
}

#define CHECK_GOT(site, text)                                                                      \
    do {                                                                                           \
        (void)state_;                                                                              \
        assert_string_equal((site)->got, (text));                                                  \
    } while (0)
