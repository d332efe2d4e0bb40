/* A body that is kept while it may have to be sent once more. */
#include "edge/replay.h"
#include "net/turn.h"

struct world {
    struct loop *loop;
    struct exchange *ex;
    struct replay replay;
};

static void open_world(struct world *w)
{
    assert_int_equal(loop_new(&w->loop), 0);
    w->ex = exchange_new(w->loop, NULL);
    assert_non_null(w->ex);
    replay_init(&w->replay, w->ex);
}

static void close_world(struct world *w)
{
    replay_done(&w->replay);
    exchange_leave(w->ex, EX_LEFT);
    loop_turn(w->loop, 0);
    loop_free(w->loop);
}

static void put(struct world *w, size_t n, uint8_t with)
{
    static uint8_t bytes[REPLAY_BYTES_MAX];
    struct buf from;
    memset(bytes, with, n);
    buf_init(&from, loop_chunks(w->loop), sizeof bytes);
    assert_int_equal(buf_put(&from, slice_of(bytes, n)), 0);
    assert_int_equal(body_put(&w->ex->up, &from, n), n);
    buf_done(&from);
}

/* As a transport does: first what has come is kept, then some of it is taken. */
static void take(struct world *w, size_t n)
{
    replay_keep(&w->replay, w->ex);
    buf_drop(&w->ex->up.held, n);
}

static void expect(struct world *w, size_t a, size_t b)
{
    static uint8_t bytes[2 * REPLAY_BYTES_MAX];
    assert_int_equal(buf_len(&w->ex->up.held), a + b);
    assert_int_equal(buf_copy(&w->ex->up.held, 0, bytes, sizeof bytes), a + b);
    for (size_t i = 0; i < a + b; i++)
        assert_int_equal(bytes[i], i < a ? 'a' : 'b');
}

TEST(a_body_that_was_taken_in_parts_is_whole_again)
{
    struct world w;
    open_world(&w);
    put(&w, 1000, 'a');
    take(&w, 400);
    put(&w, 500, 'b');
    take(&w, 800);
    put(&w, 100, 'b'); /* not seen yet */
    CHECK(replay_can(&w.replay));
    CHECK_OK(replay_again(&w.replay, w.ex));
    expect(&w, 1000, 600);
    take(&w, 1600);
    CHECK_OK(replay_again(&w.replay, w.ex)); /* and once more */
    expect(&w, 1000, 600);
    close_world(&w);
}

TEST(a_body_without_bytes_can_always_begin_anew)
{
    struct world w;
    open_world(&w);
    replay_keep(&w.replay, w.ex);
    CHECK(replay_can(&w.replay));
    CHECK_OK(replay_again(&w.replay, w.ex));
    expect(&w, 0, 0);
    close_world(&w);
}

TEST(a_body_up_to_the_limit_is_kept_and_no_longer_one)
{
    struct world w;
    open_world(&w);
    put(&w, REPLAY_BYTES_MAX, 'a');
    take(&w, REPLAY_BYTES_MAX);
    CHECK(replay_can(&w.replay));
    put(&w, 1, 'b');
    take(&w, 1);
    CHECK(!replay_can(&w.replay));
    CHECK(replay_again(&w.replay, w.ex) < 0);
    CHECK(buf_is_empty(&w.replay.kept)); /* nothing is held on to for nothing */
    close_world(&w);
}

TEST(what_was_never_kept_cannot_be_sent_again)
{
    struct replay none = { 0 };
    CHECK(!replay_can(&none));
    replay_done(&none);
}

TESTS(RUN(a_body_that_was_taken_in_parts_is_whole_again),
      RUN(a_body_without_bytes_can_always_begin_anew),
      RUN(a_body_up_to_the_limit_is_kept_and_no_longer_one),
      RUN(what_was_never_kept_cannot_be_sent_again))
