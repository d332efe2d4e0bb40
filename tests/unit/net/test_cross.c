#include "net/cross.h"

#include "base/limits.h"
#include "net/turn.h"
#include "net/worker.h"

/* Two loops on one thread, turned one after the other: what crosses is in the mail. */
struct pair {
    struct loop *a, *b;
    struct stream *near, *far;
    struct task near_task, far_task;
    unsigned near_wakes, dropped;
    struct buf near_buf, far_buf;
};

static struct pair *near_pair; /* whose near end is woken */

static void near_run(struct task *t)
{
    (void)t;
    near_pair->near_wakes++;
}

static void on_accept(void *ctx, struct loop *loop, struct stream *far_end)
{
    struct pair *p = ctx;
    assert_ptr_equal(loop, p->b);
    p->far = far_end;
    far_end->owner = &p->far_task;
}

static void on_dropped(void *ctx)
{
    ((struct pair *)ctx)->dropped++;
}

static void pair_start(struct pair *p)
{
    *p = (struct pair){ 0 };
    near_pair = p;
    assert_int_equal(loop_new(&p->a), 0);
    assert_int_equal(loop_new(&p->b), 0);
    task_init(&p->near_task, p->a, near_run);
    task_init(&p->far_task, p->b, do_nothing);
    buf_init(&p->near_buf, loop_chunks(p->a), 4 << 20);
    buf_init(&p->far_buf, loop_chunks(p->b), 4 << 20);
    assert_int_equal(cross_open(p->a, &p->near_task, loop_mailbox(p->b), p->b, on_accept,
                                on_dropped, p, &p->near),
                     0);
}

static void pair_open(struct pair *p, void **state_)
{
    pair_start(p);
    UNTIL_BOTH(p->a, p->b, p->far != NULL);
}

/* Without a turn: mail that waits finds nobody. */
static void loop_end(struct loop **loop, struct task *task, struct buf *buf)
{
    if (*loop == NULL)
        return;
    buf_done(buf);
    task_done(task);
    loop_free(*loop);
    *loop = NULL;
}

static void pair_close(struct pair *p)
{
    stream_release(p->near);
    stream_release(p->far);
    if (p->b != NULL)
        loop_turn(p->b, 0);
    loop_turn(p->a, 0);
    loop_end(&p->b, &p->far_task, &p->far_buf);
    loop_end(&p->a, &p->near_task, &p->near_buf);
}

static void put(struct buf *b, const char *text)
{
    assert_int_equal(buf_put(b, slice_str(text)), 0);
}

TEST(bytes_cross_both_ways_and_each_direction_ends_by_itself)
{
    struct pair p;
    struct transfer up, down;
    pair_open(&p, state_);
    transfer_init(&up, loop_chunks(p.a), p.near, p.far, 3 << 20);
    UNTIL_BOTH(p.a, p.b, transfer_step(&up));
    transfer_init(&down, loop_chunks(p.b), p.far, p.near, 3 << 20);
    UNTIL_BOTH(p.a, p.b, transfer_step(&down));
    transfer_done(&up);
    transfer_done(&down);
    pair_close(&p);
}

TEST(what_is_written_before_the_far_end_exists_is_not_lost)
{
    struct pair p;
    pair_start(&p);
    put(&p.near_buf, "early");
    CHECK_OK(stream_write(p.near, &p.near_buf));
    stream_finish(p.near);
    UNTIL_BOTH(p.a, p.b, p.far != NULL && stream_read(p.far, &p.far_buf, 100) == ERR_EOF);
    CHECK_SLICE(buf_front(&p.far_buf), SLICE("early"));
    pair_close(&p);
}

TEST(a_reader_that_stops_stops_its_writer_within_the_window)
{
    struct pair p;
    size_t put_so_far = 0, seen = 0;
    pair_open(&p, state_);
    pattern_put(&p.near_buf, &put_so_far, 2 << 20);
    for (int i = 0; i < 20; i++) {
        CHECK_ERR(ERR_AGAIN, stream_write(p.near, &p.near_buf));
        loop_turn(p.a, 0);
        loop_turn(p.b, 0);
    }
    CHECK((2 << 20) - buf_len(&p.near_buf) == CROSS_WINDOW_BYTES);
    unsigned wakes = p.near_wakes;
    CHECK_OK(stream_read(p.far, &p.far_buf, CROSS_WINDOW_BYTES));
    pattern_take(&p.far_buf, &seen);
    UNTIL_BOTH(p.a, p.b, p.near_wakes > wakes);
    CHECK_ERR(ERR_AGAIN, stream_write(p.near, &p.near_buf));
    CHECK((2 << 20) - buf_len(&p.near_buf) == 2 * CROSS_WINDOW_BYTES);
    pair_close(&p);
}

