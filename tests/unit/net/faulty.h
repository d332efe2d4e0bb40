#pragma once
/* Streams whose operations fail: each read and each write of every stream that went through wrap()
 * is counted, and the one that is named is put off, takes a single byte, or finds the stream reset.
 * A program that includes this is linked with tcp_dial, tcp_is_connected, tcp_is_quiet and
 * tcp_local_addr wrapped. */
#include <stdlib.h>

#include "base/err.h"
#include "net/loop.h"
#include "net/tcp.h"

enum trouble { TROUBLE_AGAIN, TROUBLE_SHORT, TROUBLE_RESET };

static struct {
    size_t calls, fail_at; /* the read or write that fails, from 1; 0 = none */
    enum trouble kind;
} trouble;

struct faulty {
    struct stream base;
    struct stream *inner;
    struct loop *loop;
    struct task relay; /* whom the inner stream wakes */
    struct buf held;   /* taken, and not yet taken by the inner one */
    bool is_finished;
    struct reaper reaper;
};

static struct faulty *faulty_of(struct stream *s)
{
    return container_of(s, struct faulty, base);
}

static int flush_held(struct faulty *f)
{
    int r = buf_is_empty(&f->held) ? 0 : stream_write(f->inner, &f->held);
    if (r == 0 && f->is_finished)
        stream_finish(f->inner);
    return r;
}

static void relay_run(struct task *t)
{
    struct faulty *f = container_of(t, struct faulty, relay);
    (void)flush_held(f);
    task_wake(f->base.owner);
}

static bool is_in_trouble(void)
{
    return ++trouble.calls == trouble.fail_at;
}

static int break_off(struct faulty *f)
{
    stream_abort(f->inner, ERR_RESET);
    task_wake(f->base.owner);
    return ERR_RESET;
}

static int faulty_read(struct stream *s, struct buf *to, size_t max)
{
    struct faulty *f = faulty_of(s);
    if (!is_in_trouble() || max == 0)
        return stream_read(f->inner, to, max);
    if (trouble.kind == TROUBLE_RESET)
        return break_off(f);
    task_wake(f->base.owner);
    return trouble.kind == TROUBLE_AGAIN ? ERR_AGAIN : stream_read(f->inner, to, 1);
}

static int faulty_write(struct stream *s, struct buf *from)
{
    struct faulty *f = faulty_of(s);
    bool is_now = is_in_trouble();
    if (is_now && trouble.kind == TROUBLE_RESET)
        return break_off(f);
    int r = flush_held(f);
    if (r < 0)
        return r;
    if (!is_now || buf_is_empty(from))
        return stream_write(f->inner, from);
    if (trouble.kind == TROUBLE_SHORT && buf_move(&f->held, from, 1) > 0)
        r = flush_held(f);
    task_wake(f->base.owner);
    return r < 0 && r != ERR_AGAIN ? r : buf_is_empty(from) ? 0 : ERR_AGAIN;
}

static void faulty_finish(struct stream *s)
{
    struct faulty *f = faulty_of(s);
    f->is_finished = true;
    (void)flush_held(f);
}

static void faulty_abort(struct stream *s, int why)
{
    stream_abort(faulty_of(s)->inner, why);
}

static void faulty_reap(struct reaper *r)
{
    free(container_of(r, struct faulty, reaper));
}

static void faulty_release(struct stream *s)
{
    struct faulty *f = faulty_of(s);
    task_done(&f->relay);
    buf_done(&f->held);
    stream_release(f->inner);
    loop_reap(f->loop, &f->reaper, faulty_reap);
}

static const struct stream_ops FAULTY = { "faulty",      faulty_read,  faulty_write,
                                          faulty_finish, faulty_abort, faulty_release };

/* The stream itself while nothing is to fail. */
static struct stream *wrap(struct loop *loop, struct stream *inner)
{
    struct faulty *f = trouble.fail_at > 0 ? calloc(1, sizeof *f) : NULL;
    if (f == NULL)
        return inner;
    f->base = (struct stream){ .ops = &FAULTY, .owner = inner->owner };
    f->inner = inner;
    f->loop = loop;
    task_init(&f->relay, loop, relay_run);
    buf_init(&f->held, loop_chunks(loop), 16);
    inner->owner = &f->relay;
    return &f->base;
}

static const struct stream *unwrap(const struct stream *s)
{
    return s->ops == &FAULTY ? faulty_of((struct stream *)(uintptr_t)s)->inner : s;
}

int __real_tcp_dial(struct loop *loop, const struct addr *to, const struct tcp_dial_opts *opts,
                    struct task *owner, struct stream **ret);
int __wrap_tcp_dial(struct loop *loop, const struct addr *to, const struct tcp_dial_opts *opts,
                    struct task *owner, struct stream **ret)
{
    int r = __real_tcp_dial(loop, to, opts, owner, ret);
    if (r == 0)
        *ret = wrap(loop, *ret);
    return r;
}

bool __real_tcp_is_connected(const struct stream *s);
bool __wrap_tcp_is_connected(const struct stream *s)
{
    return __real_tcp_is_connected(unwrap(s));
}

bool __real_tcp_is_quiet(struct stream *s);
bool __wrap_tcp_is_quiet(struct stream *s)
{
    return __real_tcp_is_quiet((struct stream *)(uintptr_t)unwrap(s));
}

void __real_tcp_local_addr(const struct stream *s, struct addr *ret);
void __wrap_tcp_local_addr(const struct stream *s, struct addr *ret);
void __wrap_tcp_local_addr(const struct stream *s, struct addr *ret)
{
    __real_tcp_local_addr(unwrap(s), ret);
}
