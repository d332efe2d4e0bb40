#include "http/site.h"

#include <fcntl.h>

#include "base/limits.h"
#include "net/sockets.h"

#define UPGRADE                                                                                    \
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                 \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

static void open_manual(struct site *s)
{
    site_open(s);
    s->is_manual = true;
}

static void take_up(struct site *s, char *to, size_t size)
{
    size_t n = buf_copy(&s->ex->up.held, 0, to, size - 1);
    to[n] = 0;
    buf_drop(&s->ex->up.held, n);
    exchange_wake_left(s->ex);
}

static void switch_protocols(struct site *s)
{
    exchange_respond(s->ex, site_response(s, 101));
    site_turn(s);
}

/* ---- upgrades ---- */

TEST(an_upgraded_exchange_carries_bytes_both_ways_until_both_directions_end)
{
    struct site s;
    char up[100];
    open_manual(&s);
    site_say(&s, UPGRADE);
    CHECK(s.ex->request.upgrade == UPGRADE_WEBSOCKET && !s.ex->up.ended);
    switch_protocols(&s);
    CHECK_GOT(&s, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
                  "websocket\r\n\r\n");
    site_forget(&s);
    site_say(&s, "GET / HTTP/1.1 is only bytes now\r\n\r\n");
    take_up(&s, up, sizeof up);
    assert_string_equal(up, "GET / HTTP/1.1 is only bytes now\r\n\r\n");
    site_body(&s, SLICE("and back"));
    site_turn(&s);
    CHECK_GOT(&s, "and back");
    stream_finish(s.visitor); /* half-close: passed on, and the other way stays open */
    site_turn(&s);
    CHECK(s.ex->up.ended);
    site_body(&s, SLICE(", still"));
    site_turn(&s);
    CHECK_GOT(&s, "and back, still");
    CHECK(s.end == ERR_AGAIN);
    body_end(&s.ex->down);
    site_leave(&s);
    site_turn(&s);
    CHECK(s.end == ERR_EOF && s.group.count == 0 && s.routed == 1);
    site_close(&s);
}

TEST(bytes_that_come_before_the_agreement_wait_for_it)
{
    struct site s;
    char up[100];
    open_manual(&s);
    site_say(&s, UPGRADE "eager");
    CHECK(buf_is_empty(&s.ex->up.held));
    switch_protocols(&s);
    take_up(&s, up, sizeof up);
    assert_string_equal(up, "eager");
    site_close(&s);
}

