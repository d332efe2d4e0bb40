#include "net/pipe.h"
#include "net/turn.h"

/* Owners that only count, so that a wake is seen apart from what can be read. */
struct side {
    struct task task;
    struct stream *s;
    struct buf buf;
    unsigned wakes;
};

static void side_run(struct task *t)
{
    container_of(t, struct side, task)->wakes++;
}

struct two {
    struct loop *loop;
    struct side a, b;
};

static void two_open(struct two *w, size_t window)
{
    *w = (struct two){ 0 };
    assert_int_equal(loop_new(&w->loop), 0);
    assert_int_equal(pipe_new(w->loop, window, &w->a.s, &w->b.s), 0);
    struct side *sides[] = { &w->a, &w->b };
    for (int i = 0; i < 2; i++) {
        task_init(&sides[i]->task, w->loop, side_run);
        buf_init(&sides[i]->buf, loop_chunks(w->loop), 1 << 20);
        sides[i]->s->owner = &sides[i]->task;
    }
}

static void two_close(struct two *w)
{
    struct side *sides[] = { &w->a, &w->b };
    for (int i = 0; i < 2; i++) {
        stream_release(sides[i]->s);
        buf_done(&sides[i]->buf);
        task_done(&sides[i]->task);
    }
    loop_turn(w->loop, 0);
    loop_free(w->loop);
}

static void put(struct side *s, const char *text)
{
    assert_int_equal(buf_put(&s->buf, slice_str(text)), 0);
}

TEST(what_is_written_to_one_end_is_read_from_the_other)
{
    struct two w;
    two_open(&w, 100);
    put(&w.a, "to b");
    CHECK_OK(stream_write(w.a.s, &w.a.buf));
    CHECK(buf_is_empty(&w.a.buf));
    loop_turn(w.loop, 0);
    CHECK(w.b.wakes == 1 && w.a.wakes == 0);
    CHECK_OK(stream_read(w.b.s, &w.b.buf, 100));
    CHECK_SLICE(buf_front(&w.b.buf), SLICE("to b"));
    CHECK_ERR(ERR_AGAIN, stream_read(w.b.s, &w.b.buf, 100));
    CHECK_OK(stream_write(w.b.s, &w.b.buf));
    CHECK_OK(stream_read(w.a.s, &w.a.buf, 2));
    CHECK_SLICE(buf_front(&w.a.buf), SLICE("to"));
    two_close(&w);
}

TEST(a_full_pipe_stops_its_writer_until_the_other_end_reads)
{
    struct two w;
    two_open(&w, 4);
    put(&w.a, "sixbyt");
    CHECK_ERR(ERR_AGAIN, stream_write(w.a.s, &w.a.buf));
    CHECK(buf_len(&w.a.buf) == 2);
    loop_turn(w.loop, 0);
    CHECK(w.a.wakes == 0);
    CHECK_OK(stream_read(w.b.s, &w.b.buf, 1));
    loop_turn(w.loop, 0);
    CHECK(w.a.wakes == 1);
    CHECK_ERR(ERR_AGAIN, stream_write(w.a.s, &w.a.buf));
    CHECK(buf_len(&w.a.buf) == 1);
    CHECK_OK(stream_read(w.b.s, &w.b.buf, 100));
    CHECK_OK(stream_write(w.a.s, &w.a.buf));
    two_close(&w);
}

TEST(each_direction_ends_by_itself)
{
    struct two w;
    two_open(&w, 100);
    put(&w.a, "last");
    CHECK_OK(stream_write(w.a.s, &w.a.buf));
    stream_finish(w.a.s);
    stream_finish(w.a.s);
    CHECK_ERR(ERR_CLOSED, stream_write(w.a.s, &w.a.buf));
    CHECK_OK(stream_read(w.b.s, &w.b.buf, 100));
    CHECK_ERR(ERR_EOF, stream_read(w.b.s, &w.b.buf, 100));
    CHECK_ERR(ERR_EOF, stream_read(w.b.s, &w.b.buf, 100));
    CHECK_OK(stream_write(w.b.s, &w.b.buf)); /* the other way is open */
    CHECK_OK(stream_read(w.a.s, &w.a.buf, 100));
    two_close(&w);
}

TEST(an_abort_drops_what_waits_and_is_a_reset_at_the_other_end)
{
    struct two w;
    two_open(&w, 100);
    put(&w.a, "lost");
    CHECK_OK(stream_write(w.a.s, &w.a.buf));
    stream_abort(w.a.s, ERR_TIMEOUT);
    CHECK_ERR(ERR_TIMEOUT, stream_read(w.a.s, &w.a.buf, 1));
    CHECK_ERR(ERR_TIMEOUT, stream_write(w.a.s, &w.a.buf));
    CHECK_ERR(ERR_RESET, stream_read(w.b.s, &w.b.buf, 1));
    CHECK_ERR(ERR_RESET, stream_read(w.b.s, &w.b.buf, 0));
    CHECK_ERR(ERR_RESET, stream_write(w.b.s, &w.b.buf));
    loop_turn(w.loop, 0);
    CHECK(w.b.wakes == 1);
    two_close(&w);
}

