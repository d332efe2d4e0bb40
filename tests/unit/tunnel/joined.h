#pragma once
/* Both ends of a data stream joined by an in-memory pair: the edge's exchange on the left, the
 * connector's on the right, and the test as visitor and origin. */
#include "net/pipe.h"
#include "net/turn.h"
#include "tunnel/client.h"
#include "tunnel/head.h"
#include "tunnel/server.h"

struct tunnel {
    struct loop *loop;
    struct task left, client_task, right; /* visitor's; the edge's end; origin's */
    struct stream *edge_end, *connector_end;
    struct exchange *ex; /* at the edge */
    struct tunnel_client client;
    int end; /* of tunnel_client_run */
    struct tunnel_server_group group;
    struct exchange *origin; /* at the connector; NULL before its head came, and after leaving */
    enum connect_type type;
    unsigned routed, dones, rpcs, refusals, extensions;
    enum failure refused; /* the last head that was */
    struct verdict last;
};

static inline void client_run(struct task *t)
{
    struct tunnel *w = container_of(t, struct tunnel, client_task);
    if (w->end == ERR_AGAIN && w->client.ex != NULL)
        w->end = tunnel_client_run(&w->client);
}

static inline void on_route(void *ctx, struct exchange *ex, enum connect_type type)
{
    struct tunnel *w = ctx;
    w->routed++;
    w->origin = ex;
    w->type = type;
    exchange_attach(ex, &w->right);
}

static inline void on_done(void *ctx, const struct exchange *ex)
{
    struct tunnel *w = ctx;
    w->dones++;
    w->last = ex->verdict;
}

static inline void on_refused(void *ctx, enum failure failure, const char *text)
{
    struct tunnel *w = ctx;
    assert_non_null(text);
    w->refusals++;
    w->refused = failure;
}

static inline void tunnel_open_with(struct tunnel *w, size_t window, unsigned extensions)
{
    memset(w, 0, sizeof *w);
    assert_int_equal(loop_new(&w->loop), 0);
    task_init(&w->left, w->loop, do_nothing);
    task_init(&w->right, w->loop, do_nothing);
    task_init(&w->client_task, w->loop, client_run);
    tunnel_server_group_init(&w->group, w->loop, w);
    w->group.route = on_route;
    w->group.done = on_done;
    w->group.refused = on_refused;
    assert_int_equal(pipe_new(w->loop, window, &w->edge_end, &w->connector_end), 0);
    w->edge_end->owner = &w->client_task;
    w->extensions = extensions;
    tunnel_serve(&w->group, w->connector_end, extensions);
    w->ex = exchange_new(w->loop, &w->left);
    w->ex->request.method = SLICE("GET");
    w->ex->request.scheme = SLICE("https");
    w->ex->request.host = SLICE("h.example");
    w->ex->request.target = SLICE("/x?y");
    w->end = ERR_AGAIN;
}

static inline void tunnel_open(struct tunnel *w, size_t window)
{
    tunnel_open_with(w, window, 0);
}

static inline void tunnel_turn(struct tunnel *w)
{
    for (int i = 0; i < 8; i++)
        loop_turn(w->loop, 0);
}

static inline void begin(struct tunnel *w)
{
    if (w->ex->request.framing == FRAMING_NONE && w->ex->request.upgrade == UPGRADE_NONE)
        body_end(&w->ex->up);
    exchange_attach(w->ex, &w->client_task);
    assert_int_equal(tunnel_client_init(&w->client, w->ex, w->edge_end, w->extensions), 0);
    w->edge_end = NULL;
    task_wake(&w->client_task);
    tunnel_turn(w);
}

static inline void origin_leave(struct tunnel *w)
{
    struct exchange *ex = w->origin;
    w->origin = NULL;
    exchange_leave(ex, EX_RIGHT);
    tunnel_turn(w);
}

static inline void tunnel_close(struct tunnel *w)
{
    tunnel_client_done(&w->client);
    tunnel_client_done(&w->client); /* twice is accepted */
    stream_release(w->edge_end);
    tunnel_server_abort(&w->group);
    if (w->origin != NULL)
        exchange_leave(w->origin, EX_RIGHT);
    if (w->ex->right != NULL)
        exchange_leave(w->ex, EX_RIGHT);
    exchange_leave(w->ex, EX_LEFT);
    tunnel_turn(w);
    assert_int_equal(w->group.count, 0);
    assert_int_equal(w->dones, w->routed);
    task_done(&w->left);
    task_done(&w->right);
    task_done(&w->client_task);
    loop_free(w->loop);
}

static inline void put(struct exchange *ex, struct body *b, const char *text)
{
    struct buf from;
    buf_init(&from, loop_chunks(ex->loop), 1 << 16);
    assert_int_equal(buf_put(&from, slice_str(text)), 0);
    assert_int_equal(body_put(b, &from, SIZE_MAX), strlen(text));
    buf_done(&from);
    exchange_wake_left(ex);
    exchange_wake_right(ex);
}

static inline struct response *respond(struct tunnel *w, unsigned status, enum framing framing,
                                       uint64_t length)
{
    struct response *r = response_new(w->origin, status);
    assert_non_null(r);
    r->framing = framing;
    r->has_length = framing == FRAMING_LENGTH;
    r->length = length;
    assert_int_equal(fields_add(&r->fields, SLICE("X-From"), SLICE("origin")), 0);
    exchange_respond(w->origin, r);
    return r;
}

static inline void end_body(struct exchange *ex, struct body *b)
{
    body_end(b);
    exchange_wake_left(ex);
    exchange_wake_right(ex);
}

/* Takes what waits in a body, as text. */
static inline const char *take(struct exchange *ex, struct body *b)
{
    static char text[4096];
    size_t n = buf_copy(&b->held, 0, text, sizeof text - 1);
    text[n] = 0;
    buf_drop(&b->held, n);
    exchange_wake_left(ex);
    exchange_wake_right(ex);
    return text;
}
