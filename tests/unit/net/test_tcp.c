#include "net/tcp.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "base/limits.h"
#include "net/sockets.h"

/* A stream over one end of a TCP connection; the test holds the other end. */
struct wire {
    struct loop *loop;
    struct reader reader;
    int theirs;
};

static void wire_open(struct wire *w)
{
    int ours;
    assert_int_equal(loop_new(&w->loop), 0);
    raw_pair(&ours, &w->theirs);
    reader_init(&w->reader, w->loop);
    assert_int_equal(tcp_from_fd(w->loop, ours, &w->reader.task, &w->reader.stream), 0);
}

static void wire_close(struct wire *w)
{
    stream_release(w->reader.stream);
    if (w->theirs >= 0)
        (void)close(w->theirs);
    reader_done(&w->reader);
    loop_free(w->loop);
}

/* Two streams over one connection, dialled and accepted. */
struct pair {
    struct loop *loop;
    struct task task;
    struct stream *near, *far;
};

static void pair_open(struct pair *p, void **state_)
{
    struct tcp_listener *listener;
    struct tcp_listen_opts opts = { .fd = -1 };
    struct tcp_dial_opts dial = { .keepalive = NSEC_PER_SEC };
    struct addr any, at, peer;
    CHECK_OK(loop_new(&p->loop));
    task_init(&p->task, p->loop, do_nothing);
    CHECK_OK(addr_parse(SLICE("127.0.0.1:0"), &any));
    CHECK_OK(tcp_listen(p->loop, &any, &opts, &p->task, &listener, &at));
    CHECK_OK(tcp_dial(p->loop, &at, &dial, &p->task, &p->near));
    UNTIL(p->loop, tcp_accept(listener, &p->task, &p->far, &peer) == 0);
    UNTIL(p->loop, tcp_is_connected(p->near));
    struct addr local;
    tcp_local_addr(p->near, &local);
    CHECK(addr_eq(&local, &peer));
    tcp_listener_close(listener);
}

static void pair_close(struct pair *p)
{
    stream_release(p->near);
    stream_release(p->far);
    task_done(&p->task);
    loop_free(p->loop);
}

TEST(what_is_written_before_the_connection_is_up_is_delivered)
{
    struct addr at;
    struct tcp_dial_opts opts = { 0 };
    struct loop *l;
    struct reader r;
    char text[8];
    int listener = raw_listen(&at);
    CHECK_OK(loop_new(&l));
    reader_init(&r, l);
    CHECK_OK(tcp_dial(l, &at, &opts, &r.task, &r.stream));
    CHECK(!tcp_is_connected(r.stream));
    CHECK_ERR(ERR_AGAIN, stream_read(r.stream, &r.in, 10));
    say(l, r.stream, "early");
    UNTIL(l, tcp_is_connected(r.stream));
    UNTIL(l, r.wakes > 0);
    loop_turn(l, 0);
    int fd = accept(listener, NULL, NULL);
    CHECK(fd >= 0 && recv(fd, text, 5, MSG_WAITALL) == 5 && memcmp(text, "early", 5) == 0);
    raw_send(fd, "answer");
    UNTIL(l, buf_len(&r.in) == 6);
    CHECK_SLICE(buf_front(&r.in), SLICE("answer"));
    stream_release(r.stream);
    (void)close(fd);
    (void)close(listener);
    reader_done(&r);
    loop_free(l);
}

TEST(a_port_where_nobody_listens_is_refused_and_the_owner_learns_of_it)
{
    struct addr at;
    struct tcp_dial_opts opts = { 0 };
    struct loop *l;
    struct reader r;
    int holder = raw_bound(&at);
    CHECK_OK(loop_new(&l));
    reader_init(&r, l);
    CHECK_OK(tcp_dial(l, &at, &opts, &r.task, &r.stream));
    say(l, r.stream, "lost");
    UNTIL(l, r.end == ERR_REFUSED);
    CHECK(tcp_is_connected(r.stream)); /* the handshake is over, after a failure too */
    CHECK_ERR(ERR_REFUSED, stream_read(r.stream, &r.in, 10));
    CHECK_ERR(ERR_REFUSED, stream_write(r.stream, &r.in));
    stream_release(r.stream);
    reader_done(&r);
    (void)close(holder);
    loop_free(l);
}

