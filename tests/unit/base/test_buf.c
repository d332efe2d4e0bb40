#include "base/arena.h"
#include "base/buf.h"
#include "test.h"

TEST(bytes_come_out_in_the_order_they_went_in)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf b;
    buf_init(&b, pool, 100000);
    for (int i = 0; i < 20000; i++) {
        uint8_t byte[2] = { (uint8_t)i, (uint8_t)(i >> 8) };
        CHECK_OK(buf_put(&b, slice_of(byte, 2)));
    }
    CHECK(buf_len(&b) == 40000 && b.count == 4);
    for (int i = 0; i < 20000; i++) {
        uint8_t byte[2];
        CHECK(buf_copy(&b, 0, byte, 2) == 2);
        CHECK(byte[0] == (uint8_t)i && byte[1] == (uint8_t)(i >> 8));
        buf_drop(&b, 2);
    }
    CHECK(buf_is_empty(&b) && chunk_pool_used(pool) == 0);
    buf_done(&b);
    chunk_pool_free(pool);
}

TEST(a_put_past_the_bound_changes_nothing)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf b;
    buf_init(&b, pool, 5);
    CHECK_OK(buf_put(&b, SLICE("abc")));
    CHECK_ERR(ERR_LIMIT, buf_put(&b, SLICE("def")));
    CHECK_SLICE(buf_front(&b), SLICE("abc"));
    size_t room;
    CHECK(buf_reserve(&b, 100, &room) != NULL && room == 2);
    buf_commit(&b, 0);
    CHECK_OK(buf_put(&b, SLICE("de")));
    CHECK(buf_reserve(&b, 1, &room) == NULL);
    buf_done(&b);
    chunk_pool_free(pool);
}

TEST(a_move_shares_chunks_and_keeps_what_did_not_fit)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf from, to;
    buf_init(&from, pool, 100);
    buf_init(&to, pool, 4);
    CHECK_OK(buf_put(&from, SLICE("hello, tunnel")));
    CHECK(buf_move(&to, &from, 100) == 4);
    CHECK(buf_seg(&to, 0)->chunk == buf_seg(&from, 0)->chunk);
    CHECK_SLICE(buf_front(&from), SLICE("o, tunnel"));
    /* The shared chunk's tail belongs to nobody now: appending must not write into it. */
    to.max = 100;
    CHECK_OK(buf_put(&to, SLICE("XXXX")));
    CHECK_SLICE(buf_front(&from), SLICE("o, tunnel"));
    struct slice all;
    CHECK_OK(buf_peek(&to, 8, &all));
    CHECK_SLICE(all, SLICE("hellXXXX"));
    CHECK_ERR(ERR_AGAIN, buf_peek(&to, 9, &all));
    buf_done(&from);
    buf_done(&to);
    CHECK(chunk_pool_used(pool) == 0);
    chunk_pool_free(pool);
}

TEST(a_part_that_is_shared_outlives_where_it_came_from)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf from, to;
    buf_init(&from, pool, 100);
    buf_init(&to, pool, 6);
    CHECK_OK(buf_put(&from, SLICE("hello, tunnel")));
    CHECK_OK(buf_share(&to, &from, slice_sub(buf_front(&from), 7, 6)));
    CHECK(buf_len(&from) == 13 && chunk_pool_used(pool) == 1);
    CHECK_ERR(ERR_LIMIT, buf_share(&to, &from, slice_sub(buf_front(&from), 0, 1)));
    /* What is appended later must not run over the part that is shared. */
    CHECK_OK(buf_put(&from, SLICE("!")));
    buf_drop(&to, 1);
    CHECK_OK(buf_put(&to, SLICE("?")));
    CHECK(buf_len(&from) == 14);
    buf_done(&from);
    char text[6];
    CHECK(buf_copy(&to, 0, text, 6) == 6 && memcmp(text, "unnel?", 6) == 0);
    buf_done(&to);
    CHECK(chunk_pool_used(pool) == 0);
    chunk_pool_free(pool);
}

