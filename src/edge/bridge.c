/* A stream that came from another worker, for one of our links. To one over QUIC it is joined as it
 * is, by two pumps; to one over HTTP/2 it is read as an exchange, which is carried there. */
#include <stdlib.h>

#include "base/err.h"
#include "edge/attempt.h"
#include "edge/edge_int.h"

/* On its way to the link's worker. */
struct bridge_request {
    struct edge_worker *worker;
    uint64_t link;
};

struct bridge {
    struct task task;
    struct loop *loop;
    struct stream *near, *link; /* to the other worker; to the connector */
    struct buf up, down;        /* between them, each way */
    bool up_over, down_over;
    struct reaper reaper;
};

static void bridge_reap(struct reaper *r)
{
    struct bridge *b = container_of(r, struct bridge, reaper);
    buf_done(&b->up);
    buf_done(&b->down);
    free(b);
}

static void bridge_end(struct bridge *b, int why)
{
    if (why < 0) {
        stream_abort(b->near, why);
        if (b->link != NULL)
            stream_abort(b->link, why);
    }
    stream_release(b->near);
    stream_release(b->link);
    task_done(&b->task);
    loop_reap(b->loop, &b->reaper, bridge_reap);
}

/* What a stream says without being read: a failure, or 0. While its bytes wait for the other side
 * only this shows a reset. */
static int state_of(struct bridge *b, struct stream *s)
{
    struct buf none;
    buf_init(&none, loop_chunks(b->loop), 0);
    int r = stream_read(s, &none, 0);
    buf_done(&none);
    return r == ERR_AGAIN || r == ERR_EOF ? 0 : r;
}

/* One direction: true when it is over; *ret_why gets a failure. */
static bool carry(struct bridge *b, struct stream *from, struct buf *held, struct stream *to,
                  int *ret_why)
{
    int r = pump(from, held, to);
    if (r == PUMP_YIELD)
        task_wake(&b->task);
    else if (r != ERR_AGAIN && r != ERR_EOF)
        *ret_why = r;
    return r == ERR_EOF;
}

/* A connector that wants no more of the request may still answer it: the way up is over then, and
 * the rest of the request stays where it is. */
static int carry_up(struct bridge *b)
{
    int why = 0;
    b->up_over = carry(b, b->near, &b->up, b->link, &why);
    if (why < 0 && why != ERR_NOMEM && state_of(b, b->near) == 0 && state_of(b, b->link) == 0) {
        b->up_over = true;
        why = 0;
    }
    return why;
}

static void bridge_run(struct task *t)
{
    struct bridge *b = container_of(t, struct bridge, task);
    int why = state_of(b, b->near);
    if (why == 0)
        why = state_of(b, b->link);
    if (why == 0 && !b->up_over)
        why = carry_up(b);
    if (why == 0 && !b->down_over)
        b->down_over = carry(b, b->link, &b->down, b->near, &why);
    if (why < 0 || (b->up_over && b->down_over))
        bridge_end(b, why);
}

struct bridge_request *bridge_request_new(struct edge_worker *where, uint64_t link)
{
    struct bridge_request *request = malloc(sizeof *request);
    if (request != NULL)
        *request = (struct bridge_request){ .worker = where, .link = link };
    return request;
}

void bridge_drop(void *ctx)
{
    free(ctx);
}

/* ---- to a link over HTTP/2 ---- */

/* The right side of an exchange that came from another worker: one attempt, whose failure is told
 * there, where another may follow. Lives in the exchange's arena. */
struct carried {
    struct task task;
    struct exchange *ex;
    struct attempt attempt;
};

static void carried_end(struct carried *c)
{
    struct exchange *ex = c->ex;
    attempt_end(&c->attempt);
    task_done(&c->task);
    exchange_leave(ex, EX_RIGHT);
}

static void carried_run(struct task *t)
{
    struct carried *c = container_of(t, struct carried, task);
    struct exchange *ex = c->ex;
    if (exchange_has_failed(ex) || exchange_has_left(ex, EX_LEFT)) {
        carried_end(c);
        return;
    }
    int r = attempt_run(&c->attempt);
    if (r == ERR_AGAIN)
        return;
    if (r == ERR_ORIGIN)
        exchange_fail_as(ex, attempt_failure(&c->attempt), ERR_ORIGIN, attempt_cause(&c->attempt));
    else if (r < 0)
        exchange_fail(ex, r, HOP_TUNNEL, NULL);
    carried_end(c);
}

void bridge_route(void *ctx, struct exchange *ex, enum connect_type type)
{
    struct edge_worker *w = ctx;
    struct carried *c = arena_alloc(&ex->arena, sizeof *c);
    struct session *s = session_find(w, LINK_ID(w->index, (uint64_t)ex->connection));
    (void)type;
    if (c == NULL || s == NULL) {
        exchange_fail(ex, s == NULL ? ERR_CLOSED : ERR_NOMEM, HOP_TUNNEL, NULL);
        return;
    }
    c->ex = ex;
    task_init(&c->task, w->loop, carried_run);
    int r = attempt_carry(&c->attempt, w, session_link(s), ex, &c->task);
    if (r < 0) {
        task_done(&c->task);
        if (r == ERR_LIMIT)
            exchange_fail_as(ex, FAILURE_HEAD_TOO_LARGE, r, ATTEMPT_TOO_LARGE);
        else
            exchange_fail(ex, r, HOP_TUNNEL, NULL);
        return;
    }
    exchange_attach(ex, &c->task);
    task_wake(&c->task);
}

/* ---- both ---- */

void bridge_accept(void *ctx, struct loop *loop, struct stream *far_end)
{
    struct bridge_request *request = ctx;
    struct edge_worker *w = request->worker;
    struct session *session = session_find(w, request->link);
    bool is_h2 = session != NULL && session_link(session)->is_h2;
    if (is_h2) {
        w->bridged.connection = (int)LINK_SERIAL(request->link);
        tunnel_serve(&w->bridged, far_end, EXTENSIONS_ALL);
    }
    struct bridge *b = session != NULL && !is_h2 ? calloc(1, sizeof *b) : NULL;
    free(request);
    if (is_h2)
        return;
    if (b == NULL) {
        stream_abort(far_end, ERR_CLOSED);
        stream_release(far_end);
        return;
    }
    b->loop = loop;
    b->near = far_end;
    task_init(&b->task, loop, bridge_run);
    far_end->owner = &b->task;
    buf_init(&b->up, loop_chunks(loop), READ_STEP_BYTES);
    buf_init(&b->down, loop_chunks(loop), READ_STEP_BYTES);
    struct carrier *carrier;
    int r = session_carrier(session, &carrier);
    if (r == 0)
        r = quic_conn_open(carrier->quic, &b->task, &b->link);
    if (r < 0)
        bridge_end(b, r);
    else
        task_wake(&b->task);
}