TEST(a_local_address_can_be_chosen)
{
    struct addr at, local, got;
    struct loop *l;
    struct stream *s;
    int listener = raw_listen(&at);
    CHECK_OK(loop_new(&l));
    CHECK_OK(addr_parse(SLICE("127.0.0.2:0"), &local));
    struct tcp_dial_opts opts = { .bind = &local };
    CHECK_OK(tcp_dial(l, &at, &opts, NULL, &s));
    UNTIL(l, tcp_is_connected(s));
    char text[ADDR_TEXT_BYTES];
    tcp_local_addr(s, &got);
    assert_string_equal(addr_ip_text(&got, text), "127.0.0.2");
    stream_release(s);
    CHECK_OK(addr_parse(SLICE("192.0.2.1:0"), &local)); /* not ours */
    CHECK(tcp_dial(l, &at, &opts, NULL, &s) < 0);
    (void)close(listener);
    loop_free(l);
}

static size_t unread(int fd)
{
    int n = 0;
    assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
    return (size_t)n;
}

static size_t read_all(int fd)
{
    uint8_t bytes[65536];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}

/* However much of it the kernel took. */
TEST(what_waits_is_what_the_far_side_has_not_got)
{
    struct wire w;
    struct buf out;
    const uint8_t piece[32768] = { 0 };
    size_t given = 0, taken = 0;
    wire_open(&w);
    buf_init(&out, loop_chunks(w.loop), sizeof piece);
    CHECK(stream_waiting(w.reader.stream) == 0);
    /* Until both kernels' buffers and our own are full. */
    for (unsigned still = 0; still < 50; still++) {
        CHECK_OK(buf_put(&out, slice_of(piece, sizeof piece - buf_len(&out))));
        (void)!stream_write(w.reader.stream, &out);
        given += sizeof piece - buf_len(&out);
        if (buf_is_empty(&out))
            still = 0;
        loop_turn(w.loop, 0);
    }
    UNTIL(w.loop, stream_waiting(w.reader.stream) + unread(w.theirs) == given);
    CHECK(stream_waiting(w.reader.stream) > STREAM_SEND_BYTES_MAX / 2);
    /* The last of it is on its way out although we write no more. */
    UNTIL(w.loop, (taken += read_all(w.theirs), taken == given));
    UNTIL(w.loop, stream_waiting(w.reader.stream) == 0);
    buf_done(&out);
    wire_close(&w);
}

TEST(bytes_cross_both_ways_and_each_direction_ends_by_itself)
{
    struct pair p;
    struct transfer up, down;
    pair_open(&p, state_);
    transfer_init(&up, loop_chunks(p.loop), p.near, p.far, 4 << 20);
    UNTIL(p.loop, transfer_step(&up));
    transfer_init(&down, loop_chunks(p.loop), p.far, p.near, 4 << 20);
    UNTIL(p.loop, transfer_step(&down)); /* after the end of the other direction */
    CHECK_ERR(ERR_EOF, stream_read(p.far, &up.in, 10));
    CHECK_OK(buf_put(&up.out, SLICE("late")));
    CHECK_ERR(ERR_CLOSED, stream_write(p.near, &up.out));
    transfer_done(&up);
    transfer_done(&down);
    pair_close(&p);
}

TEST(a_reader_that_stops_stops_its_writer)
{
    struct pair p;
    struct transfer t;
    struct reader writer;
    pair_open(&p, state_);
    reader_init(&writer, p.loop);
    writer.is_holding = true;
    p.near->owner = &writer.task;
    transfer_init(&t, loop_chunks(p.loop), p.near, p.far, 64 << 20);
    for (int turn = 0; turn < 200; turn++) {
        transfer_write(&t);
        loop_turn(p.loop, 1);
    }
    size_t stuck = t.put;
    CHECK(stuck < 32 << 20); /* our queue, and the kernel's two */
    unsigned wakes = writer.wakes;
    for (int turn = 0; turn < 10; turn++) {
        transfer_write(&t);
        loop_turn(p.loop, 1);
    }
    CHECK(t.put == stuck && writer.wakes == wakes);
    while (t.put == stuck && t.seen < stuck) { /* as soon as it reads again, the writer is woken */
        transfer_read(&t);
        loop_turn(p.loop, 1);
        if (writer.wakes > wakes)
            transfer_write(&t);
    }
    CHECK(writer.wakes > wakes && t.put > stuck);
    transfer_done(&t);
    reader_done(&writer);
    pair_close(&p);
}

