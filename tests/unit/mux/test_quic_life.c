/* What happens to streams and connections besides bytes that arrive: credit, resets, ends,
 * restarts, and packets of nobody. */
#include <netinet/in.h>
#include <unistd.h>

#include "base/limits.h"
#include "mux/quic_int.h"
#include "mux/world.h"

struct both {
    struct stream *near, *far; /* the client opened it */
    struct buf buf;
};

static void put(struct both *b, const char *text)
{
    assert_int_equal(buf_put(&b->buf, slice_str(text)), 0);
}

static void both_open(struct world *w, struct both *b, void **state_)
{
    *b = (struct both){ 0 };
    buf_init(&b->buf, loop_chunks(w->loop), 1 << 20);
    CHECK_OK(quic_conn_open(w->client, &w->task, &b->near));
    put(b, "x");
    CHECK_OK(stream_write(b->near, &b->buf));
    UNTIL(w, quic_conn_accept(w->server, &w->task, &b->far) == 0);
    UNTIL(w, stream_read(b->far, &b->buf, 1) == 0);
    buf_drop(&b->buf, SIZE_MAX);
}

static void both_close(struct both *b)
{
    stream_release(b->near);
    stream_release(b->far);
    buf_done(&b->buf);
}

static size_t streams_of(const struct quic_conn *c)
{
    struct quic_stats stats;
    quic_conn_stats(c, &stats);
    return stats.streams;
}

static void world_both(struct world *w, const struct wish *wish, void **state_)
{
    world_open_with(w, wish, "a.example", "a.example");
    world_connect(w, state_);
}

/* ---- credit ---- */

/* Writes zeroes until the stream takes no more for a while. Returns how many it took. */
static size_t push(struct world *w, struct stream *s, struct buf *b)
{
    static uint8_t block[4096];
    size_t total = 0;
    for (int quiet = 0; quiet < 50; quiet++) {
        while (buf_room(b) >= sizeof block)
            assert_int_equal(buf_put(b, slice_of(block, sizeof block)), 0);
        size_t before = buf_len(b);
        (void)!stream_write(s, b);
        if (buf_len(b) < before)
            quiet = 0;
        total += before - buf_len(b);
        loop_turn(w->loop, 1);
    }
    buf_drop(b, SIZE_MAX);
    return total;
}

TEST(a_stream_is_given_credit_by_reading_alone)
{
    struct world w;
    struct both b;
    struct wish small = { .server = { .stream_window = 10000, .stream_window_max = 10000 } };
    struct quic_stats stats;
    world_both(&w, &small, state_);
    both_open(&w, &b, state_);
    (void)push(&w, b.near, &b.buf);
    quic_conn_stats(w.server, &stats);
    uint64_t before = stats.bytes_received;
    CHECK(before < 30000); /* the window and what a connection says besides */
    struct buf in;
    size_t seen = 0;
    buf_init(&in, loop_chunks(w.loop), 1 << 20);
    while (stream_read(b.far, &in, 1 << 20) == 0)
        continue;
    seen = buf_len(&in);
    CHECK(seen >= 9000 && seen <= 10000);
    UNTIL(&w, stream_read(b.far, &in, 1 << 20) == 0); /* more came by itself */
    CHECK(buf_len(&in) <= 20001);
    buf_done(&in);
    both_close(&b);
    world_close(&w);
}

TEST(a_peer_opens_no_more_streams_than_it_was_allowed_and_goes_on_when_some_end)
{
    struct world w;
    struct both b[4];
    struct stream *more = NULL;
    struct wish few = { .server = { .streams_bidi = 3 } };
    world_both(&w, &few, state_);
    for (int i = 0; i < 3; i++)
        both_open(&w, &b[i], state_);
    CHECK_ERR(ERR_AGAIN, quic_conn_open(w.client, &w.task, &more));
    for (int i = 0; i < 3; i++) {
        stream_finish(b[i].near);
        stream_finish(b[i].far);
        both_close(&b[i]);
    }
    UNTIL(&w, quic_conn_open(w.client, &w.task, &more) == 0);
    stream_release(more);
    world_close(&w);
}

