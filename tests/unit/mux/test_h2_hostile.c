#include "base/limits.h"
#include "h2_world.h"

/* Frames written by hand to a server, and what becomes of the connection or the stream. */

static const struct h2_conf SERVER = { .is_server = true };
#define PREFACE      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define END_STREAM   0x1
#define END_HEADERS  0x4
#define GET_BLOCK    "\x82\x87\x84\x41\x01x" /* GET, https, "/", authority x */
#define WINDOW_BYTES (1 << 22)

static void put(struct world *w, const void *bytes, size_t n)
{
    struct buf b;
    buf_init(&b, loop_chunks(w->loop), 1 << 20);
    assert_int_equal(buf_put(&b, slice_of(bytes, n)), 0);
    (void)stream_write(w->raw, &b);
    buf_done(&b);
}

static void frame(struct world *w, uint8_t type, uint8_t flags, uint32_t id, const void *p,
                  size_t n)
{
    uint8_t head[9] = {
        (uint8_t)(n >> 16),  (uint8_t)(n >> 8),   (uint8_t)n,         type,       flags,
        (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id
    };
    put(w, head, sizeof head);
    if (n > 0)
        put(w, p, n);
}

static void serve(struct world *w, const struct h2_conf *conf)
{
    assert_int_equal(world_open(w, NULL, conf, WINDOW_BYTES), 0);
    put(w, PREFACE, sizeof PREFACE - 1);
    frame(w, 4, 0, 0, NULL, 0);
    frame(w, 4, 1, 0, NULL, 0);
    turns(w, 4);
    assert_int_equal(h2_conn_state(w->server), H2_OPEN);
}

/* What the server said: the code of the last frame of a type, or -1. */
static int64_t said(struct world *w, uint8_t type, uint32_t id)
{
    struct slice all;
    int64_t code = -1;
    turns(w, 8);
    while (stream_read(w->raw, &w->bytes, 1 << 16) == 0)
        turns(w, 1);
    uint8_t *copy = malloc(buf_len(&w->bytes) + 1);
    all = slice_of(copy, buf_copy(&w->bytes, 0, copy, buf_len(&w->bytes)));
    while (all.n >= 9) {
        size_t n = (size_t)all.p[0] << 16 | (size_t)all.p[1] << 8 | all.p[2];
        uint32_t stream = (uint32_t)all.p[7] << 8 | all.p[8];
        size_t at = type == 7 ? 9 + 4 : 9; /* GOAWAY names the last stream first */
        if (all.p[3] == type && stream == id && n >= 4)
            code = (int64_t)all.p[at + 2] << 8 | all.p[at + 3];
        all = slice_sub(all, 9 + n, SIZE_MAX);
    }
    free(copy);
    return code;
}

static int64_t reset_of(struct world *w, uint32_t id)
{
    return said(w, 3, id);
}

static bool was_calmed(struct world *w)
{
    struct h2_why why;
    int64_t code = said(w, 7, 0);
    h2_conn_why(w->server, &why);
    return h2_conn_state(w->server) == H2_CLOSED && code == H2_ENHANCE_YOUR_CALM &&
           why.err == ERR_LIMIT;
}

static int accepted(struct world *w, struct h2_stream **ret)
{
    turns(w, 4);
    return h2_conn_accept(w->server, &w->task, ret);
}

TEST(malformed_requests_reset_their_stream_and_are_not_seen)
{
    static const struct {
        const char *what, *block;
        size_t n;
    } BAD[] = {
#define BLOCK(what, bytes) { what, bytes, sizeof(bytes) - 1 }
        BLOCK("no method", "\x87\x84\x41\x01x"),
        BLOCK("no scheme", "\x82\x84\x41\x01x"),
        BLOCK("no path", "\x82\x87\x41\x01x"),
        BLOCK("method twice", "\x82\x82\x87\x84\x41\x01x"),
        BLOCK("pseudo field behind a field", "\x82\x87\x84\x00\x01"
                                             "a\x01"
                                             "b\x41\x01x"),
        BLOCK("unknown pseudo field", GET_BLOCK "\x00\x04:foo\x01x"),
        BLOCK("status in a request", GET_BLOCK "\x88"),
        BLOCK("upper case", GET_BLOCK "\x00\x01"
                                      "A\x01"
                                      "b"),
        BLOCK("space in a name", GET_BLOCK "\x00\x03"
                                           "a b\x01"
                                           "b"),
        BLOCK("line end in a value", GET_BLOCK "\x00\x01"
                                               "a\x03"
                                               "b\r\n"),
        BLOCK("NUL in a value", GET_BLOCK "\x00\x01"
                                          "a\x03"
                                          "b\0c"),
        BLOCK("connection", GET_BLOCK "\x00\x0a"
                                      "connection\x05"
                                      "close"),
        BLOCK("keep-alive", GET_BLOCK "\x00\x0a"
                                      "keep-alive\x01"
                                      "5"),
        BLOCK("transfer-encoding", GET_BLOCK "\x00\x11"
                                             "transfer-encoding\x07"
                                             "chunked"),
        BLOCK("upgrade", GET_BLOCK "\x00\x07upgrade\x03"
                                   "h2c"),
        BLOCK("te other than trailers", GET_BLOCK "\x00\x02te\x04gzip"),
        BLOCK("two hosts", GET_BLOCK "\x00\x04host\x01x\x00\x04host\x01x"),
        BLOCK("another host", GET_BLOCK "\x00\x04host\x01y"),
        BLOCK("length that is none", GET_BLOCK "\x00\x0e"
                                               "content-length\x02"
                                               "+1"),
        BLOCK("two lengths", GET_BLOCK "\x00\x0e"
                                       "content-length\x01"
                                       "0\x00\x0e"
                                       "content-length\x01"
                                       "0"),
        BLOCK("length without a body", GET_BLOCK "\x00\x0e"
                                                 "content-length\x01"
                                                 "5"),
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct world w;
        struct h2_stream *s;
        serve(&w, &SERVER);
        frame(&w, 1, END_STREAM | END_HEADERS, 1, BAD[i].block, BAD[i].n);
        frame(&w, 1, END_STREAM | END_HEADERS, 3, GET_BLOCK, sizeof GET_BLOCK - 1);
        if (reset_of(&w, 1) != H2_PROTOCOL_ERROR)
            fail_msg("%s: reset %d", BAD[i].what, (int)reset_of(&w, 1));
        if (accepted(&w, &s) != 0 || h2_stream_id(s) != 3)
            fail_msg("%s: the request behind it does not come first", BAD[i].what);
        stream_release(h2_stream_body(s));
        CHECK_ERR(ERR_AGAIN, accepted(&w, &s));
        world_close(&w);
    }
}

TEST(a_length_that_differs_from_the_data_resets_the_stream)
{
    struct world w;
    struct h2_stream *s;
    const char block[] = GET_BLOCK "\x00\x0e"
                                   "content-length\x01"
                                   "5";
    serve(&w, &SERVER);
    frame(&w, 1, END_HEADERS, 1, block, sizeof block - 1);
    CHECK_OK(accepted(&w, &s));
    frame(&w, 0, END_STREAM, 1, "four", 4);
    CHECK(reset_of(&w, 1) == H2_PROTOCOL_ERROR);
    struct buf b;
    buf_init(&b, loop_chunks(w.loop), 100);
    CHECK_ERR(ERR_PROTO, stream_read(h2_stream_body(s), &b, 100));
    buf_done(&b);
    stream_release(h2_stream_body(s));
    world_close(&w);
}

TEST(byte_by_byte_a_request_is_the_same)
{
    struct world w;
    struct h2_stream *s;
    const struct h2_head *h;
    uint8_t bytes[] = "\0\0\6\1\5\0\0\0\1" GET_BLOCK;
    serve(&w, &SERVER);
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        CHECK_ERR(ERR_AGAIN, accepted(&w, &s));
        put(&w, bytes + i, 1);
    }
    CHECK_OK(accepted(&w, &s));
    CHECK_OK(h2_stream_head(s, &h));
    CHECK(h->ends);
    CHECK_SLICE(h->authority, SLICE("x"));
    stream_release(h2_stream_body(s));
    world_close(&w);
}