TEST(no_more_is_read_than_asked_for_or_fits)
{
    struct wire w;
    struct buf small;
    wire_open(&w);
    w.reader.is_holding = true;
    buf_init(&small, loop_chunks(w.loop), 6);
    raw_send(w.theirs, "hello, tunnel");
    UNTIL(w.loop, stream_read(w.reader.stream, &small, 4) == 0);
    CHECK_SLICE(buf_front(&small), SLICE("hell"));
    CHECK_OK(stream_read(w.reader.stream, &small, 100));
    CHECK_SLICE(buf_front(&small), SLICE("hello,"));
    CHECK_ERR(ERR_AGAIN, stream_read(w.reader.stream, &small, 100));
    buf_drop(&small, 6);
    CHECK_OK(stream_read(w.reader.stream, &small, 100)); /* no news is needed for the rest */
    CHECK_SLICE(buf_front(&small), SLICE(" tunne"));
    buf_done(&small);
    wire_close(&w);
}

TEST(data_and_an_end_that_came_together_are_told_one_after_the_other)
{
    struct wire w;
    wire_open(&w);
    raw_send(w.theirs, "all");
    CHECK(shutdown(w.theirs, SHUT_WR) == 0);
    UNTIL(w.loop, w.reader.end == ERR_EOF);
    CHECK_SLICE(buf_front(&w.reader.in), SLICE("all"));
    CHECK_ERR(ERR_EOF, stream_read(w.reader.stream, &w.reader.in, 10));
    CHECK_ERR(ERR_EOF, stream_read(w.reader.stream, &w.reader.in, 10));
    wire_close(&w);
}

/* The error behind unread data: libuv stops a handle that reports it, and who reads later must
 * still learn of it. */
TEST(a_peer_that_sends_and_resets_at_once_gives_its_data_and_then_an_error)
{
    struct wire w;
    wire_open(&w);
    raw_send(w.theirs, "before the reset");
    raw_reset(w.theirs);
    w.theirs = -1;
    UNTIL(w.loop, w.reader.end != ERR_AGAIN);
    CHECK_ERR(ERR_RESET, w.reader.end);
    CHECK_SLICE(buf_front(&w.reader.in), SLICE("before the reset"));
    CHECK_ERR(ERR_RESET, stream_read(w.reader.stream, &w.reader.in, 10));
    wire_close(&w);
}

TEST(a_reset_behind_data_that_was_announced_and_not_read_is_seen_by_a_late_reader)
{
    for (int turns = 0; turns < 5; turns++) {
        struct wire w;
        wire_open(&w);
        w.reader.is_holding = true;
        raw_send(w.theirs, "x");
        UNTIL(w.loop, w.reader.wakes > 0);
        raw_reset(w.theirs);
        w.theirs = -1;
        for (int i = 0; i < turns; i++)
            loop_turn(w.loop, 1);
        w.reader.is_holding = false;
        task_wake(&w.reader.task);
        UNTIL(w.loop, w.reader.end != ERR_AGAIN);
        CHECK_ERR(ERR_RESET, w.reader.end);
        CHECK_SLICE(buf_front(&w.reader.in), SLICE("x"));
        wire_close(&w);
    }
}

TEST(a_reset_after_everything_was_read_wakes_the_owner)
{
    struct wire w;
    wire_open(&w);
    raw_send(w.theirs, "x");
    UNTIL(w.loop, buf_len(&w.reader.in) == 1);
    raw_reset(w.theirs);
    w.theirs = -1;
    UNTIL(w.loop, w.reader.end == ERR_RESET);
    wire_close(&w);
}