TEST(thousands_of_streams_at_once_are_served)
{
    enum { COUNT = 3000 };
    static struct stream *near[COUNT];
    static struct stream *far[COUNT];
    struct world w;
    struct buf one;
    size_t arrived = 0, ended = 0;
    world_both(&w, &(struct wish){ 0 }, state_);
    buf_init(&one, loop_chunks(w.loop), 1000);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_OK(quic_conn_open(w.client, &w.task, &near[i]));
        CHECK_OK(buf_put(&one, SLICE("ask")));
        CHECK_OK(stream_write(near[i], &one));
        stream_finish(near[i]);
    }
    CHECK(streams_of(w.client) == COUNT);
    /* All are open at once before the first is answered. */
    for (int turn = 0; turn < 20000 && arrived < COUNT; turn++) {
        while (arrived < COUNT && quic_conn_accept(w.server, &w.task, &far[arrived]) == 0)
            arrived++;
        loop_turn(w.loop, 1);
    }
    CHECK(arrived == COUNT && streams_of(w.server) == COUNT);
    for (int turn = 0; turn < 20000 && ended < COUNT; turn++) {
        for (size_t i = 0; i < COUNT; i++) {
            if (far[i] != NULL && stream_read(far[i], &one, 100) == 0) {
                CHECK_SLICE(buf_front(&one), SLICE("ask"));
                CHECK_OK(stream_write(far[i], &one));
                stream_finish(far[i]);
                stream_release(far[i]);
                far[i] = NULL;
            }
            int r = near[i] != NULL ? stream_read(near[i], &one, 100) : ERR_AGAIN;
            if (r == 0) {
                CHECK_SLICE(buf_front(&one), SLICE("ask"));
                buf_drop(&one, SIZE_MAX);
            }
            CHECK(r == 0 || r == ERR_AGAIN || r == ERR_EOF);
            if (r == ERR_EOF) {
                stream_release(near[i]);
                near[i] = NULL;
                ended++;
            }
        }
        loop_turn(w.loop, 1);
    }
    UNTIL(&w, streams_of(w.client) == 0 && streams_of(w.server) == 0);
    CHECK(ended == COUNT);
    buf_done(&one);
    world_close(&w);
}

/* ---- ends of streams ---- */

TEST(each_direction_of_a_stream_ends_by_itself)
{
    struct world w;
    struct both b;
    world_both(&w, &(struct wish){ 0 }, state_);
    both_open(&w, &b, state_);
    stream_finish(b.near);
    CHECK_ERR(ERR_CLOSED, stream_write(b.near, &b.buf));
    UNTIL(&w, stream_read(b.far, &b.buf, 10) == ERR_EOF);
    put(&b, "still open");
    CHECK_OK(stream_write(b.far, &b.buf));
    UNTIL(&w, stream_read(b.near, &b.buf, 100) == 0);
    CHECK_SLICE(buf_front(&b.buf), SLICE("still open"));
    both_close(&b);
    UNTIL(&w, streams_of(w.client) == 0 && streams_of(w.server) == 0);
    world_close(&w);
}

TEST(an_abort_by_either_side_ends_both_directions_at_the_other)
{
    for (int by_opener = 0; by_opener < 2; by_opener++) {
        struct world w;
        struct both b;
        world_both(&w, &(struct wish){ 0 }, state_);
        both_open(&w, &b, state_);
        struct stream *one = by_opener ? b.near : b.far, *other = by_opener ? b.far : b.near;
        stream_abort(one, ERR_TIMEOUT);
        CHECK_ERR(ERR_TIMEOUT, stream_read(one, &b.buf, 1));
        CHECK_ERR(ERR_TIMEOUT, stream_write(one, &b.buf));
        UNTIL(&w, stream_read(other, &b.buf, 1) == ERR_RESET);
        CHECK_ERR(ERR_RESET, stream_read(other, &b.buf, 0));
        put(&b, "unwanted");
        UNTIL(&w, stream_write(other, &b.buf) == ERR_RESET);
        both_close(&b);
        UNTIL(&w, streams_of(w.client) == 0 && streams_of(w.server) == 0);
        world_close(&w);
    }
}

TEST(a_reader_that_lets_go_stops_the_writer_and_what_was_finished_arrives)
{
    for (int by_opener = 0; by_opener < 2; by_opener++) {
        struct world w;
        struct both b;
        world_both(&w, &(struct wish){ 0 }, state_);
        both_open(&w, &b, state_);
        struct stream **one = by_opener ? &b.near : &b.far, **other = by_opener ? &b.far : &b.near;
        put(&b, "last words");
        CHECK_OK(stream_write(*one, &b.buf));
        stream_finish(*one);
        stream_release(*one); /* STOP_SENDING for the other direction */
        *one = NULL;
        UNTIL(&w, stream_read(*other, &b.buf, 100) == 0);
        CHECK_SLICE(buf_front(&b.buf), SLICE("last words"));
        UNTIL(&w, stream_read(*other, &b.buf, 100) == ERR_EOF);
        UNTIL(&w, stream_write(*other, &b.buf) != 0 || buf_put(&b.buf, SLICE("more")) != 0);
        CHECK_ERR(ERR_RESET, stream_write(*other, &b.buf));
        both_close(&b);
        UNTIL(&w, streams_of(w.client) == 0 && streams_of(w.server) == 0);
        world_close(&w);
    }
}