TEST(neighbouring_pieces_of_one_chunk_join_again)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf from, to;
    buf_init(&from, pool, 1000);
    buf_init(&to, pool, 1000);
    CHECK_OK(buf_put(&from, SLICE("abcdef")));
    for (int i = 0; i < 6; i++)
        CHECK(buf_move(&to, &from, 1) == 1);
    CHECK(to.count == 1);
    CHECK_SLICE(buf_front(&to), SLICE("abcdef"));
    buf_done(&from);
    buf_done(&to);
    chunk_pool_free(pool);
}

TEST(small_reads_share_a_large_chunk)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf b[8];
    struct iovec iov[4];
    for (size_t i = 0; i < 8; i++) {
        char text = (char)('a' + i);
        buf_init(&b[i], pool, 3 * CHUNK_BYTES);
        CHECK(buf_reserve_iov(&b[i], 4096, false, iov, 4) > 0);
        memset(iov[0].iov_base, text, 1000);
        buf_commit_iov(&b[i], 1000);
    }
    CHECK(chunk_pool_used(pool) == 1);
    for (size_t i = 0; i < 8; i++) { /* none has written into another's */
        struct slice all = buf_front(&b[i]);
        CHECK(all.n == 1000 && all.p[0] == 'a' + i && all.p[999] == 'a' + i);
    }
    /* Where little is expected a small chunk is tried first, and what fits there is there. */
    struct buf little;
    buf_init(&little, pool, 3 * CHUNK_BYTES);
    CHECK(buf_reserve_iov(&little, 10000, true, iov, 4) >= 2 && iov[0].iov_len < CHUNK_BYTES_SMALL);
    memset(iov[0].iov_base, 'l', 10);
    buf_commit_iov(&little, 10);
    CHECK(buf_len(&little) == 10 && chunk_pool_used(pool) == 2);
    /* Bytes are put behind what another has only in a chunk of one's own. */
    CHECK_OK(buf_put(&b[0], SLICE("zz")));
    CHECK(buf_front(&b[1]).p[0] == 'b');
    /* Two readings that are too large for what is left. */
    for (size_t i = 0; i < 2; i++) {
        CHECK(buf_reserve_iov(&b[i], 2 * 16384, false, iov, 4) > 1);
        size_t n = 0;
        for (size_t k = 0; k < 2; n += iov[k++].iov_len)
            memset(iov[k].iov_base, 'x', iov[k].iov_len);
        buf_commit_iov(&b[i], n);
    }
    for (size_t i = 2; i < 8; i++)
        CHECK(buf_front(&b[i]).p[0] == 'a' + i && buf_front(&b[i]).p[999] == 'a' + i);
    for (size_t i = 0; i < 8; i++)
        buf_done(&b[i]);
    buf_done(&little);
    CHECK(chunk_pool_used(pool) == 0);
    chunk_pool_free(pool);
}

/* Another worker lets go of a chunk while a read is under way. */
TEST(a_chunk_that_is_let_go_during_a_read_changes_nothing)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf reader, other;
    struct iovec iov[4];
    char got[8];
    buf_init(&reader, pool, 1 << 20);
    buf_init(&other, pool, 1 << 20);
    CHECK_OK(buf_put(&reader, SLICE("abcd")));
    CHECK(buf_move(&other, &reader, 2) == 2); /* both refer to the chunk now */
    CHECK(buf_reserve_iov(&reader, 1000, true, iov, 4) > 0);
    buf_done(&other);
    memcpy(iov[0].iov_base, "efgh", 4);
    buf_commit_iov(&reader, 4);
    CHECK(buf_len(&reader) == 6 && buf_copy(&reader, 0, got, 6) == 6);
    CHECK(memcmp(got, "cdefgh", 6) == 0);
    buf_done(&reader);
    chunk_pool_free(pool);
}

