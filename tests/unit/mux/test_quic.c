#include "mux/world.h"

TEST(a_handshake_opens_both_ends)
{
    struct world w;
    world_open(&w, "quic.cftunnel.com", "quic.cftunnel.com");
    world_connect(&w, state_);
    CHECK(quic_conn_state(w.server) == QUIC_OPEN);
    world_close(&w);
}

TEST(a_certificate_for_another_name_is_refused_with_a_reason)
{
    struct world w;
    struct quic_why why;
    world_open(&w, "elsewhere.example", "quic.cftunnel.com");
    UNTIL(&w, quic_conn_state(w.client) == QUIC_CLOSED);
    quic_conn_why(w.client, &why);
    CHECK(why.err == ERR_CERT);
    CHECK(strstr(why.text, "quic.cftunnel.com") != NULL);
    world_close(&w);
}

TEST(a_port_where_nobody_listens_is_refused)
{
    struct world w;
    struct quic_why why;
    world_open(&w, "a.example", "a.example");
    quic_endpoint_free(w.endpoint);
    w.endpoint = NULL;
    UNTIL(&w, quic_conn_state(w.client) == QUIC_CLOSED);
    quic_conn_why(w.client, &why);
    CHECK(why.err == ERR_REFUSED);
    world_close(&w);
}

/* Moves `total` bytes from one stream to the other and checks each. */
static void transfer(struct world *w, struct stream *from, struct stream *to, size_t total,
                     void **state_)
{
    struct buf out, in;
    size_t written = 0, seen = 0;
    buf_init(&out, loop_chunks(w->loop), 1 << 20);
    buf_init(&in, loop_chunks(w->loop), 1 << 20);
    for (int turn = 0; turn < 200000 && seen < total; turn++) {
        while (written < total && buf_room(&out) >= 4096) {
            uint8_t block[4096];
            size_t n = total - written < sizeof block ? total - written : sizeof block;
            for (size_t i = 0; i < n; i++)
                block[i] = (uint8_t)((written + i) * 31 >> 3);
            CHECK_OK(buf_put(&out, slice_of(block, n)));
            written += n;
        }
        int r = buf_is_empty(&out) ? 0 : stream_write(from, &out);
        CHECK(r == 0 || r == ERR_AGAIN);
        if (written == total && buf_is_empty(&out))
            stream_finish(from);
        while ((r = stream_read(to, &in, 1 << 20)) == 0) {
            while (!buf_is_empty(&in)) {
                struct slice front = buf_front(&in);
                for (size_t i = 0; i < front.n; i++)
                    if (front.p[i] != (uint8_t)((seen + i) * 31 >> 3))
                        fail_msg("byte %zu differs", seen + i);
                seen += front.n;
                buf_drop(&in, front.n);
            }
        }
        loop_turn(w->loop, 10);
    }
    CHECK(seen == total);
    UNTIL(w, stream_read(to, &in, 1) == ERR_EOF);
    buf_done(&in);
    buf_done(&out);
}

TEST(bytes_cross_both_ways_on_streams_that_either_side_opened)
{
    struct world w;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    for (int round = 0; round < 2; round++) {
        struct quic_conn *opener = round == 0 ? w.client : w.server,
                         *other = round == 0 ? w.server : w.client;
        struct stream *near, *far = NULL;
        struct buf one;
        buf_init(&one, loop_chunks(w.loop), 100);
        CHECK_OK(quic_conn_open(opener, &w.task, &near));
        CHECK(quic_stream_id(near) == (uint64_t)round);
        CHECK_OK(buf_put(&one, SLICE("x")));
        CHECK_OK(stream_write(near, &one));
        UNTIL(&w, quic_conn_accept(other, &w.task, &far) == 0);
        UNTIL(&w, stream_read(far, &one, 1) == 0);
        transfer(&w, near, far, 32 << 20, state_);
        transfer(&w, far, near, 8 << 20, state_);
        buf_done(&one);
        stream_release(near);
        stream_release(far);
    }
    world_close(&w);
}

