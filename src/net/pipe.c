#include "net/pipe.h"

#include <stdlib.h>

#include "base/err.h"

struct end {
    struct stream stream;
    struct pipe *pipe;
    struct end *other;
    struct buf in; /* what the other end wrote and this one has not read */
    bool is_full, is_finished, is_in_over, is_released;
    int err;     /* why both directions are over */
    int out_err; /* why nothing can be written any more */
};

struct pipe {
    struct loop *loop;
    struct end ends[2];
    struct reaper reaper;
};

static struct end *end_of(struct stream *s)
{
    return (struct end *)(void *)((char *)s - offsetof(struct end, stream));
}

static int pipe_read(struct stream *s, struct buf *to, size_t max)
{
    struct end *e = end_of(s);
    if (e->err < 0)
        return e->err;
    if (!buf_is_empty(&e->in)) {
        size_t n = max > 0 ? buf_move(to, &e->in, max) : 0;
        if (n > 0 && e->other->is_full) {
            e->other->is_full = false;
            task_wake(e->other->stream.owner);
        }
        if (n == 0 && max > 0)
            return buf_is_stuck(to, &e->in) ? ERR_NOMEM : ERR_AGAIN;
        return 0;
    }
    return e->is_in_over ? ERR_EOF : ERR_AGAIN;
}

static int pipe_write(struct stream *s, struct buf *from)
{
    struct end *e = end_of(s);
    if (e->err < 0)
        return e->err;
    if (e->out_err < 0)
        return e->out_err;
    if (e->is_finished)
        return ERR_CLOSED;
    if (buf_move(&e->other->in, from, SIZE_MAX) > 0)
        task_wake(e->other->stream.owner);
    else if (buf_is_stuck(&e->other->in, from))
        return ERR_NOMEM;
    e->is_full = !buf_is_empty(from);
    return e->is_full ? ERR_AGAIN : 0;
}

static void pipe_finish(struct stream *s)
{
    struct end *e = end_of(s);
    if (e->is_finished || e->err < 0)
        return;
    e->is_finished = true;
    e->other->is_in_over = true;
    task_wake(e->other->stream.owner);
}

static void die(struct end *e, int why)
{
    if (e->err == 0)
        e->err = why;
    buf_drop(&e->in, buf_len(&e->in));
}

static void pipe_abort(struct stream *s, int why)
{
    struct end *e = end_of(s);
    if (e->err < 0)
        return;
    die(e, why < 0 ? why : ERR_CLOSED);
    die(e->other, ERR_RESET);
    task_wake(e->other->stream.owner);
}

static void reap(struct reaper *r)
{
    struct pipe *p = container_of(r, struct pipe, reaper);
    for (int i = 0; i < 2; i++)
        buf_done(&p->ends[i].in);
    free(p);
}

static void pipe_release(struct stream *s)
{
    struct end *e = end_of(s);
    if (!e->is_finished)
        pipe_abort(s, ERR_CLOSED);
    buf_drop(&e->in, buf_len(&e->in));
    e->stream.owner = NULL;
    e->is_released = true;
    if (e->other->is_released) {
        loop_reap(e->pipe->loop, &e->pipe->reaper, reap);
        return;
    }
    /* Nobody reads here any more. What was written is still delivered. */
    if (e->other->out_err == 0)
        e->other->out_err = ERR_RESET;
    task_wake(e->other->stream.owner);
}

static const struct stream_ops PIPE_OPS = {
    .kind = "pipe",
    .read = pipe_read,
    .write = pipe_write,
    .finish = pipe_finish,
    .abort = pipe_abort,
    .release = pipe_release,
};

int pipe_new(struct loop *loop, size_t window, struct stream **ret_a, struct stream **ret_b)
{
    struct pipe *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->loop = loop;
    for (int i = 0; i < 2; i++) {
        struct end *e = &p->ends[i];
        e->stream.ops = &PIPE_OPS;
        e->pipe = p;
        e->other = &p->ends[1 - i];
        buf_init(&e->in, loop_chunks(loop), window);
    }
    *ret_a = &p->ends[0].stream;
    *ret_b = &p->ends[1].stream;
    return 0;
}