TEST(an_abort_reaches_the_other_end_behind_what_was_sent)
{
    struct pair p;
    pair_open(&p, state_);
    put(&p.near_buf, "before");
    CHECK_OK(stream_write(p.near, &p.near_buf));
    stream_abort(p.near, ERR_TIMEOUT);
    CHECK_ERR(ERR_TIMEOUT, stream_read(p.near, &p.near_buf, 10));
    CHECK_ERR(ERR_TIMEOUT, stream_write(p.near, &p.near_buf));
    UNTIL_BOTH(p.a, p.b, stream_read(p.far, &p.far_buf, 0) == ERR_RESET);
    CHECK_OK(stream_read(p.far, &p.far_buf, 100));
    CHECK_ERR(ERR_RESET, stream_read(p.far, &p.far_buf, 100));
    CHECK_ERR(ERR_RESET, stream_write(p.far, &p.far_buf));
    pair_close(&p);
}

TEST(an_abort_after_the_end_of_a_direction_shows_itself_in_a_read_of_nothing)
{
    struct pair p;
    pair_open(&p, state_);
    stream_finish(p.near);
    UNTIL_BOTH(p.a, p.b, stream_read(p.far, &p.far_buf, 100) == ERR_EOF);
    CHECK(stream_read(p.far, &p.far_buf, 0) != ERR_RESET);
    stream_abort(p.near, ERR_CLOSED);
    UNTIL_BOTH(p.a, p.b, stream_read(p.far, &p.far_buf, 0) == ERR_RESET);
    pair_close(&p);
}

TEST(a_release_without_finish_is_a_reset)
{
    struct pair p;
    pair_open(&p, state_);
    stream_release(p.far);
    p.far = NULL;
    UNTIL_BOTH(p.a, p.b, stream_read(p.near, &p.near_buf, 1) == ERR_RESET);
    pair_close(&p);
}

TEST(a_release_after_finish_delivers_everything_and_stops_the_other_writer)
{
    struct pair p;
    size_t put_so_far = 0, seen = 0, other = 0;
    pair_open(&p, state_);
    pattern_put(&p.far_buf, &put_so_far, 200 * 1024);
    CHECK_OK(stream_write(p.far, &p.far_buf));
    stream_finish(p.far);
    stream_release(p.far);
    p.far = NULL;
    pattern_put(&p.near_buf, &other, 2 << 20); /* more than the window: nobody will give credit */
    UNTIL_BOTH(p.a, p.b, stream_write(p.near, &p.near_buf) == ERR_RESET);
    buf_drop(&p.near_buf, SIZE_MAX);
    int r = 0;
    while (r == 0) {
        r = stream_read(p.near, &p.near_buf, 4096);
        pattern_take(&p.near_buf, &seen);
    }
    CHECK_ERR(ERR_EOF, r);
    CHECK(seen == put_so_far);
    pair_close(&p);
}

TEST(a_far_loop_that_is_gone_fails_the_near_end_and_drops_the_context)
{
    struct pair p = { 0 };
    struct mailbox *box;
    pair_start(&p);
    stream_release(p.near);
    p.near = NULL;
    /* Once more, with the loop already gone. */
    box = mailbox_ref(loop_mailbox(p.b));
    loop_end(&p.b, &p.far_task, &p.far_buf);
    CHECK(p.dropped == 1 && p.far == NULL);
    CHECK_OK(cross_open(p.a, &p.near_task, box, NULL, on_accept, on_dropped, &p, &p.near));
    put(&p.near_buf, "to nobody");
    CHECK_OK(stream_write(p.near, &p.near_buf));
    UNTIL(p.a, stream_read(p.near, &p.near_buf, 1) == ERR_CLOSED);
    CHECK(p.dropped == 2 && p.far == NULL);
    mailbox_unref(box);
    pair_close(&p);
}

TEST(what_a_loop_that_went_had_finished_is_read_to_its_end)
{
    struct pair p;
    pair_open(&p, state_);
    put(&p.far_buf, "a last word");
    CHECK_OK(stream_write(p.far, &p.far_buf));
    stream_finish(p.far);
    stream_release(p.far);
    p.far = NULL;
    loop_end(&p.b, &p.far_task, &p.far_buf);
    put(&p.near_buf, "x");
    CHECK_OK(stream_write(p.near, &p.near_buf)); /* finds nobody */
    for (int i = 0; i < 3; i++)
        loop_turn(p.a, 0);
    CHECK_OK(stream_read(p.near, &p.near_buf, 100));
    CHECK_SLICE(buf_front(&p.near_buf), SLICE("a last word"));
    CHECK_ERR(ERR_EOF, stream_read(p.near, &p.near_buf, 100));
    CHECK(stream_write(p.near, &p.near_buf) < 0);
    pair_close(&p);
}

/* ---- two threads ---- */

/* The far end on a worker: gives back what it gets, until the end. */
struct echo {
    struct task task;
    struct stream *s;
    struct loop *loop;
    struct buf held;
    struct reaper reaper;
};

static void echo_reap(struct reaper *r)
{
    struct echo *e = container_of(r, struct echo, reaper);
    buf_done(&e->held);
    free(e);
}

