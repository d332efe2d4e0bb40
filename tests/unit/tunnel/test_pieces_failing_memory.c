/* Bodies in pieces when memory is short: who reads them is told, for nobody would wake it. */
#include "failing.h"
#include "net/pipe.h"
#include "net/turn.h"
#include "tunnel/pieces.h"

/* One byte in a chunk of its own: two pieces need no memory in a buffer, a third does. */
static void put_apart(struct buf *to, struct loop *loop)
{
    struct buf from;
    buf_init(&from, loop_chunks(loop), 16);
    assert_int_equal(buf_put(&from, SLICE("a")), 0);
    assert_int_equal(buf_move(to, &from, 1), 1);
    buf_done(&from);
}

TEST(a_piece_that_finds_no_memory_is_an_error)
{
    struct loop *loop;
    struct stream *near, *far;
    struct body to = { 0 };
    struct buf in;
    struct arena arena;
    struct fields *trailers = NULL;
    struct piece_reader reader = { 0 };
    CHECK_OK(loop_new(&loop));
    CHECK_OK(pipe_new(loop, 100, &near, &far));
    arena_init(&arena, 4096);
    buf_init(&to.held, loop_chunks(loop), 100);
    buf_init(&in, loop_chunks(loop), 100);
    put_apart(&to.held, loop);
    put_apart(&to.held, loop);
    CHECK(to.held.count == 2);
    CHECK_OK(buf_put(&in, SLICE("\0\0\0\1b"))); /* with the head */
    memory.calls = 0;
    memory.fail_at = 1;
    int r = pieces_read(&reader, near, &in, &to, &arena, &trailers);
    memory.fail_at = 0;
    CHECK(memory.calls > 0);
    CHECK_ERR(ERR_NOMEM, r);
    stream_release(near);
    stream_release(far);
    buf_done(&in);
    buf_done(&to.held);
    arena_done(&arena);
    loop_turn(loop, 0);
    loop_free(loop);
}

TESTS(RUN(a_piece_that_finds_no_memory_is_an_error))
