/* A stream that came from another worker, joined to a stream of one of our links: two pumps. */
#include <stdlib.h>

#include "base/err.h"
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
    if (why < 0 && state_of(b, b->near) == 0 && state_of(b, b->link) == 0) {
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

void bridge_accept(void *ctx, struct loop *loop, struct stream *far_end)
{
    struct bridge_request *request = ctx;
    struct session *session = session_find(request->worker, request->link);
    struct bridge *b = session != NULL ? calloc(1, sizeof *b) : NULL;
    free(request);
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
    int r = session_open_stream(session, &b->task, &b->link);
    if (r < 0)
        bridge_end(b, r);
    else
        task_wake(&b->task);
}