TEST(a_read_of_nothing_tells_the_state_and_an_error_stays)
{
    struct wire w;
    wire_open(&w);
    w.reader.is_holding = true;
    CHECK_ERR(ERR_AGAIN, stream_read(w.reader.stream, &w.reader.in, 0));
    CHECK(tcp_is_quiet(w.reader.stream));
    raw_send(w.theirs, "x");
    UNTIL(w.loop, stream_read(w.reader.stream, &w.reader.in, 0) == 0);
    CHECK(!tcp_is_quiet(w.reader.stream) && buf_is_empty(&w.reader.in));
    UNTIL(w.loop, stream_read(w.reader.stream, &w.reader.in, 10) == 0);
    raw_reset(w.theirs);
    w.theirs = -1;
    UNTIL(w.loop, stream_read(w.reader.stream, &w.reader.in, 0) == ERR_RESET);
    CHECK_ERR(ERR_RESET, stream_read(w.reader.stream, &w.reader.in, 10)); /* not an orderly end */
    CHECK(!tcp_is_quiet(w.reader.stream));
    wire_close(&w);
}

TEST(a_read_of_nothing_tells_of_a_reset_though_bytes_wait_which_are_then_read)
{
    struct wire w;
    wire_open(&w);
    w.reader.is_holding = true;
    raw_send(w.theirs, "unread");
    UNTIL(w.loop, w.reader.wakes > 0);
    unsigned wakes = w.reader.wakes;
    raw_reset(w.theirs);
    w.theirs = -1;
    UNTIL(w.loop, stream_read(w.reader.stream, &w.reader.in, 0) == ERR_RESET);
    CHECK(w.reader.wakes > wakes); /* nobody has to ask */
    CHECK_OK(stream_read(w.reader.stream, &w.reader.in, 100));
    CHECK_SLICE(buf_front(&w.reader.in), SLICE("unread"));
    UNTIL(w.loop, stream_read(w.reader.stream, &w.reader.in, 100) == ERR_RESET);
    CHECK(stream_write(w.reader.stream, &w.reader.in) < 0);
    wire_close(&w);
}

TEST(a_connection_whose_peer_ended_is_not_quiet)
{
    struct wire w;
    wire_open(&w);
    w.reader.is_holding = true;
    CHECK(tcp_is_quiet(w.reader.stream));
    (void)close(w.theirs);
    w.theirs = -1;
    CHECK(!tcp_is_quiet(w.reader.stream));
    wire_close(&w);
}