TEST(requests_that_are_reset_at_once_end_the_connection)
{
    struct world w;
    struct h2_stats stats;
    serve(&w, &SERVER);
    for (uint32_t i = 0; i < 2000 && h2_conn_state(w.server) != H2_CLOSED; i++) {
        frame(&w, 1, END_STREAM | END_HEADERS, i * 2 + 1, GET_BLOCK, sizeof GET_BLOCK - 1);
        frame(&w, 3, 0, i * 2 + 1, "\0\0\0\10", 4);
        turns(&w, 2);
        h2_conn_stats(w.server, &stats);
        CHECK(stats.streams == 0);
    }
    CHECK(was_calmed(&w));
    world_close(&w);
}

/* The same frame again and again. */
static void flood(struct world *w, uint8_t type, uint32_t id, const void *p, size_t n)
{
    for (int i = 0; i < 12000 && h2_conn_state(w->server) != H2_CLOSED; i++) {
        frame(w, type, 0, id, p, n);
        if (i % 16 == 15)
            turns(w, 2);
        if (i % 512 == 511) {
            (void)stream_read(w->raw, &w->bytes, 1 << 16);
            buf_drop(&w->bytes, buf_len(&w->bytes));
        }
    }
}

TEST(floods_of_cheap_frames_end_the_connection)
{
    static const struct {
        const char *what;
        uint8_t type;
        uint32_t id;
        const char *p;
        size_t n;
    } FLOODS[] = {
        { "SETTINGS", 4, 0, NULL, 0 },
        { "PING", 6, 0, "12345678", 8 },
        { "empty DATA", 0, 1, NULL, 0 },
        { "PRIORITY", 2, 5, "\0\0\0\0\x10", 5 },
        { "tiny WINDOW_UPDATE", 8, 0, "\0\0\0\1", 4 },
        { "WINDOW_UPDATE for nothing", 8, 0, "\0\0\1\0", 4 },
        { "WINDOW_UPDATE of a stream that is over", 8, 3, "\0\0\1\0", 4 },
        { "empty DATA of a stream that is over", 0, 3, NULL, 0 },
        { "a kind that there is not", 0x42, 0, "x", 1 },
    };
    const struct h2_conf conf = { .is_server = true, .abuse_rate = 1 };
    for (size_t i = 0; i < sizeof FLOODS / sizeof FLOODS[0]; i++) {
        struct world w;
        struct h2_stream *s;
        serve(&w, &conf);
        frame(&w, 1, END_HEADERS, 1, GET_BLOCK, sizeof GET_BLOCK - 1);
        CHECK_OK(accepted(&w, &s));
        frame(&w, 1, END_STREAM | END_HEADERS, 3, GET_BLOCK, sizeof GET_BLOCK - 1);
        frame(&w, 3, 0, 3, "\0\0\0\10", 4);
        turns(&w, 2);
        flood(&w, FLOODS[i].type, FLOODS[i].id, FLOODS[i].p, FLOODS[i].n);
        if (!was_calmed(&w))
            fail_msg("%s: no end", FLOODS[i].what);
        stream_release(h2_stream_body(s));
        world_close(&w);
    }
}