TEST(a_reader_that_stops_stops_its_writer_and_no_other_stream)
{
    struct world w;
    struct stream *slow, *slow_far = NULL, *fast, *fast_far = NULL;
    struct buf out, one;
    size_t written = 0;
    uint8_t block[4096] = { 0 };
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&out, loop_chunks(w.loop), 1 << 20);
    buf_init(&one, loop_chunks(w.loop), 1 << 20);
    CHECK_OK(quic_conn_open(w.server, &w.task, &slow));
    CHECK_OK(quic_conn_open(w.server, &w.task, &fast));
    for (int turn = 0; turn < 300; turn++) {
        while (buf_room(&out) >= sizeof block)
            CHECK_OK(buf_put(&out, slice_of(block, sizeof block)));
        size_t before = buf_len(&out);
        (void)!stream_write(slow, &out);
        written += before - buf_len(&out);
        loop_turn(w.loop, 1);
    }
    CHECK(written < 8 << 20);
    CHECK_OK(quic_conn_accept(w.client, &w.task, &slow_far));
    buf_drop(&out, buf_len(&out));
    CHECK_OK(buf_put(&out, SLICE("y")));
    CHECK_OK(stream_write(fast, &out));
    UNTIL(&w, quic_conn_accept(w.client, &w.task, &fast_far) == 0);
    UNTIL(&w, stream_read(fast_far, &one, 1) == 0);
    transfer(&w, fast, fast_far, 16 << 20, state_);
    buf_done(&out);
    buf_done(&one);
    stream_release(slow);
    stream_release(slow_far);
    stream_release(fast);
    stream_release(fast_far);
    world_close(&w);
}

/* Streams that nobody reads hold no more than the connection may, and the others go on. */
TEST(what_nobody_reads_is_bounded_for_all_streams_together)
{
    enum { COUNT = 12, BOUND = 1 << 20 };
    struct world w;
    struct wish wish = { .server = { .unread_max = BOUND } };
    struct stream *streams[COUNT], *theirs[COUNT];
    struct buf out;
    static const uint8_t block[4096];
    unsigned reset = 0;
    world_open_with(&w, &wish, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&out, loop_chunks(w.loop), 8 << 20);
    for (int i = 0; i < COUNT; i++) {
        CHECK_OK(quic_conn_open(w.client, &w.task, &streams[i]));
        for (size_t n = 0; n < 512 * 1024; n += sizeof block)
            CHECK_OK(buf_put(&out, slice_of(block, sizeof block)));
        for (int turn = 0; turn < 200 && !buf_is_empty(&out); turn++) {
            (void)!stream_write(streams[i], &out);
            loop_turn(w.loop, 1);
        }
        UNTIL(&w, quic_conn_accept(w.server, &w.task, &theirs[i]) == 0);
        buf_drop(&out, buf_len(&out));
    }
    for (int i = 0; i < COUNT; i++) {
        struct buf got;
        buf_init(&got, loop_chunks(w.loop), 1);
        reset += stream_read(theirs[i], &got, 1) == ERR_LIMIT ? 1 : 0;
        buf_done(&got);
    }
    CHECK(reset > COUNT / 2 && reset < COUNT);
    CHECK(chunk_pool_used(loop_chunks(w.loop)) * CHUNK_BYTES < 8 * BOUND);
    for (int i = 0; i < COUNT; i++) {
        stream_release(streams[i]);
        stream_release(theirs[i]);
    }
    buf_done(&out);
    world_close(&w);
}

TEST(an_abort_is_a_reset_at_the_other_end_and_both_ends_let_go)
{
    struct world w;
    struct stream *near, *far = NULL;
    struct buf one;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&one, loop_chunks(w.loop), 100);
    CHECK_OK(quic_conn_open(w.client, &w.task, &near));
    CHECK_OK(buf_put(&one, SLICE("x")));
    CHECK_OK(stream_write(near, &one));
    UNTIL(&w, quic_conn_accept(w.server, &w.task, &far) == 0);
    stream_abort(near, ERR_CLOSED);
    stream_release(near);
    UNTIL(&w, stream_read(far, &one, 10) == ERR_RESET);
    stream_release(far);
    struct quic_stats stats;
    UNTIL(&w, (quic_conn_stats(w.server, &stats), stats.streams == 0));
    UNTIL(&w, (quic_conn_stats(w.client, &stats), stats.streams == 0));
    buf_done(&one);
    world_close(&w);
}

