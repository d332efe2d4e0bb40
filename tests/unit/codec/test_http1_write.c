#include "codec/http1_write.h"

#include "base/chunk.h"
#include "test.h"

static struct slice all(struct buf *b, char *space)
{
    return slice_of(space, buf_copy(b, 0, space, buf_len(b)));
}

TEST(a_request_is_written)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf b;
    char space[500];
    buf_init(&b, pool, 400);
    CHECK_OK(buf_put(&b, SLICE("before;")));
    struct http1_writer w;
    http1_write_request(&w, &b, SLICE("GET"), SLICE("/a?b"));
    http1_write_field(&w, SLICE("Host"), SLICE("a"));
    http1_write_field(&w, SLICE("Empty"), SLICE(""));
    http1_write_field_u64(&w, SLICE("N"), 0);
    http1_write_field_u64(&w, SLICE("M"), UINT64_MAX);
    CHECK_OK(http1_write_end(&w));
    CHECK_SLICE(all(&b, space), SLICE("before;GET /a?b HTTP/1.1\r\nHost: a\r\nEmpty: \r\nN: 0\r\n"
                                      "M: 18446744073709551615\r\n\r\n"));
    buf_done(&b);
    CHECK(chunk_pool_used(pool) == 0);
    chunk_pool_free(pool);
}

TEST(a_status_line_and_a_last_chunk_are_written)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf b;
    char space[500];
    struct http1_writer w;
    buf_init(&b, pool, 400);
    http1_write_status(&w, &b, 404, SLICE("Not Found"));
    CHECK_OK(http1_write_end(&w));
    http1_write_status(&w, &b, 299, SLICE(""));
    CHECK_OK(http1_write_end(&w));
    http1_write_last_chunk(&w, &b);
    http1_write_field(&w, SLICE("T"), SLICE("x"));
    CHECK_OK(http1_write_end(&w));
    CHECK_SLICE(all(&b, space), SLICE("HTTP/1.1 404 Not Found\r\n\r\nHTTP/1.1 299 \r\n\r\n"
                                      "0\r\nT: x\r\n\r\n"));
    buf_done(&b);
    chunk_pool_free(pool);
}

TEST(what_could_break_out_of_its_line_is_not_written)
{
    static const struct {
        struct slice name, value;
    } BAD[] = {
        { SLICE("A\r\nB"), SLICE("x") }, { SLICE("A:"), SLICE("x") },
        { SLICE("A "), SLICE("x") },     { SLICE(""), SLICE("x") },
        { SLICE("A\0"), SLICE("x") },    { SLICE("A"), SLICE("x\r\nB: y") },
        { SLICE("A"), SLICE("x\n") },    { SLICE("A"), SLICE("x\r") },
        { SLICE("A"), SLICE("\0") },     { SLICE("A"), SLICE("\x7f") },
        { SLICE("\xe9"), SLICE("x") },
    };
    struct chunk_pool *pool = chunk_pool_new();
    struct buf b;
    struct http1_writer w;
    buf_init(&b, pool, 4000);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        http1_write_status(&w, &b, 200, SLICE("OK"));
        http1_write_field(&w, BAD[i].name, BAD[i].value);
        http1_write_field(&w, SLICE("C"), SLICE("d"));
        CHECK_ERR(ERR_INVALID, http1_write_end(&w));
    }
    static const struct slice TARGETS[] = { SLICE(""), SLICE("/ HTTP/1.1\r\nX: "), SLICE("/a b"),
                                            SLICE("/\xe9"), SLICE("/#") };
    for (size_t i = 0; i < sizeof TARGETS / sizeof TARGETS[0]; i++) {
        http1_write_request(&w, &b, SLICE("GET"), TARGETS[i]);
        CHECK_ERR(ERR_INVALID, http1_write_end(&w));
    }
    http1_write_request(&w, &b, SLICE("GET /"), SLICE("/"));
    CHECK_ERR(ERR_INVALID, http1_write_end(&w));
    http1_write_status(&w, &b, 99, SLICE("OK"));
    CHECK_ERR(ERR_INVALID, http1_write_end(&w));
    http1_write_status(&w, &b, 200, SLICE("OK\r\nX: y"));
    CHECK_ERR(ERR_INVALID, http1_write_end(&w));
    CHECK(buf_is_empty(&b) && chunk_pool_used(pool) == 0);
    buf_done(&b);
    chunk_pool_free(pool);
}

TEST(a_head_of_any_size_is_all_or_nothing)
{
    struct chunk_pool *pool = chunk_pool_new();
    static char value[30000], space[70000];
    memset(value, 'v', sizeof value);
    for (size_t max = 0; max < 62000; max += max < 100 ? 1 : 997) {
        struct buf b;
        struct http1_writer w;
        buf_init(&b, pool, max);
        size_t before = max < 10 ? 0 : 10;
        CHECK_OK(buf_put(&b, slice_of(value, before)));
        http1_write_status(&w, &b, 200, SLICE("OK"));
        http1_write_field(&w, SLICE("A"), slice_of(value, sizeof value));
        http1_write_field(&w, SLICE("B"), slice_of(value, sizeof value));
        const size_t size = 17 + 2 * (sizeof value + 5) + 2;
        bool fits = max >= before + size;
        CHECK_ERR(fits ? 0 : ERR_LIMIT, http1_write_end(&w));
        CHECK(buf_len(&b) == before + (fits ? size : 0));
        if (fits)
            CHECK_SLICE(slice_sub(all(&b, space), before + 17 + sizeof value + 5, 6),
                        SLICE("B: vvv"));
        buf_done(&b);
        CHECK(chunk_pool_used(pool) == 0);
    }
    chunk_pool_free(pool);
}

TESTS(RUN(a_request_is_written), RUN(a_status_line_and_a_last_chunk_are_written),
      RUN(what_could_break_out_of_its_line_is_not_written),
      RUN(a_head_of_any_size_is_all_or_nothing))