TEST(whoever_only_waits_learns_that_nobody_reads_any_more)
{
    struct world w;
    struct both b;
    world_both(&w, &(struct wish){ 0 }, state_);
    both_open(&w, &b, state_);
    stream_finish(b.near);
    UNTIL(&w, stream_read(b.far, &b.buf, 10) == ERR_EOF);
    stream_release(b.near);
    b.near = NULL;
    UNTIL(&w, stream_write(b.far, &b.buf) == ERR_RESET); /* nothing to write: only asked */
    both_close(&b);
    world_close(&w);
}

struct counter {
    struct task task;
    unsigned wakes;
};

static void counter_run(struct task *t)
{
    container_of(t, struct counter, task)->wakes++;
}

TEST(a_connection_tells_when_few_streams_are_left_and_all_bytes_have_arrived)
{
    struct world w;
    struct both b;
    static uint8_t block[100000];
    world_both(&w, &(struct wish){ 0 }, state_);
    both_open(&w, &b, state_);
    struct counter owner = { 0 };
    task_init(&owner.task, w.loop, counter_run);
    quic_conn_set_owner(w.server, &owner.task);
    quic_conn_tell_left(w.server, 0);
    CHECK_OK(buf_put(&b.buf, slice_of(block, sizeof block)));
    CHECK_OK(stream_write(b.far, &b.buf));
    stream_finish(b.near);
    stream_finish(b.far);
    stream_release(b.far);
    b.far = NULL;
    CHECK(quic_conn_streams(w.server) == 1); /* written is not arrived */
    UNTIL(&w, owner.wakes > 0);
    CHECK(quic_conn_streams(w.server) == 0 && quic_conn_state(w.server) == QUIC_OPEN);
    quic_conn_set_owner(w.server, &w.task);
    size_t seen = 0;
    while (stream_read(b.near, &b.buf, SIZE_MAX) == 0) {
        seen += buf_len(&b.buf);
        buf_drop(&b.buf, SIZE_MAX);
    }
    CHECK(seen == sizeof block);
    both_close(&b);
    world_close(&w);
}

/* ---- datagrams ---- */

TEST(datagrams_beyond_the_queue_are_dropped_and_the_connection_goes_on)
{
    struct world w;
    struct buf got;
    size_t count = 0;
    world_both(&w, &(struct wish){ 0 }, state_);
    buf_init(&got, loop_chunks(w.loop), 1 << 20);
    for (int i = 0; i < 1000; i++)
        CHECK_OK(quic_conn_send_datagram(w.client, SLICE("one of many")));
    for (int i = 0; i < 50; i++)
        loop_turn(w.loop, 1);
    while (quic_conn_take_datagram(w.server, &got) == 0)
        count++;
    CHECK(count > 0 && count <= 256 && buf_len(&got) == count * 11);
    CHECK_OK(quic_conn_send_datagram(w.client, SLICE("after")));
    UNTIL(&w, quic_conn_take_datagram(w.server, &got) == 0);
    quic_conn_close(w.client, 0, "");
    CHECK_ERR(ERR_CLOSED, quic_conn_send_datagram(w.client, SLICE("late")));
    buf_done(&got);
    world_close(&w);
}

/* ---- connections that come and go ---- */

TEST(a_server_that_forgot_a_connection_resets_it)
{
    struct world w;
    struct wish wish = { .secret = 7, .client = { .keepalive = 20 * NSEC_PER_MSEC } };
    struct quic_why why;
    world_both(&w, &wish, state_);
    struct addr at = w.addr;
    /* As after a crash: the socket and the secret are there again, the connection is not. */
    w.server->state = QUIC_CLOSED; /* it says nothing when it goes */
    quic_endpoint_free(w.endpoint);
    w.server = NULL;
    loop_turn(w.loop, 0);
    world_listen(&w, &wish, &at);
    UNTIL(&w, quic_conn_state(w.client) == QUIC_CLOSED);
    quic_conn_why(w.client, &why);
    if (why.err != ERR_RESET)
        fail_msg("%s: %s", err_name(why.err), why.text);
    world_close(&w);
}

TEST(a_server_with_too_many_connections_takes_no_more)
{
    struct world w;
    struct quic_conn *second = NULL;
    struct wish one = { .conns_max = 1, .client = { .handshake = 200 * NSEC_PER_MSEC } };
    struct quic_why why;
    world_both(&w, &one, state_);
    CHECK_OK(world_dial(&w, &one, "a.example", &second));
    UNTIL(&w, quic_conn_state(second) == QUIC_CLOSED);
    quic_conn_why(second, &why);
    CHECK(why.err == ERR_TIMEOUT && quic_endpoint_conns(w.endpoint) == 1);
    quic_conn_release(second);
    world_close(&w);
}

