/* Bytes that cross from one loop to another and back, with memory that runs out at each allocation
 * in turn: they come whole, or both ends learn that they do not. */
#include "failing.h"
#include "net/cross.h"
#include "net/turn.h"

#define TOTAL 600000

/* Two loops on one thread, turned one after the other. */
struct pair {
    struct loop *a, *b;
    struct task near_task, far_task;
    struct stream *near, *far;
    bool was_accepted;
    struct buf said, near_in, far_in; /* far_in goes back to where it came from */
    size_t heard;
    int near_end, far_end; /* what reading last said */
    bool near_finished, far_finished;
};

static void on_accept(void *ctx, struct loop *loop, struct stream *far_end)
{
    struct pair *p = ctx;
    (void)loop;
    p->was_accepted = true;
    p->far = far_end;
    far_end->owner = &p->far_task;
}

static void on_dropped(void *ctx)
{
    (void)ctx;
}

static void pair_open(struct pair *p)
{
    size_t at = 0;
    *p = (struct pair){ .near_end = ERR_AGAIN, .far_end = ERR_AGAIN };
    assert_int_equal(loop_new(&p->a), 0);
    assert_int_equal(loop_new(&p->b), 0);
    task_init(&p->near_task, p->a, do_nothing);
    task_init(&p->far_task, p->b, do_nothing);
    buf_init(&p->said, loop_chunks(p->a), TOTAL);
    buf_init(&p->near_in, loop_chunks(p->a), TOTAL);
    buf_init(&p->far_in, loop_chunks(p->b), 65536);
    pattern_put(&p->said, &at, TOTAL);
    assert_int_equal(at, TOTAL);
}

static void give_up(struct stream **s, int *end, int why)
{
    if (*end == ERR_AGAIN || *end == 0)
        *end = why;
    stream_abort(*s, why);
}

/* An error other than this ends the stream for both directions. */
static bool is_wait(int r)
{
    return r == 0 || r == ERR_AGAIN;
}

static void near_go(struct pair *p)
{
    if (!is_wait(p->near_end))
        return;
    int r = buf_is_empty(&p->said) ? 0 : stream_write(p->near, &p->said);
    if (r == 0 && !p->near_finished) {
        stream_finish(p->near);
        p->near_finished = true;
    }
    if (!is_wait(r))
        give_up(&p->near, &p->near_end, r);
    while (is_wait(p->near_end)) {
        p->near_end = stream_read(p->near, &p->near_in, 65536);
        pattern_take(&p->near_in, &p->heard);
        if (p->near_end == ERR_AGAIN)
            return;
    }
}

static void far_go(struct pair *p)
{
    if (p->far == NULL || p->far_finished)
        return;
    if (is_wait(p->far_end))
        p->far_end = stream_read(p->far, &p->far_in, 65536);
    int r = buf_is_empty(&p->far_in) ? 0 : stream_write(p->far, &p->far_in);
    if (!is_wait(p->far_end) && p->far_end != ERR_EOF)
        r = p->far_end;
    p->far_finished = (r == 0 && p->far_end == ERR_EOF) || !is_wait(r);
    if (!is_wait(r))
        give_up(&p->far, &p->far_end, r);
    else if (p->far_finished)
        stream_finish(p->far);
}

/* What the near end met. */
static int carry(struct pair *p)
{
    nsec late = clock_monotonic() + TURN_NSEC_MAX;
    int r = cross_open(p->a, &p->near_task, loop_mailbox(p->b), p->b, on_accept, on_dropped, p,
                       &p->near);
    if (r < 0)
        return r;
    while (is_wait(p->near_end) && clock_monotonic() < late) {
        near_go(p);
        loop_turn(p->a, 0);
        far_go(p);
        loop_turn(p->b, 0);
    }
    return p->near_end;
}

static void pair_close(struct pair *p)
{
    stream_release(p->near);
    for (int i = 0; i < 4; i++) {
        loop_turn(p->b, 0);
        far_go(p);
    }
    stream_release(p->far);
    for (int i = 0; i < 4; i++) {
        loop_turn(p->a, 0);
        loop_turn(p->b, 0);
    }
    buf_done(&p->said);
    buf_done(&p->near_in);
    buf_done(&p->far_in);
    assert_int_equal(chunk_pool_used(loop_chunks(p->a)), 0);
    assert_int_equal(chunk_pool_used(loop_chunks(p->b)), 0);
    task_done(&p->near_task);
    task_done(&p->far_task);
    loop_free(p->a);
    loop_free(p->b);
}

TEST(what_crosses_comes_whole_or_both_ends_learn_that_it_does_not)
{
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        unsigned failures = 0;
        for (size_t n = 1;; n++) {
            struct pair p;
            long live = memory.live;
            pair_open(&p);
            memory.calls = 0;
            memory.fail_at = n;
            memory.goes_on = goes_on != 0;
            int r = carry(&p);
            size_t calls = memory.calls;
            memory.fail_at = 0;
            if (r == ERR_AGAIN)
                fail_msg("it waits for ever when allocation %zu failed", n);
            if (r == ERR_EOF && p.heard != TOTAL)
                fail_msg("%zu bytes look whole when allocation %zu failed", p.heard, n);
            failures += r != ERR_EOF;
            pair_close(&p);
            if (p.was_accepted && r != ERR_EOF && (p.far_end == 0 || p.far_end == ERR_AGAIN))
                fail_msg("the far end did not learn of it when allocation %zu failed", n);
            if (memory.live != live)
                fail_msg("%ld blocks left when allocation %zu failed", memory.live - live, n);
            if (calls >= n)
                continue;
            CHECK(r == ERR_EOF);
            CHECK(n > 5); /* it is linked for this */
            break;
        }
        CHECK(failures > 3);
    }
}

TESTS(RUN(what_crosses_comes_whole_or_both_ends_learn_that_it_does_not))