TEST(a_close_is_told_with_its_code_and_ends_every_stream)
{
    struct world w;
    struct stream *near;
    struct buf one;
    struct quic_why why;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&one, loop_chunks(w.loop), 100);
    CHECK_OK(quic_conn_open(w.client, &w.task, &near));
    quic_conn_close(w.server, 7, "bye");
    UNTIL(&w, quic_conn_state(w.client) == QUIC_CLOSED);
    quic_conn_why(w.client, &why);
    CHECK(why.err == ERR_CLOSED && why.is_application && why.code == 7);
    CHECK(strcmp(why.text, "bye") == 0);
    CHECK_ERR(ERR_CLOSED, stream_read(near, &one, 10));
    stream_release(near);
    buf_done(&one);
    world_close(&w);
}

TEST(a_thousand_streams_come_and_go)
{
    struct world w;
    struct buf one;
    struct quic_stats stats;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&one, loop_chunks(w.loop), 1000);
    for (int i = 0; i < 1000; i++) {
        struct stream *near, *far = NULL;
        CHECK_OK(quic_conn_open(w.server, &w.task, &near));
        CHECK_OK(buf_put(&one, SLICE("ping")));
        CHECK_OK(stream_write(near, &one));
        stream_finish(near);
        UNTIL(&w, quic_conn_accept(w.client, &w.task, &far) == 0);
        UNTIL(&w, stream_read(far, &one, 100) == 0);
        buf_drop(&one, buf_len(&one));
        stream_finish(far);
        stream_release(far);
        UNTIL(&w, stream_read(near, &one, 100) == ERR_EOF);
        stream_release(near);
    }
    UNTIL(&w, (quic_conn_stats(w.server, &stats), stats.streams == 0));
    UNTIL(&w, (quic_conn_stats(w.client, &stats), stats.streams == 0));
    buf_done(&one);
    world_close(&w);
}

TEST(a_connection_that_was_idle_on_loopback_still_fills_a_turn)
{
    struct world w;
    struct stream *near, *far = NULL;
    struct buf one;
    struct quic_stats stats;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&one, loop_chunks(w.loop), 1000);
    CHECK_OK(quic_conn_open(w.server, &w.task, &near));
    /* Lone messages find the least round trip that this machine is able to. */
    for (int i = 0; i < 500; i++) {
        CHECK_OK(buf_put(&one, SLICE("ping")));
        CHECK_OK(stream_write(near, &one));
        if (far == NULL)
            UNTIL(&w, quic_conn_accept(w.client, &w.task, &far) == 0);
        UNTIL(&w, stream_read(far, &one, 100) == 0);
        buf_drop(&one, buf_len(&one));
        CHECK_OK(buf_put(&one, SLICE("pong")));
        CHECK_OK(stream_write(far, &one));
        UNTIL(&w, stream_read(near, &one, 100) == 0);
        buf_drop(&one, buf_len(&one));
    }
    transfer(&w, near, far, 32 << 20, state_);
    quic_conn_stats(w.server, &stats);
    CHECK(stats.cwnd >= (uint64_t)4 * 65000); /* the batches of one write pass */
    buf_done(&one);
    stream_release(near);
    stream_release(far);
    world_close(&w);
}

TEST(datagrams_cross_and_large_ones_are_refused)
{
    struct world w;
    struct buf got;
    uint8_t large[1401] = { 0 };
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&got, loop_chunks(w.loop), 100);
    CHECK_OK(quic_conn_send_datagram(w.client, SLICE("hello")));
    CHECK_ERR(ERR_TOOLARGE, quic_conn_send_datagram(w.client, slice_of(large, sizeof large)));
    UNTIL(&w, quic_conn_take_datagram(w.server, &got) == 0);
    CHECK_SLICE(buf_front(&got), SLICE("hello"));
    buf_done(&got);
    world_close(&w);
}

TESTS(RUN(a_handshake_opens_both_ends),
      RUN(a_certificate_for_another_name_is_refused_with_a_reason),
      RUN(a_port_where_nobody_listens_is_refused),
      RUN(bytes_cross_both_ways_on_streams_that_either_side_opened),
      RUN(a_reader_that_stops_stops_its_writer_and_no_other_stream),
      RUN(what_nobody_reads_is_bounded_for_all_streams_together),
      RUN(an_abort_is_a_reset_at_the_other_end_and_both_ends_let_go),
      RUN(a_close_is_told_with_its_code_and_ends_every_stream), RUN(a_thousand_streams_come_and_go),
      RUN(a_connection_that_was_idle_on_loopback_still_fills_a_turn),
      RUN(datagrams_cross_and_large_ones_are_refused))