static void echo_run(struct task *t)
{
    struct echo *e = container_of(t, struct echo, task);
    int r = pump(e->s, &e->held, e->s);
    if (r == PUMP_YIELD)
        task_wake(t);
    if (r == PUMP_YIELD || r == ERR_AGAIN)
        return;
    stream_release(e->s);
    task_done(t);
    loop_reap(e->loop, &e->reaper, echo_reap);
}

static void echo_accept(void *ctx, struct loop *loop, struct stream *far_end)
{
    struct echo *e = calloc(1, sizeof *e);
    (void)ctx;
    e->loop = loop;
    e->s = far_end;
    task_init(&e->task, loop, echo_run);
    buf_init(&e->held, loop_chunks(loop), 1 << 16);
    far_end->owner = &e->task;
    task_wake(&e->task);
}

static int echo_init(void *ctx, struct loop *loop)
{
    *(struct loop **)ctx = loop;
    return 0;
}

static void echo_done(void *ctx)
{
    (void)ctx;
}

#define CROSSINGS 8

TEST(many_streams_cross_to_another_thread_and_back)
{
    struct loop *loop, *far = NULL;
    struct worker *w;
    struct transfer up[CROSSINGS], down[CROSSINGS];
    struct stream *s[CROSSINGS];
    struct task task;
    CHECK_OK(loop_new(&loop));
    CHECK_OK(worker_start("echo", echo_init, echo_done, &far, &w));
    task_init(&task, loop, do_nothing);
    for (int i = 0; i < CROSSINGS; i++) {
        CHECK_OK(cross_open(loop, &task, worker_mailbox(w), far, echo_accept, NULL, NULL, &s[i]));
        transfer_init(&up[i], loop_chunks(loop), s[i], s[i], 1 << 20);
        transfer_init(&down[i], loop_chunks(loop), s[i], s[i], 1 << 20);
    }
    size_t over = 0;
    bool is_over[CROSSINGS] = { false };
    nsec end = clock_monotonic() + TURN_NSEC_MAX;
    while (over < CROSSINGS && clock_monotonic() < end) {
        for (int i = 0; i < CROSSINGS; i++) {
            transfer_write(&up[i]);
            transfer_read(&down[i]);
            if (!is_over[i] && down[i].end == ERR_EOF) {
                CHECK(down[i].seen == 1 << 20);
                is_over[i] = true;
                over++;
            }
        }
        loop_turn(loop, 1);
    }
    CHECK(over == CROSSINGS);
    for (int i = 0; i < CROSSINGS; i++) {
        transfer_done(&up[i]);
        transfer_done(&down[i]);
        stream_release(s[i]);
    }
    worker_stop(w);
    worker_join(w);
    task_done(&task);
    loop_turn(loop, 0);
    loop_free(loop);
}

TEST(ends_that_are_let_go_at_any_moment_leave_nothing_behind)
{
    struct loop *loop, *far = NULL;
    struct worker *w;
    struct task task;
    CHECK_OK(loop_new(&loop));
    CHECK_OK(worker_start("echo", echo_init, echo_done, &far, &w));
    task_init(&task, loop, do_nothing);
    for (int i = 0; i < 500; i++) {
        struct stream *s;
        struct buf out;
        size_t at = 0;
        CHECK_OK(cross_open(loop, &task, worker_mailbox(w), far, echo_accept, NULL, NULL, &s));
        buf_init(&out, loop_chunks(loop), 1 << 20);
        pattern_put(&out, &at, 1 + (size_t)(i * 977) % 300000);
        (void)!stream_write(s, &out);
        if (i % 3 == 0)
            stream_finish(s);
        if (i % 3 == 1)
            stream_abort(s, ERR_CANCELED);
        for (int turn = 0; turn < i % 4; turn++)
            loop_turn(loop, 0);
        stream_release(s);
        buf_done(&out);
    }
    worker_stop(w);
    worker_join(w);
    task_done(&task);
    loop_turn(loop, 0);
    loop_free(loop);
}

TESTS(RUN(bytes_cross_both_ways_and_each_direction_ends_by_itself),
      RUN(what_is_written_before_the_far_end_exists_is_not_lost),
      RUN(a_reader_that_stops_stops_its_writer_within_the_window),
      RUN(an_abort_reaches_the_other_end_behind_what_was_sent),
      RUN(an_abort_after_the_end_of_a_direction_shows_itself_in_a_read_of_nothing),
      RUN(a_release_without_finish_is_a_reset),
      RUN(a_release_after_finish_delivers_everything_and_stops_the_other_writer),
      RUN(a_far_loop_that_is_gone_fails_the_near_end_and_drops_the_context),
      RUN(what_a_loop_that_went_had_finished_is_read_to_its_end),
      RUN(many_streams_cross_to_another_thread_and_back),
      RUN(ends_that_are_let_go_at_any_moment_leave_nothing_behind))