TEST(acknowledgements_of_no_ping_end_the_connection)
{
    struct world w;
    const struct h2_conf conf = { .is_server = true, .abuse_rate = 1, .abuse_burst = 1000 };
    serve(&w, &conf);
    for (int i = 0; i < 600; i++)
        frame(&w, 6, 1, 0, "12345678", 8);
    CHECK(was_calmed(&w));
    world_close(&w);
}

TEST(a_list_that_was_given_up_is_not_read_without_end)
{
    struct world w;
    static const char name[] = GET_BLOCK "\x00\x01"
                                         "A\x01"
                                         "b";
    static char piece[16000];
    const struct h2_conf conf = { .is_server = true, .head_bytes = 8000 };
    serve(&w, &conf);
    frame(&w, 1, END_STREAM, 1, name, sizeof name - 1); /* malformed: nothing of it is kept */
    memset(piece, 0x82, sizeof piece);
    for (int i = 0; i < 3; i++)
        frame(&w, 9, 0, 1, piece, sizeof piece);
    CHECK(was_calmed(&w));
    world_close(&w);
}

/* A client that asked is not to be told that its peer makes useless work, when all of it was
 * answered by a reset. */
TEST(resets_of_what_we_asked_for_cost_the_peer_nothing)
{
    struct world w;
    const struct h2_conf conf = { .abuse_rate = 1, .abuse_burst = 50 };
    struct h2_send_head head = get("/");
    CHECK_OK(world_open(&w, &conf, NULL, WINDOW_BYTES));
    frame(&w, 4, 0, 0, NULL, 0);
    frame(&w, 4, 1, 0, NULL, 0);
    for (uint32_t id = 1; id < 1000; id += 2) {
        struct h2_stream *s;
        CHECK_OK(h2_conn_request(w.client, &head, true, &w.task, &s));
        turns(&w, 2);
        frame(&w, 3, 0, id, "\0\0\0\10", 4);
        turns(&w, 2);
        CHECK(h2_stream_send_err(s) < 0);
        stream_release(h2_stream_body(s));
    }
    CHECK(h2_conn_state(w.client) == H2_OPEN);
    for (uint32_t i = 0; i < 5000 && h2_conn_state(w.client) != H2_CLOSED; i++) {
        frame(&w, 3, 0, 1, "\0\0\0\10", 4); /* of one that is long over */
        turns(&w, 1);
    }
    struct h2_why why;
    h2_conn_why(w.client, &why);
    CHECK(h2_conn_state(w.client) == H2_CLOSED && why.err == ERR_LIMIT);
    world_close(&w);
}