TEST(a_refused_upgrade_is_an_answer_like_any_other)
{
    struct site s;
    open_manual(&s);
    site_say(&s, UPGRADE);
    site_answer(&s, 403, "no");
    CHECK_GOT(&s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    site_forget(&s);
    s.is_manual = false;
    site_say(&s, GET);
    CHECK(strstr(s.got, "GET /x 0:") != NULL);
    site_close(&s);
}

/* ---- visitors that go, at every moment ---- */

struct moment {
    const char *name, *text;
    bool is_upgraded, is_answering;
};

static const struct moment MOMENTS[] = {
    { "idle", "" },
    { "in the head", "GET / HT" },
    { "waiting", GET },
    { "in the body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf" },
    { "in a chunk", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf" },
    { "before a hundred",
      "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n" },
    { "with another request waiting", GET GET },
    { "in the answer", GET, .is_answering = true },
    { "upgrading", UPGRADE },
    { "upgraded", UPGRADE, .is_upgraded = true },
};

static void reach(struct site *s, const struct moment *m)
{
    open_manual(s);
    if (m->text[0] != 0)
        site_say(s, m->text);
    if (m->is_upgraded)
        switch_protocols(s);
    if (m->is_answering) {
        struct response *r = site_response(s, 200);
        r->framing = FRAMING_STREAM;
        exchange_respond(s->ex, r);
        site_body(s, SLICE("some"));
        site_turn(s);
    }
}

TEST(a_visitor_that_resets_ends_its_exchange_at_every_moment)
{
    for (size_t i = 0; i < sizeof MOMENTS / sizeof MOMENTS[0]; i++) {
        struct site s;
        reach(&s, &MOMENTS[i]);
        stream_abort(s.visitor, ERR_CLOSED);
        site_turn(&s);
        if (s.group.count != 0)
            fail_msg("%s: the connection is still there", MOMENTS[i].name);
        if (s.ex != NULL && s.ex->verdict.err != ERR_CANCELED)
            fail_msg("%s: verdict %d", MOMENTS[i].name, s.ex->verdict.err);
        CHECK(s.ex == NULL || s.ex->verdict.hop == HOP_VISITOR);
        site_close(&s);
    }
}

TEST(a_group_that_is_aborted_frees_everything_at_every_moment)
{
    for (size_t i = 0; i < sizeof MOMENTS / sizeof MOMENTS[0]; i++) {
        struct site s;
        reach(&s, &MOMENTS[i]);
        h1_group_abort(&s.group);
        site_turn(&s);
        CHECK(s.group.count == 0 && s.end == ERR_RESET);
        CHECK(s.ex == NULL || exchange_has_failed(s.ex));
        site_close(&s);
    }
}

TEST(a_right_side_that_fails_ends_the_connection_at_every_moment)
{
    for (size_t i = 0; i < sizeof MOMENTS / sizeof MOMENTS[0]; i++) {
        struct site s;
        reach(&s, &MOMENTS[i]);
        if (s.ex != NULL) {
            exchange_fail(s.ex, ERR_TIMEOUT, HOP_ORIGIN, NULL);
            site_leave(&s);
            site_turn(&s);
            bool has_answer = strstr(s.got, " 504 ") != NULL;
            bool is_cut = s.end == ERR_RESET && strstr(s.got, "\r\n0\r\n") == NULL;
            if (!has_answer && !is_cut)
                fail_msg("%s: \"%s\", %d", MOMENTS[i].name, s.got, s.end);
        }
        site_close(&s);
    }
    (void)state_;
}

/* ---- visitors that only end their direction ---- */

TEST(a_visitor_that_ended_its_direction_still_gets_its_answer)
{
    struct site s;
    open_manual(&s);
    site_say(&s, GET);
    stream_finish(s.visitor);
    site_turn(&s);
    CHECK(!exchange_has_failed(s.ex) && s.group.count == 1);
    site_answer(&s, 200, "late");
    CHECK(strstr(s.got, "\r\n\r\nlate") != NULL);
    CHECK(s.end == ERR_EOF && s.group.count == 0);
    site_close(&s);
}

TEST(requests_that_came_before_the_end_are_all_answered)
{
    struct site s;
    site_open(&s);
    site_send(&s, SLICE(GET GET GET));
    stream_finish(s.visitor);
    site_turn(&s);
    CHECK(s.routed == 3 && s.end == ERR_EOF && s.group.count == 0);
    site_close(&s);
}

TEST(an_end_within_a_request_is_a_failure_and_never_a_whole_body)
{
    static const char *const HALVES[] = {
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    };
    for (int i = 0; i < 3; i++) {
        struct site s;
        open_manual(&s);
        site_say(&s, HALVES[i]);
        stream_finish(s.visitor);
        site_turn(&s);
        CHECK(s.ex->verdict.err == ERR_CUT && s.ex->verdict.hop == HOP_VISITOR);
        CHECK(!s.ex->up.ended);
        site_close(&s);
    }
}

TEST(an_end_within_a_head_or_before_it_is_just_an_end)
{
    static const char *const STARTS[] = { "", "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r" };
    for (int i = 0; i < 3; i++) {
        struct site s;
        site_open(&s);
        site_say(&s, STARTS[i]);
        stream_finish(s.visitor);
        site_turn(&s);
        CHECK(s.group.count == 0 && s.routed == 0 && s.end == ERR_EOF);
        CHECK_GOT(&s, "");
        site_close(&s);
    }
}

/* ---- back-pressure ---- */

TEST(a_right_side_that_takes_nothing_stops_the_visitor)
{
    struct site s;
    static char block[65536];
    open_manual(&s);
    site_say(&s, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n");
    for (int i = 0; i < 60; i++)
        site_send(&s, slice_of(block, sizeof block));
    site_turn(&s);
    site_turn(&s);
    size_t held = buf_len(&s.ex->up.held);
    CHECK(held == BODY_BYTES_MAX);
    CHECK(s.ex->up.total == held);
    /* What the pipe holds (1 MiB), the connection (less than two steps) and the body: no more. */
    CHECK(60 * sizeof block - buf_len(&s.out) <= (1 << 20) + held + 2 * READ_STEP_BYTES);
    for (uint64_t before = 0; before != s.ex->up.total;) {
        before = s.ex->up.total;
        buf_drop(&s.ex->up.held, SIZE_MAX);
        exchange_wake_left(s.ex);
        site_turn(&s);
    }
    CHECK(s.ex->up.total == 60 * sizeof block);
    site_close(&s);
}

TEST(a_visitor_that_takes_nothing_stops_the_right_side)
{
    struct site s;
    struct buf body;
    size_t put = 0, total = 0;
    site_open_window(&s, 10000);
    s.is_manual = s.is_not_reading = true;
    site_say(&s, GET);
    struct response *r = site_response(&s, 200);
    r->has_length = true;
    r->length = 4000000;
    r->framing = FRAMING_LENGTH;
    exchange_respond(s.ex, r);
    buf_init(&body, loop_chunks(s.loop), 1 << 20);
    for (int i = 0; i < 40; i++) {
        pattern_put(&body, &put, put + 100000);
        total += body_put(&s.ex->down, &body, SIZE_MAX);
        exchange_wake_left(s.ex);
        site_turn(&s);
        if (!buf_is_empty(&body))
            break;
    }
    CHECK(total < 10000 + 2 * BODY_BYTES_MAX + HEAD_BYTES_MAX + 8192);
    CHECK(body_room(&s.ex->down) == 0);
    s.is_not_reading = false;
    unsigned turns = 0, wakes = s.right_wakes;
    while (body_room(&s.ex->down) == 0 && turns++ < 10)
        site_turn(&s);
    CHECK(body_room(&s.ex->down) > 0); /* and it goes on when the visitor does */
    CHECK(s.right_wakes > wakes);
    buf_done(&body);
    site_close(&s);
}

TEST(a_visitor_with_many_requests_waiting_is_not_read_without_bound)
{
    struct site s;
    open_manual(&s);
    site_say(&s, GET);
    for (int i = 0; i < 80000; i++)
        site_send(&s, SLICE(GET));
    site_turn(&s);
    site_turn(&s);
    CHECK(s.routed == 1);
    /* What the pipe holds, and two steps of reading ahead. */
    CHECK(80000 * strlen(GET) - buf_len(&s.out) < (1 << 20) + 2 * 16384 + 100);
    site_close(&s);
}

/* A reset that comes while nothing is read for want of room, over real sockets. */
TEST(a_reset_is_noticed_although_nothing_is_read)
{
    struct site s;
    struct stream *server;
    struct addr peer = { 0 };
    int ours, theirs;
    static char block[1 << 16];
    open_manual(&s);
    raw_pair(&ours, &theirs);
    CHECK_OK(tcp_from_fd(s.loop, ours, NULL, &server));
    CHECK_OK(h1_serve(&s.group, server, &peer, "http"));
    raw_send(theirs, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 400000000\r\n\r\n");
    UNTIL(s.loop, s.ex != NULL);
    CHECK(fcntl(theirs, F_SETFL, O_NONBLOCK) == 0);
    for (int quiet = 0; quiet < 20;) { /* until every buffer on the way is full */
        bool is_taken = send(theirs, block, sizeof block, MSG_NOSIGNAL) > 0;
        quiet = is_taken ? 0 : quiet + 1;
        loop_turn(s.loop, 1);
    }
    CHECK(body_room(&s.ex->up) == 0);
    raw_reset(theirs);
    UNTIL(s.loop, exchange_has_failed(s.ex));
    CHECK(s.ex->verdict.err == ERR_CANCELED);
    site_close(&s);
}

/* ---- time ---- */

#define SOON (20 * NSEC_PER_MSEC)

TEST(an_idle_connection_is_closed_in_order_after_a_while)
{
    struct site s;
    site_open(&s);
    s.group.idle = SOON;
    site_say(&s, GET); /* the first idle time was longer */
    UNTIL(s.loop, (site_read(&s), s.end != ERR_AGAIN));
    CHECK(s.end == ERR_EOF && s.routed == 1);
    site_close(&s);
}

TEST(a_head_that_takes_too_long_is_refused)
{
    struct site s;
    site_open(&s);
    s.group.head = SOON;
    site_say(&s, "GET / HTTP/1.1\r\nHo");
    UNTIL(s.loop, (site_read(&s), s.end != ERR_AGAIN));
    CHECK(strncmp(s.got, "HTTP/1.1 408 ", 13) == 0 && s.routed == 0);
    site_close(&s);
}

TEST(a_visitor_that_ended_its_direction_is_given_up_when_nothing_comes_for_it)
{
    struct site s;
    open_manual(&s);
    s.group.half = SOON;
    site_say(&s, GET);
    stream_finish(s.visitor);
    UNTIL(s.loop, exchange_has_failed(s.ex));
    CHECK(s.ex->verdict.failure == FAILURE_VISITOR_SLOW);
    site_close(&s);
}

TEST(a_visitor_that_takes_nothing_is_given_up_and_a_slow_one_is_not)
{
    for (int is_slow = 0; is_slow < 2; is_slow++) {
        struct site s;
        site_open_window(&s, 100);
        s.is_manual = s.is_not_reading = true;
        s.group.stall = 10 * SOON;
        site_say(&s, GET);
        struct response *r = site_response(&s, 200);
        r->framing = FRAMING_STREAM;
        exchange_respond(s.ex, r);
        struct buf body, in;
        size_t put = 0;
        buf_init(&body, loop_chunks(s.loop), 1 << 20);
        buf_init(&in, loop_chunks(s.loop), 1 << 20);
        pattern_put(&body, &put, 50000);
        (void)body_put(&s.ex->down, &body, SIZE_MAX);
        exchange_wake_left(s.ex);
        nsec start = loop_now_fresh(s.loop), next = start;
        /* The slow one takes a few bytes now and then, for much longer than a stall may last. */
        while (!exchange_has_failed(s.ex) && loop_now(s.loop) - start < 40 * SOON) {
            loop_turn(s.loop, 5);
            if (is_slow != 0 && loop_now_fresh(s.loop) >= next) {
                (void)!stream_read(s.visitor, &in, 10);
                next += SOON / 4;
            }
        }
        CHECK(exchange_has_failed(s.ex) == (is_slow == 0));
        buf_done(&body);
        buf_done(&in);
        site_close(&s);
    }
}

TEST(a_visitor_that_stops_in_its_body_is_given_up_unless_it_waits_for_a_hundred)
{
    for (int waits = 0; waits < 2; waits++) {
        struct site s;
        open_manual(&s);
        s.group.stall = SOON;
        site_say(&s, waits != 0 ? MOMENTS[5].text : MOMENTS[3].text);
        nsec start = loop_now_fresh(s.loop);
        while (!exchange_has_failed(s.ex) && loop_now(s.loop) - start < (waits ? 5 : 500) * SOON)
            loop_turn(s.loop, 5);
        CHECK(exchange_has_failed(s.ex) == (waits == 0));
        site_close(&s);
    }
}

/* ---- draining ---- */

TEST(a_drain_ends_idle_connections_soon_and_busy_ones_after_their_answer)
{
    struct site idle, late, busy;
    site_open(&idle);
    idle.group.idle = SOON;
    site_say(&idle, GET);
    h1_group_drain(&idle.group);
    while (idle.group.count > 0)
        loop_turn(idle.loop, 5);
    site_turn(&idle);
    CHECK(idle.end == ERR_EOF && idle.routed == 1);
    site_close(&idle);
    site_open(&late); /* a request that was on its way is answered */
    site_say(&late, GET);
    h1_group_drain(&late.group);
    site_turn(&late);
    CHECK(late.group.count == 1);
    site_say(&late, GET);
    CHECK(late.end == ERR_EOF && late.routed == 2 && late.group.count == 0);
    CHECK(strstr(late.got, "Connection: close") != NULL);
    site_close(&late);
    open_manual(&busy);
    site_say(&busy, GET GET);
    h1_group_drain(&busy.group);
    site_turn(&busy);
    CHECK(busy.group.count == 1);
    site_answer(&busy, 200, "last");
    CHECK(strstr(busy.got, "Connection: close\r\n\r\nlast") != NULL);
    CHECK(busy.end == ERR_EOF && busy.routed == 1 && busy.group.count == 0);
    site_close(&busy);
}

TESTS(RUN(an_upgraded_exchange_carries_bytes_both_ways_until_both_directions_end),
      RUN(bytes_that_come_before_the_agreement_wait_for_it),
      RUN(a_refused_upgrade_is_an_answer_like_any_other),
      RUN(a_visitor_that_resets_ends_its_exchange_at_every_moment),
      RUN(a_group_that_is_aborted_frees_everything_at_every_moment),
      RUN(a_right_side_that_fails_ends_the_connection_at_every_moment),
      RUN(a_visitor_that_ended_its_direction_still_gets_its_answer),
      RUN(requests_that_came_before_the_end_are_all_answered),
      RUN(an_end_within_a_request_is_a_failure_and_never_a_whole_body),
      RUN(an_end_within_a_head_or_before_it_is_just_an_end),
      RUN(a_right_side_that_takes_nothing_stops_the_visitor),
      RUN(a_visitor_that_takes_nothing_stops_the_right_side),
      RUN(a_visitor_with_many_requests_waiting_is_not_read_without_bound),
      RUN(a_reset_is_noticed_although_nothing_is_read),
      RUN(an_idle_connection_is_closed_in_order_after_a_while),
      RUN(a_head_that_takes_too_long_is_refused),
      RUN(a_visitor_that_ended_its_direction_is_given_up_when_nothing_comes_for_it),
      RUN(a_visitor_that_takes_nothing_is_given_up_and_a_slow_one_is_not),
      RUN(a_visitor_that_stops_in_its_body_is_given_up_unless_it_waits_for_a_hundred),
      RUN(a_drain_ends_idle_connections_soon_and_busy_ones_after_their_answer))
