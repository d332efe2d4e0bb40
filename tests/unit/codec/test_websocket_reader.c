/* Masked frames in, the bytes of binary messages out. */
#include "codec/websocket_reader.h"
#include "test.h"

#define ROOM (1 << 20)

struct wire {
    struct chunk_pool *pool;
    struct buf in, out;
    struct websocket_reader reader;
};

static void open_wire(struct wire *w, size_t room)
{
    w->pool = chunk_pool_new();
    buf_init(&w->in, w->pool, ROOM);
    buf_init(&w->out, w->pool, room);
    websocket_reader_init(&w->reader);
}

static void close_wire(struct wire *w)
{
    buf_done(&w->in);
    buf_done(&w->out);
    assert_int_equal(chunk_pool_used(w->pool), 0);
    chunk_pool_free(w->pool);
}

static void put_frame(struct wire *w, enum websocket_opcode opcode, bool is_final, bool is_masked,
                      struct slice payload)
{
    struct websocket_frame f = { opcode, is_final, is_masked, { 1, 2, 3, 200 }, payload.n };
    uint8_t head[WEBSOCKET_HEAD_BYTES], *copy = malloc(payload.n + 1);
    assert_int_equal(buf_put(&w->in, slice_of(head, websocket_head_encode(&f, head))), 0);
    memcpy(copy, payload.p, payload.n);
    if (is_masked)
        websocket_mask(copy, payload.n, f.mask, 0);
    assert_int_equal(buf_put(&w->in, slice_of(copy, payload.n)), 0);
    free(copy);
}

static void put(struct wire *w, enum websocket_opcode opcode, bool is_final, const char *payload)
{
    put_frame(w, opcode, is_final, true, slice_str(payload));
}

static int read_it(struct wire *w)
{
    return websocket_read(&w->reader, &w->in, &w->out);
}

static void check_out(struct wire *w, const char *want)
{
    char got[256] = { 0 };
    assert_int_equal(buf_len(&w->out), strlen(want));
    (void)buf_copy(&w->out, 0, got, sizeof got);
    assert_string_equal(got, want);
}

TEST(fragments_of_a_binary_message_become_its_bytes)
{
    struct wire w;
    open_wire(&w, ROOM);
    put(&w, WEBSOCKET_BINARY, false, "one ");
    put(&w, WEBSOCKET_CONTINUATION, false, "");
    put(&w, WEBSOCKET_CONTINUATION, true, "two ");
    put(&w, WEBSOCKET_BINARY, true, "three");
    CHECK_ERR(WEBSOCKET_HUNGRY, read_it(&w));
    CHECK(!websocket_is_within(&w.reader));
    check_out(&w, "one two three");
    close_wire(&w);
}

TEST(a_ping_amid_a_message_is_handed_out_with_its_payload)
{
    struct wire w;
    open_wire(&w, ROOM);
    put(&w, WEBSOCKET_BINARY, false, "a");
    put(&w, WEBSOCKET_PING, true, "you there?");
    put(&w, WEBSOCKET_PONG, true, "unasked");
    put(&w, WEBSOCKET_CONTINUATION, true, "b");
    CHECK_ERR(WEBSOCKET_PINGED, read_it(&w));
    CHECK_SLICE(slice_of(w.reader.control, w.reader.frame.length), SLICE("you there?"));
    CHECK(websocket_is_within(&w.reader));
    CHECK_ERR(WEBSOCKET_HUNGRY, read_it(&w));
    check_out(&w, "ab");
    close_wire(&w);
}

TEST(text_is_dropped_with_all_its_fragments)
{
    struct wire w;
    open_wire(&w, ROOM);
    put(&w, WEBSOCKET_TEXT, false, "not ");
    put(&w, WEBSOCKET_CONTINUATION, true, "this");
    put(&w, WEBSOCKET_BINARY, true, "but this");
    CHECK_ERR(WEBSOCKET_HUNGRY, read_it(&w));
    check_out(&w, "but this");
    close_wire(&w);
}

TEST(a_close_ends_what_is_read)
{
    struct wire w;
    open_wire(&w, ROOM);
    put(&w, WEBSOCKET_BINARY, true, "last");
    put(&w, WEBSOCKET_CLOSE, true, "\x03\xe8");
    put(&w, WEBSOCKET_BINARY, true, "late");
    CHECK_ERR(WEBSOCKET_OVER, read_it(&w));
    check_out(&w, "last");
    close_wire(&w);
}

static void check_breach(enum websocket_opcode first, bool first_is_final,
                         enum websocket_opcode second, bool is_masked)
{
    struct wire w;
    void **state_ = NULL;
    open_wire(&w, ROOM);
    put(&w, first, first_is_final, "x");
    put_frame(&w, second, true, is_masked, SLICE("y"));
    CHECK_ERR(ERR_PROTO, read_it(&w));
    check_out(&w, first == WEBSOCKET_BINARY ? "x" : "");
    close_wire(&w);
}

TEST(frames_out_of_order_or_without_a_mask_are_a_breach)
{
    (void)state_;
    check_breach(WEBSOCKET_BINARY, true, WEBSOCKET_BINARY, false);
    check_breach(WEBSOCKET_BINARY, true, WEBSOCKET_CONTINUATION, true);
    check_breach(WEBSOCKET_BINARY, false, WEBSOCKET_BINARY, true);
    check_breach(WEBSOCKET_TEXT, false, WEBSOCKET_TEXT, true);
}

TEST(a_large_message_passes_through_little_room_byte_for_byte)
{
    enum { N = 200000, STEP = 7001 };
    uint8_t *data = malloc(N), *got = malloc(N);
    size_t n = 0;
    struct wire w;
    open_wire(&w, STEP);
    for (size_t i = 0; i < N; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    put_frame(&w, WEBSOCKET_BINARY, false, true, slice_of(data, N / 2 + 1));
    put_frame(&w, WEBSOCKET_CONTINUATION, true, true, slice_of(data + N / 2 + 1, N / 2 - 1));
    for (int news = WEBSOCKET_FULL; news == WEBSOCKET_FULL;) {
        news = read_it(&w);
        CHECK(news == WEBSOCKET_HUNGRY || (news == WEBSOCKET_FULL && buf_len(&w.out) == STEP));
        n += buf_copy(&w.out, 0, got + n, N - n);
        buf_drop(&w.out, buf_len(&w.out));
    }
    CHECK(n == N && memcmp(got, data, N) == 0);
    free(data);
    free(got);
    close_wire(&w);
}

TESTS(RUN(fragments_of_a_binary_message_become_its_bytes),
      RUN(a_ping_amid_a_message_is_handed_out_with_its_payload),
      RUN(text_is_dropped_with_all_its_fragments), RUN(a_close_ends_what_is_read),
      RUN(frames_out_of_order_or_without_a_mask_are_a_breach),
      RUN(a_large_message_passes_through_little_room_byte_for_byte))