TEST(continuations_without_end_end_the_connection)
{
    struct world w;
    serve(&w, &SERVER);
    frame(&w, 1, END_STREAM, 1, GET_BLOCK, sizeof GET_BLOCK - 1);
    for (int i = 0; i < H2_CONTINUATIONS_MAX + 2; i++)
        frame(&w, 9, 0, 1, "\x00\x01x\x01y", 5);
    CHECK(was_calmed(&w));
    world_close(&w);
}

TEST(a_head_over_the_limit_is_answered_431_and_never_seen)
{
    struct world w;
    struct h2_stream *s;
    static char block[8 + 2000 * 5];
    const struct h2_conf conf = { .is_server = true, .head_bytes = 4096 };
    size_t n = sizeof GET_BLOCK - 1;
    serve(&w, &conf);
    memcpy(block, GET_BLOCK, n);
    for (int i = 0; i < 200; i++, n += 5)
        memcpy(block + n, "\x00\x01x\x01y", 5);
    frame(&w, 1, END_STREAM | END_HEADERS, 1, block, n);
    CHECK_ERR(ERR_AGAIN, accepted(&w, &s));
    CHECK(said(&w, 1, 1) >= 0 && h2_conn_state(w.server) == H2_OPEN);
    /* A field of the dynamic table, named by one byte each time: far more than was announced. */
    static char bomb[8 + 1010 + 8000];
    n = sizeof GET_BLOCK - 1;
    memcpy(bomb, GET_BLOCK, n);
    memcpy(bomb + n, "\x40\x01z\x7f\xe9\x06", 6); /* 127 + 873 = 1000 bytes of value */
    n += 6;
    memset(bomb + n, 'v', 1000);
    n += 1000;
    memset(bomb + n, 0xbe, 4000);
    n += 4000;
    frame(&w, 1, END_STREAM | END_HEADERS, 3, bomb, n);
    CHECK(was_calmed(&w));
    world_close(&w);
}

TEST(a_released_stream_whose_window_stays_shut_is_reset)
{
    struct world w;
    struct h2_stream *s;
    struct h2_stats stats;
    const struct h2_conf conf = { .is_server = true, .stall = NSEC_PER_MSEC };
    struct h2_send_head ok = { .status = 200 };
    CHECK_OK(world_open(&w, NULL, &conf, WINDOW_BYTES));
    put(&w, PREFACE, sizeof PREFACE - 1);
    frame(&w, 4, 0, 0, "\0\4\0\0\0\0", 6); /* INITIAL_WINDOW_SIZE 0 */
    frame(&w, 4, 1, 0, NULL, 0);
    frame(&w, 1, END_STREAM | END_HEADERS, 1, GET_BLOCK, sizeof GET_BLOCK - 1);
    CHECK_OK(accepted(&w, &s));
    CHECK_OK(h2_stream_respond(s, &ok, false));
    struct buf b;
    buf_init(&b, loop_chunks(w.loop), 100);
    CHECK_OK(buf_put(&b, SLICE("never taken")));
    CHECK_OK(stream_write(h2_stream_body(s), &b));
    buf_done(&b);
    stream_finish(h2_stream_body(s));
    stream_release(h2_stream_body(s));
    turns(&w, 1);
    h2_conn_stats(w.server, &stats);
    CHECK(stats.streams == 1);
    UNTIL(w.loop, (h2_conn_stats(w.server, &stats), stats.streams == 0));
    CHECK(reset_of(&w, 1) == H2_CANCEL);
    world_close(&w);
}

TEST(what_is_not_http2_ends_the_connection)
{
    struct world w;
    struct h2_why why;
    CHECK_OK(world_open(&w, NULL, &SERVER, WINDOW_BYTES));
    put(&w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    CHECK(said(&w, 7, 0) == H2_PROTOCOL_ERROR);
    h2_conn_why(w.server, &why);
    CHECK(h2_conn_state(w.server) == H2_CLOSED && why.err == ERR_PROTO);
    world_close(&w);
}

TESTS(RUN(malformed_requests_reset_their_stream_and_are_not_seen),
      RUN(a_length_that_differs_from_the_data_resets_the_stream),
      RUN(byte_by_byte_a_request_is_the_same),
      RUN(requests_that_are_reset_at_once_end_the_connection),
      RUN(floods_of_cheap_frames_end_the_connection),
      RUN(acknowledgements_of_no_ping_end_the_connection),
      RUN(a_list_that_was_given_up_is_not_read_without_end),
      RUN(resets_of_what_we_asked_for_cost_the_peer_nothing),
      RUN(continuations_without_end_end_the_connection),
      RUN(a_head_over_the_limit_is_answered_431_and_never_seen),
      RUN(a_released_stream_whose_window_stays_shut_is_reset),
      RUN(what_is_not_http2_ends_the_connection))