TEST(vectors_that_were_reserved_are_filled_in_order_and_the_rest_is_given_back)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf b;
    struct iovec iov[4];
    buf_init(&b, pool, 3 * CHUNK_BYTES);
    CHECK_OK(buf_put(&b, SLICE("ab")));
    /* The first one's own tail, two whole ones, and the bound ends the fourth. */
    CHECK(buf_reserve_iov(&b, SIZE_MAX, false, iov, 4) == 4 && iov[0].iov_len < CHUNK_BYTES_SMALL);
    size_t all = 0;
    for (size_t i = 0; i < 4; i++)
        all += iov[i].iov_len;
    CHECK(all == buf_room(&b) && buf_len(&b) == 2);
    memset(iov[0].iov_base, 'x', iov[0].iov_len);
    memcpy(iov[1].iov_base, "yz", 2);
    buf_commit_iov(&b, iov[0].iov_len + 2);
    CHECK(buf_len(&b) == 2 + iov[0].iov_len + 2 && chunk_pool_used(pool) == 2);
    char end[4];
    CHECK(buf_copy(&b, buf_len(&b) - 4, end, 4) == 4 && memcmp(end, "xxyz", 4) == 0);
    CHECK(buf_reserve_iov(&b, 100, false, iov, 4) == 1 && iov[0].iov_len == 100);
    buf_commit_iov(&b, 0);
    CHECK(chunk_pool_used(pool) == 2);
    buf_drop(&b, SIZE_MAX);
    CHECK(buf_reserve_iov(&b, 0, false, iov, 4) == 0);
    buf_commit_iov(&b, 0);
    CHECK(chunk_pool_used(pool) == 0);
    buf_done(&b);
    chunk_pool_free(pool);
}

TEST(what_is_dropped_from_the_end_makes_room_again)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf a, b;
    buf_init(&a, pool, 100);
    buf_init(&b, pool, 100);
    CHECK_OK(buf_put(&a, SLICE("first")));
    CHECK_OK(buf_put(&b, SLICE("second")));
    CHECK(buf_move(&a, &b, SIZE_MAX) == 6 && chunk_pool_used(pool) == 2);
    buf_drop_tail(&a, 2);
    char got[16];
    CHECK(buf_len(&a) == 9 && buf_copy(&a, 0, got, sizeof got) == 9);
    CHECK(memcmp(got, "firstseco", 9) == 0 && buf_room(&a) == 91);
    buf_drop_tail(&a, 5);
    CHECK(buf_len(&a) == 4 && chunk_pool_used(pool) == 1);
    CHECK_OK(buf_put(&a, SLICE("!")));
    CHECK(buf_copy(&a, 0, got, sizeof got) == 5 && memcmp(got, "firs!", 5) == 0);
    buf_drop_tail(&a, SIZE_MAX);
    CHECK(buf_is_empty(&a) && chunk_pool_used(pool) == 0);
    buf_done(&a);
    buf_done(&b);
    chunk_pool_free(pool);
}

TEST(a_chunk_outlives_its_pool)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct chunk *c = chunk_new(pool, 10);
    CHECK(c->size < CHUNK_BYTES_SMALL);
    chunk_pool_free(pool);
    c->data[0] = 1;
    chunk_unref(c);
}

TEST(an_arena_is_bounded_and_undoes_last_first)
{
    struct arena a;
    arena_init(&a, 10000);
    CHECK(arena_alloc(&a, 1) != NULL && arena_alloc(&a, 7000) != NULL);
    CHECK(arena_alloc(&a, 7000) == NULL);
    CHECK(strcmp(arena_fmt(&a, "%s-%d", "x", 7), "x-7") == 0);
    CHECK_SLICE(arena_copy(&a, SLICE("copy")), SLICE("copy"));
    arena_done(&a);
    arena_done(&a);
}

TESTS(RUN(bytes_come_out_in_the_order_they_went_in), RUN(a_put_past_the_bound_changes_nothing),
      RUN(a_move_shares_chunks_and_keeps_what_did_not_fit),
      RUN(a_part_that_is_shared_outlives_where_it_came_from),
      RUN(neighbouring_pieces_of_one_chunk_join_again), RUN(small_reads_share_a_large_chunk),
      RUN(a_chunk_that_is_let_go_during_a_read_changes_nothing),
      RUN(vectors_that_were_reserved_are_filled_in_order_and_the_rest_is_given_back),
      RUN(what_is_dropped_from_the_end_makes_room_again), RUN(a_chunk_outlives_its_pool),
      RUN(an_arena_is_bounded_and_undoes_last_first))