/* An origin that answers before it has read the request, and closes. */
TEST(an_answer_that_came_is_read_though_writing_has_failed)
{
    struct wire w;
    wire_open(&w);
    w.reader.is_holding = true;
    say(w.loop, w.reader.stream, "request");
    char byte;
    UNTIL(w.loop, recv(w.theirs, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
    raw_send(w.theirs, "answer");
    (void)close(w.theirs); /* with something unread: that is a reset */
    w.theirs = -1;
    say(w.loop, w.reader.stream, "more of the request");
    struct buf rest;
    buf_init(&rest, loop_chunks(w.loop), 10);
    UNTIL(w.loop, stream_write(w.reader.stream, &rest) == ERR_RESET);
    w.reader.is_holding = false;
    task_wake(&w.reader.task);
    UNTIL(w.loop, w.reader.end != ERR_AGAIN);
    CHECK_SLICE(buf_front(&w.reader.in), SLICE("answer"));
    CHECK_ERR(ERR_RESET, w.reader.end);
    buf_done(&rest);
    wire_close(&w);
}

/* With something unread or without, in the kernel of the side that lets go. */
TEST(what_was_written_and_finished_is_delivered_after_release)
{
    for (int round = 0; round < 2; round++) {
        struct wire w;
        struct buf out, in;
        size_t put = 0, seen = 0;
        wire_open(&w);
        w.reader.is_holding = true;
        buf_init(&out, loop_chunks(w.loop), STREAM_SEND_BYTES_MAX);
        buf_init(&in, loop_chunks(w.loop), 1 << 16);
        if (round == 1) {
            raw_send(w.theirs, "nobody reads this");
            UNTIL(w.loop, w.reader.wakes > 0);
        }
        pattern_put(&out, &put, STREAM_SEND_BYTES_MAX);
        CHECK_OK(stream_write(w.reader.stream, &out));
        stream_finish(w.reader.stream);
        stream_finish(w.reader.stream);
        stream_release(w.reader.stream);
        w.reader.stream = NULL;
        for (int turn = 0; turn < 5; turn++)
            loop_turn(w.loop, 1); /* the stream goes as far as it can before we look */
        bool is_over = false;
        while (!is_over) {
            size_t room;
            loop_turn(w.loop, 0);
            uint8_t *p = buf_reserve(&in, 1 << 14, &room);
            ssize_t n = recv(w.theirs, p, room, MSG_DONTWAIT);
            CHECK(n >= 0 || errno == EAGAIN);
            is_over = n == 0;
            buf_commit(&in, n > 0 ? (size_t)n : 0);
            pattern_take(&in, &seen);
        }
        CHECK(seen == STREAM_SEND_BYTES_MAX);
        buf_done(&out);
        buf_done(&in);
        wire_close(&w);
    }
}

TEST(a_loop_that_goes_takes_along_what_was_still_being_delivered)
{
    struct wire w;
    struct buf out;
    size_t put = 0;
    char byte;
    wire_open(&w);
    buf_init(&out, loop_chunks(w.loop), STREAM_SEND_BYTES_MAX);
    int r = 0;
    for (int turn = 0; turn < 2000 && r == 0; turn++) { /* until both kernels are full */
        pattern_put(&out, &put, SIZE_MAX);
        r = stream_write(w.reader.stream, &out);
        loop_turn(w.loop, 0);
    }
    CHECK_ERR(ERR_AGAIN, r);
    stream_finish(w.reader.stream);
    stream_release(w.reader.stream);
    w.reader.stream = NULL;
    buf_done(&out);
    reader_done(&w.reader);
    loop_free(w.loop);
    CHECK(recv(w.theirs, &byte, 1, MSG_DONTWAIT) <= 1); /* and no descriptor is left: see ASan */
    (void)close(w.theirs);
}

TEST(an_abort_and_a_release_without_finish_are_resets_at_the_other_end)
{
    for (int round = 0; round < 2; round++) {
        struct pair p;
        struct buf in;
        pair_open(&p, state_);
        buf_init(&in, loop_chunks(p.loop), 100);
        if (round == 0) {
            stream_abort(p.near, ERR_TIMEOUT);
            stream_abort(p.near, ERR_DENIED);
            CHECK_ERR(ERR_TIMEOUT, stream_read(p.near, &in, 10)); /* the first reason stays */
            CHECK_ERR(ERR_TIMEOUT, stream_write(p.near, &in));
        }
        stream_release(p.near);
        p.near = NULL;
        UNTIL(p.loop, stream_read(p.far, &in, 10) == ERR_RESET);
        buf_done(&in);
        pair_close(&p);
    }
}

TESTS(RUN(what_is_written_before_the_connection_is_up_is_delivered),
      RUN(a_port_where_nobody_listens_is_refused_and_the_owner_learns_of_it),
      RUN(a_local_address_can_be_chosen), RUN(what_waits_is_what_the_far_side_has_not_got),
      RUN(bytes_cross_both_ways_and_each_direction_ends_by_itself),
      RUN(a_reader_that_stops_stops_its_writer), RUN(no_more_is_read_than_asked_for_or_fits),
      RUN(data_and_an_end_that_came_together_are_told_one_after_the_other),
      RUN(a_peer_that_sends_and_resets_at_once_gives_its_data_and_then_an_error),
      RUN(a_reset_behind_data_that_was_announced_and_not_read_is_seen_by_a_late_reader),
      RUN(a_reset_after_everything_was_read_wakes_the_owner),
      RUN(a_read_of_nothing_tells_the_state_and_an_error_stays),
      RUN(a_read_of_nothing_tells_of_a_reset_though_bytes_wait_which_are_then_read),
      RUN(a_connection_whose_peer_ended_is_not_quiet),
      RUN(an_answer_that_came_is_read_though_writing_has_failed),
      RUN(what_was_written_and_finished_is_delivered_after_release),
      RUN(a_loop_that_goes_takes_along_what_was_still_being_delivered),
      RUN(an_abort_and_a_release_without_finish_are_resets_at_the_other_end))