TEST(a_silent_peer_is_given_up_and_a_kept_alive_one_is_not)
{
    for (int is_alive = 0; is_alive < 2; is_alive++) {
        struct world w;
        struct quic_why why;
        nsec idle = 150 * NSEC_PER_MSEC;
        struct wish wish = { .server = { .idle = idle },
                             .client = { .idle = idle,
                                         .keepalive = is_alive ? 30 * NSEC_PER_MSEC : 0 } };
        world_both(&w, &wish, state_);
        nsec start = loop_now_fresh(w.loop);
        while (loop_now_fresh(w.loop) - start < 4 * idle)
            loop_turn(w.loop, 10);
        CHECK((quic_conn_state(w.client) == QUIC_OPEN) == (is_alive != 0));
        quic_conn_why(w.client, &why);
        CHECK(is_alive != 0 || why.err == ERR_TIMEOUT);
        world_close(&w);
    }
}

/* ---- packets of nobody ---- */

TEST(noise_is_dropped_and_harms_nobody)
{
    struct world w;
    struct both b;
    uint8_t noise[1500];
    struct rng rng;
    rng_init(&rng, 4711);
    world_both(&w, &(struct wish){ 0 }, state_);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int i = 0; i < 2000; i++) {
        size_t n = (size_t)rng_below(&rng, sizeof noise + 1);
        for (size_t k = 0; k < n; k++)
            noise[k] = (uint8_t)rng_next(&rng);
        if (n > 5 && i % 2 == 0) { /* half of them begin like an Initial of version 1 */
            noise[0] = 0xc3;
            memcpy(noise + 1, "\0\0\0\1\x10", 5);
        }
        (void)!sendto(fd, noise, n, 0, (const struct sockaddr *)&w.addr.sa, w.addr.size);
        if (i % 50 == 0)
            loop_turn(w.loop, 0);
    }
    both_open(&w, &b, state_);
    CHECK(quic_endpoint_conns(w.endpoint) == 1);
    (void)close(fd);
    both_close(&b);
    world_close(&w);
}

TEST(another_version_is_answered_with_ours)
{
    struct world w;
    uint8_t packet[1200] = { 0xc0, 0xfa, 0xce, 0xb0, 0x0c, 8 }, answer[1500];
    world_both(&w, &(struct wish){ 0 }, state_);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    packet[14] = 8; /* the length of the source id, behind eight bytes of destination id */
    CHECK(sendto(fd, packet, sizeof packet, 0, (const struct sockaddr *)&w.addr.sa, w.addr.size) ==
          (ssize_t)sizeof packet);
    ssize_t n = -1;
    UNTIL(&w, (n = recv(fd, answer, sizeof answer, 0)) > 0);
    CHECK(memcmp(answer + 1, "\0\0\0\0", 4) == 0 && (size_t)n < sizeof packet);
    CHECK(memcmp(answer + n - 4, "\0\0\0\1", 4) == 0);
    CHECK(sendto(fd, packet, 100, 0, (const struct sockaddr *)&w.addr.sa, w.addr.size) == 100);
    for (int i = 0; i < 10; i++)
        loop_turn(w.loop, 1);
    CHECK(recv(fd, answer, sizeof answer, 0) < 0); /* a short one would be amplified */
    (void)close(fd);
    world_close(&w);
}

TESTS(RUN(a_stream_is_given_credit_by_reading_alone),
      RUN(a_peer_opens_no_more_streams_than_it_was_allowed_and_goes_on_when_some_end),
      RUN(thousands_of_streams_at_once_are_served), RUN(each_direction_of_a_stream_ends_by_itself),
      RUN(an_abort_by_either_side_ends_both_directions_at_the_other),
      RUN(a_reader_that_lets_go_stops_the_writer_and_what_was_finished_arrives),
      RUN(whoever_only_waits_learns_that_nobody_reads_any_more),
      RUN(a_connection_tells_when_few_streams_are_left_and_all_bytes_have_arrived),
      RUN(datagrams_beyond_the_queue_are_dropped_and_the_connection_goes_on),
      RUN(a_server_that_forgot_a_connection_resets_it),
      RUN(a_server_with_too_many_connections_takes_no_more),
      RUN(a_silent_peer_is_given_up_and_a_kept_alive_one_is_not),
      RUN(noise_is_dropped_and_harms_nobody), RUN(another_version_is_answered_with_ours))