TEST(a_release_after_finish_delivers_and_stops_the_other_writer)
{
    struct two w;
    two_open(&w, 100);
    put(&w.a, "goodbye");
    CHECK_OK(stream_write(w.a.s, &w.a.buf));
    stream_finish(w.a.s);
    stream_release(w.a.s);
    w.a.s = NULL;
    put(&w.b, "nobody reads this");
    CHECK_ERR(ERR_RESET, stream_write(w.b.s, &w.b.buf));
    buf_drop(&w.b.buf, 100);
    CHECK_OK(stream_read(w.b.s, &w.b.buf, 100));
    CHECK_SLICE(buf_front(&w.b.buf), SLICE("goodbye"));
    CHECK_ERR(ERR_EOF, stream_read(w.b.s, &w.b.buf, 100));
    two_close(&w);
}

TEST(a_release_without_finish_is_an_abort)
{
    struct two w;
    two_open(&w, 100);
    stream_release(w.a.s);
    w.a.s = NULL;
    CHECK_ERR(ERR_RESET, stream_read(w.b.s, &w.b.buf, 100));
    two_close(&w);
}

/* ---- pump ---- */

TEST(a_pump_reads_nothing_while_it_holds_something)
{
    struct two in, out;
    struct buf held;
    two_open(&in, 64);
    two_open(&out, 4);
    buf_init(&held, loop_chunks(in.loop), 1024);
    put(&in.a, "thirteen byte");
    CHECK_OK(stream_write(in.a.s, &in.a.buf));
    CHECK_ERR(ERR_AGAIN, pump(in.b.s, &held, out.a.s));
    CHECK(buf_len(&held) == 9);
    put(&in.a, "more");
    CHECK_OK(stream_write(in.a.s, &in.a.buf));
    CHECK_ERR(ERR_AGAIN, pump(in.b.s, &held, out.a.s));
    CHECK(buf_len(&held) == 9); /* "more" stays upstream */
    for (int i = 0; i < 10; i++) {
        while (stream_read(out.b.s, &out.b.buf, 100) == 0)
            continue;
        CHECK_ERR(ERR_AGAIN, pump(in.b.s, &held, out.a.s));
    }
    struct slice all;
    CHECK_OK(buf_peek(&out.b.buf, 17, &all));
    CHECK_SLICE(all, SLICE("thirteen bytemore"));
    buf_done(&held);
    two_close(&in);
    two_close(&out);
}

TEST(a_pump_ends_its_sink_with_its_source_and_tells_failures_of_either)
{
    struct two in, out;
    struct buf held;
    two_open(&in, 64);
    two_open(&out, 64);
    buf_init(&held, loop_chunks(in.loop), 1024);
    stream_finish(in.a.s);
    CHECK_ERR(ERR_EOF, pump(in.b.s, &held, out.a.s));
    CHECK_ERR(ERR_EOF, stream_read(out.b.s, &out.b.buf, 1));
    CHECK_ERR(ERR_AGAIN, pump(out.a.s, &held, in.b.s));
    stream_abort(out.b.s, ERR_CLOSED);
    CHECK_ERR(ERR_RESET, pump(out.a.s, &held, in.b.s));
    buf_done(&held);
    two_close(&in);
    two_close(&out);
}

TEST(a_pump_lets_others_have_their_turn)
{
    struct two in, out;
    struct buf held;
    two_open(&in, 8 << 20);
    two_open(&out, 8 << 20);
    buf_init(&held, loop_chunks(in.loop), 1 << 20);
    for (size_t at = 0; at < 3 << 20;) {
        pattern_put(&in.a.buf, &at, at + (1 << 20));
        CHECK_OK(stream_write(in.a.s, &in.a.buf));
    }
    int r, yields = 0;
    while ((r = pump(in.b.s, &held, out.a.s)) == PUMP_YIELD)
        yields++;
    CHECK_ERR(ERR_AGAIN, r);
    CHECK(yields >= 2);
    buf_done(&held);
    two_close(&in);
    two_close(&out);
}

TESTS(RUN(what_is_written_to_one_end_is_read_from_the_other),
      RUN(a_full_pipe_stops_its_writer_until_the_other_end_reads),
      RUN(each_direction_ends_by_itself),
      RUN(an_abort_drops_what_waits_and_is_a_reset_at_the_other_end),
      RUN(a_release_after_finish_delivers_and_stops_the_other_writer),
      RUN(a_release_without_finish_is_an_abort), RUN(a_pump_reads_nothing_while_it_holds_something),
      RUN(a_pump_ends_its_sink_with_its_source_and_tells_failures_of_either),
      RUN(a_pump_lets_others_have_their_turn))
