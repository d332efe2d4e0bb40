#include "base/limits.h"
#include "h2_world.h"

static const struct h2_conf CLIENT = { 0 }, SERVER = { .is_server = true };

static void open_both(struct world *w)
{
    assert_int_equal(world_open(w, &CLIENT, &SERVER, 1 << 20), 0);
    turns(w, 6);
}

/* A request that has arrived. */
static void ask(struct world *w, const struct h2_send_head *head, bool ends, struct h2_stream **c,
                struct h2_stream **s)
{
    assert_int_equal(h2_conn_request(w->client, head, ends, &w->task, c), 0);
    turns(w, 6);
    assert_int_equal(h2_conn_accept(w->server, &w->task, s), 0);
}

static int say(struct world *w, struct h2_stream *s, const char *text)
{
    struct buf b;
    buf_init(&b, loop_chunks(w->loop), 1 << 20);
    assert_int_equal(buf_put(&b, slice_str(text)), 0);
    int r = stream_write(h2_stream_body(s), &b);
    buf_done(&b);
    return r;
}

/* What has come, compared. */
static bool hears(struct world *w, struct h2_stream *s, const char *text)
{
    struct slice got;
    struct buf b;
    buf_init(&b, loop_chunks(w->loop), 1 << 20);
    turns(w, 6);
    while (stream_read(h2_stream_body(s), &b, 1 << 16) == 0)
        ;
    bool is_same = buf_peek(&b, buf_len(&b), &got) == 0 && slice_eq(got, slice_str(text));
    buf_done(&b);
    return is_same;
}

static int read_result(struct world *w, struct h2_stream *s)
{
    struct buf b;
    buf_init(&b, loop_chunks(w->loop), 1 << 20);
    int r = stream_read(h2_stream_body(s), &b, 1 << 16);
    buf_done(&b);
    return r;
}

TEST(a_request_and_its_response_arrive_with_bodies_and_trailers)
{
    struct world w;
    struct h2_stream *c, *s;
    const struct h2_head *h;
    struct h2_field fields[] = { { SLICE("X-Mixed"), SLICE("Value"), false },
                                 { SLICE("cookie"), SLICE("secret"), true } };
    struct h2_field trailer = { SLICE("Checksum"), SLICE("abc"), false };
    open_both(&w);
    CHECK(h2_conn_state(w.client) == H2_OPEN && h2_conn_state(w.server) == H2_OPEN);
    struct h2_send_head request = get("/there?x=1");
    request.method = SLICE("POST");
    request.fields = fields;
    request.count = 2;
    ask(&w, &request, false, &c, &s);
    CHECK_OK(h2_stream_head(s, &h));
    CHECK_SLICE(h->method, SLICE("POST"));
    CHECK_SLICE(h->scheme, SLICE("https"));
    CHECK_SLICE(h->authority, SLICE("example.com"));
    CHECK_SLICE(h->path, SLICE("/there?x=1"));
    CHECK(h->count == 2 && !h->ends && !h->has_length && h->fields[1].is_secret);
    CHECK_SLICE(h->fields[0].name, SLICE("x-mixed"));
    CHECK_SLICE(h->fields[0].value, SLICE("Value"));
    CHECK_ERR(ERR_EOF, h2_stream_head(s, &h));
    CHECK_OK(say(&w, c, "up"));
    CHECK(hears(&w, s, "up"));
    stream_finish(h2_stream_body(c));
    turns(&w, 6);
    CHECK_ERR(ERR_EOF, read_result(&w, s));
    CHECK(h2_stream_trailers(s) == NULL);

    CHECK_ERR(ERR_AGAIN, h2_stream_head(c, &h));
    struct h2_send_head early = { .status = 103, .fields = fields, .count = 1 };
    CHECK_OK(h2_stream_respond(s, &early, false));
    struct h2_send_head ok = { .status = 207 };
    CHECK_OK(h2_stream_respond(s, &ok, false));
    CHECK_OK(say(&w, s, "down"));
    CHECK_OK(h2_stream_set_trailers(s, &trailer, 1));
    stream_finish(h2_stream_body(s));
    CHECK(hears(&w, c, "down"));
    CHECK_OK(h2_stream_head(c, &h));
    CHECK(h->status == 103 && h->count == 1);
    CHECK_OK(h2_stream_head(c, &h));
    CHECK(h->status == 207 && h->count == 0);
    CHECK_ERR(ERR_EOF, read_result(&w, c));
    CHECK(h2_stream_trailers(c) != NULL && h2_stream_trailers(c)->count == 1);
    CHECK_SLICE(h2_stream_trailers(c)->fields[0].name, SLICE("checksum"));
    CHECK_SLICE(h2_stream_trailers(c)->fields[0].value, SLICE("abc"));
    stream_release(h2_stream_body(c));
    stream_release(h2_stream_body(s));
    turns(&w, 6);
    struct h2_stats stats;
    h2_conn_stats(w.client, &stats);
    CHECK(stats.streams == 0 && stats.streams_max == 256);
    world_close(&w);
}

TEST(a_hundred_streams_at_once_each_get_their_own_bytes)
{
    struct world w;
    struct h2_stream *c[100], *s[100];
    const struct h2_head *h;
    char path[100][16];
    open_both(&w);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(path[i], sizeof path[i], "/%d", i);
        struct h2_send_head head = get(path[i]);
        CHECK_OK(h2_conn_request(w.client, &head, true, &w.task, &c[i]));
    }
    turns(&w, 10);
    for (int i = 0; i < 100; i++) {
        struct h2_send_head ok = { .status = 200 };
        CHECK_OK(h2_conn_accept(w.server, &w.task, &s[i]));
        CHECK_OK(h2_stream_head(s[i], &h));
        CHECK(h->ends);
        char text[16] = { 0 };
        memcpy(text, h->path.p, h->path.n);
        CHECK_OK(h2_stream_respond(s[i], &ok, false));
        CHECK_OK(say(&w, s[i], text));
        stream_finish(h2_stream_body(s[i]));
    }
    for (int i = 99; i >= 0; i--) {
        CHECK(hears(&w, c[i], path[i]));
        stream_release(h2_stream_body(c[i]));
        stream_release(h2_stream_body(s[i]));
    }
    world_close(&w);
}

/* Writes as much as is taken; returns it. */
static size_t fill(struct world *w, struct h2_stream *s)
{
    size_t total = 0;
    for (;;) {
        struct buf b;
        uint8_t bytes[4096] = { 0 };
        buf_init(&b, loop_chunks(w->loop), sizeof bytes);
        assert_int_equal(buf_put(&b, slice_of(bytes, sizeof bytes)), 0);
        int r = stream_write(h2_stream_body(s), &b);
        total += sizeof bytes - buf_len(&b);
        buf_done(&b);
        turns(w, 4);
        if (r == ERR_AGAIN)
            return total;
        assert_int_equal(r, 0);
    }
}

static size_t drain(struct world *w, struct h2_stream *s)
{
    struct buf b;
    buf_init(&b, loop_chunks(w->loop), 4 << 20);
    for (int i = 0; i < 400; i++) {
        (void)stream_read(h2_stream_body(s), &b, 1 << 16);
        turns(w, 1);
    }
    size_t n = buf_len(&b);
    buf_done(&b);
    return n;
}

TEST(who_does_not_read_stops_the_sender_and_nobody_else)
{
    struct world w;
    struct h2_stream *c, *s, *c2, *s2;
    struct h2_send_head head = get("/"), ok = { .status = 200 };
    open_both(&w);
    ask(&w, &head, false, &c, &s);
    ask(&w, &head, false, &c2, &s2);
    CHECK_OK(h2_stream_respond(s, &ok, false));
    size_t up = fill(&w, c), down = fill(&w, s);
    /* One window at the reader and one buffer at the writer. */
    size_t both = H2_STREAM_WINDOW_BYTES + STREAM_SEND_BYTES_MAX;
    CHECK(up == both && down == both);
    CHECK_OK(say(&w, c2, "others go on"));
    CHECK(hears(&w, s2, "others go on"));
    CHECK(drain(&w, s) == up);
    CHECK(drain(&w, c) == down);
    CHECK(fill(&w, c) == up);
    /* The end comes behind the last byte, however much is queued before it. */
    stream_finish(h2_stream_body(c));
    CHECK(drain(&w, s) == up);
    CHECK_ERR(ERR_EOF, read_result(&w, s));
    stream_release(h2_stream_body(c));
    stream_release(h2_stream_body(s));
    stream_release(h2_stream_body(c2));
    stream_release(h2_stream_body(s2));
    world_close(&w);
}

TEST(no_more_streams_are_opened_than_the_peer_takes)
{
    struct world w;
    struct h2_stream *c[2], *s[2], *more = NULL;
    struct h2_conf server = { .is_server = true, .streams_max = 2 };
    struct h2_send_head head = get("/"), ok = { .status = 204 };
    CHECK_OK(world_open(&w, &CLIENT, &server, 1 << 20));
    turns(&w, 6);
    ask(&w, &head, true, &c[0], &s[0]);
    ask(&w, &head, true, &c[1], &s[1]);
    CHECK_ERR(ERR_AGAIN, h2_conn_request(w.client, &head, true, &w.task, &more));
    CHECK_OK(h2_stream_respond(s[0], &ok, true));
    turns(&w, 6);
    CHECK_OK(h2_conn_request(w.client, &head, true, &w.task, &more));
    stream_release(h2_stream_body(more));
    for (int i = 0; i < 2; i++) {
        stream_release(h2_stream_body(c[i]));
        stream_release(h2_stream_body(s[i]));
    }
    world_close(&w);
}

/* The stream below takes little, and far more waits than one turn's frames may hold. */
TEST(many_streams_with_much_to_send_share_a_narrow_way)
{
    enum { COUNT = 60 };
    const struct h2_conf wide = { .conn_window = 1 << 26, .stream_window = 1 << 20 };
    struct h2_conf server = wide;
    server.is_server = true;
    struct world w;
    struct h2_stream *c[COUNT], *s[COUNT];
    struct h2_send_head head = get("/");
    static uint8_t bytes[STREAM_SEND_BYTES_MAX];
    size_t got[COUNT] = { 0 }, ended = 0;
    CHECK_OK(world_open(&w, &wide, &server, 2000));
    turns(&w, 200);
    for (int i = 0; i < COUNT; i++) {
        struct buf b;
        CHECK_OK(h2_conn_request(w.client, &head, false, &w.task, &c[i]));
        buf_init(&b, loop_chunks(w.loop), sizeof bytes);
        CHECK_OK(buf_put(&b, slice_of(bytes, sizeof bytes)));
        CHECK_OK(stream_write(h2_stream_body(c[i]), &b));
        buf_done(&b);
        stream_finish(h2_stream_body(c[i]));
    }
    for (int i = 0; i < COUNT; i++)
        UNTIL(w.loop, h2_conn_accept(w.server, &w.task, &s[i]) == 0);
    while (ended < COUNT) {
        loop_turn(w.loop, 0);
        CHECK(h2_conn_state(w.client) == H2_OPEN);
        for (int i = 0; i < COUNT; i++) {
            int r = stream_read(h2_stream_body(s[i]), &w.bytes, sizeof bytes);
            got[i] += buf_len(&w.bytes);
            buf_drop(&w.bytes, buf_len(&w.bytes));
            ended += r == ERR_EOF && got[i] == sizeof bytes ? 1 : 0;
            got[i] += r == ERR_EOF; /* counted once */
        }
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK(got[i] > sizeof bytes);
        stream_release(h2_stream_body(c[i]));
        stream_release(h2_stream_body(s[i]));
    }
    world_close(&w);
}

TEST(a_reset_reaches_the_other_side_with_its_reason)
{
    struct world w;
    struct h2_stream *c, *s;
    struct h2_send_head head = get("/");
    open_both(&w);
    ask(&w, &head, false, &c, &s);
    stream_abort(h2_stream_body(c), ERR_TIMEOUT);
    turns(&w, 6);
    CHECK_ERR(ERR_RESET, read_result(&w, s));
    CHECK(h2_stream_code(s) == H2_CANCEL);
    CHECK_ERR(ERR_TIMEOUT, read_result(&w, c));
    stream_release(h2_stream_body(c));
    stream_release(h2_stream_body(s));
    ask(&w, &head, false, &c, &s);
    h2_stream_reset(s, H2_REFUSED_STREAM);
    turns(&w, 6);
    CHECK_ERR(ERR_BUSY, read_result(&w, c));
    CHECK(h2_stream_was_refused(c));
    stream_release(h2_stream_body(c));
    stream_release(h2_stream_body(s));
    /* One that was never sent. */
    CHECK_OK(h2_conn_request(w.client, &head, false, &w.task, &c));
    stream_release(h2_stream_body(c));
    turns(&w, 6);
    struct h2_stats stats;
    h2_conn_stats(w.client, &stats);
    CHECK(stats.streams == 0);
    world_close(&w);
}

TEST(a_response_that_is_complete_ends_the_upload_without_an_error)
{
    struct world w;
    struct h2_stream *c, *s;
    const struct h2_head *h;
    struct h2_send_head head = get("/"), no = { .status = 403 };
    open_both(&w);
    ask(&w, &head, false, &c, &s);
    CHECK_OK(h2_stream_respond(s, &no, false));
    CHECK_OK(say(&w, s, "enough"));
    stream_finish(h2_stream_body(s));
    stream_release(h2_stream_body(s));
    CHECK(hears(&w, c, "enough"));
    CHECK_OK(h2_stream_head(c, &h));
    CHECK_ERR(ERR_EOF, read_result(&w, c));
    CHECK(h2_stream_code(c) == H2_NO_ERROR);
    CHECK(say(&w, c, "more") < 0);
    stream_release(h2_stream_body(c));
    world_close(&w);
}

TEST(a_server_that_drains_serves_what_is_open_and_then_closes)
{
    struct world w;
    struct h2_stream *c, *s, *more;
    struct h2_send_head head = get("/"), ok = { .status = 200 };
    struct h2_why why;
    open_both(&w);
    ask(&w, &head, true, &c, &s);
    h2_conn_drain(w.server);
    turns(&w, 12);
    CHECK(h2_conn_state(w.server) == H2_DRAINING && h2_conn_state(w.client) == H2_DRAINING);
    CHECK_ERR(ERR_CLOSED, h2_conn_request(w.client, &head, true, &w.task, &more));
    CHECK_OK(h2_stream_respond(s, &ok, false));
    CHECK_OK(say(&w, s, "last"));
    stream_finish(h2_stream_body(s));
    CHECK(hears(&w, c, "last"));
    stream_release(h2_stream_body(c));
    stream_release(h2_stream_body(s));
    turns(&w, 12);
    CHECK(h2_conn_state(w.server) == H2_CLOSED && h2_conn_state(w.client) == H2_CLOSED);
    h2_conn_why(w.client, &why);
    CHECK(why.err == ERR_CLOSED && why.code == H2_NO_ERROR);
    world_close(&w);
}

TEST(a_connection_that_breaks_off_ends_its_streams)
{
    struct world w;
    struct h2_stream *c, *s;
    struct h2_send_head head = get("/");
    struct h2_why why;
    open_both(&w);
    ask(&w, &head, false, &c, &s);
    h2_conn_close(w.server, H2_INTERNAL_ERROR);
    turns(&w, 10);
    CHECK_ERR(ERR_CLOSED, read_result(&w, s));
    CHECK(read_result(&w, c) < 0 && read_result(&w, c) != ERR_AGAIN);
    CHECK(h2_conn_state(w.client) == H2_CLOSED);
    h2_conn_why(w.client, &why);
    CHECK(why.is_peers && why.code == H2_INTERNAL_ERROR);
    CHECK(say(&w, c, "x") < 0);
    stream_release(h2_stream_body(c));
    stream_release(h2_stream_body(s));
    world_close(&w);
}

TEST(a_ping_measures_the_round_trip)
{
    struct world w;
    struct h2_stats stats;
    open_both(&w);
    h2_conn_ping(w.client);
    turns(&w, 6);
    h2_conn_stats(w.client, &stats);
    CHECK(stats.rtt > 0);
    world_close(&w);
}

static bool has_closed(struct h2_conn *c, int err)
{
    struct h2_why why;
    h2_conn_why(c, &why);
    return h2_conn_state(c) == H2_CLOSED && why.err == err;
}

TEST(a_peer_that_says_nothing_is_given_up)
{
    struct world w;
    struct h2_conf hasty = { .settings = NSEC_PER_MSEC };
    CHECK_OK(world_open(&w, &hasty, NULL, 1 << 20));
    UNTIL(w.loop, has_closed(w.client, ERR_TIMEOUT));
    world_close(&w);
    struct h2_conf asking = { .keepalive = NSEC_PER_MSEC, .pong = NSEC_PER_MSEC };
    CHECK_OK(world_open(&w, &asking, NULL, 1 << 20));
    UNTIL(w.loop, has_closed(w.client, ERR_TIMEOUT));
    world_close(&w);
    /* The same peer, alive. */
    asking.pong = 5 * NSEC_PER_SEC;
    CHECK_OK(world_open(&w, &asking, &SERVER, 1 << 20));
    struct h2_stats stats = { 0 };
    UNTIL(w.loop, (h2_conn_stats(w.client, &stats), stats.rtt > 0));
    CHECK(h2_conn_state(w.client) == H2_OPEN);
    world_close(&w);
}

static nsec silent_since(const struct world *w)
{
    struct h2_stats stats;
    h2_conn_stats(w->client, &stats);
    return stats.silent_since;
}

/* A peer that is stopped between two frames: what came after our PING answers nothing. */
TEST(a_peer_that_says_something_and_then_nothing_is_given_up_too)
{
    static const uint8_t SETTINGS[] = { 0, 0, 0, 4, 0, 0, 0, 0, 0 };
    static const uint8_t PING[] = { 0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 };
    struct h2_conf asking = { .keepalive = 3600 * NSEC_PER_SEC, .pong = 50 * NSEC_PER_MSEC };
    struct world w;
    CHECK_OK(world_open(&w, &asking, NULL, 1 << 20));
    CHECK_OK(buf_put(&w.bytes, slice_of(SETTINGS, sizeof SETTINGS)));
    CHECK_OK(stream_write(w.raw, &w.bytes));
    UNTIL(w.loop, h2_conn_state(w.client) == H2_OPEN);
    CHECK(silent_since(&w) == 0);
    h2_conn_ping(w.client);
    nsec asked = silent_since(&w);
    CHECK(asked > 0);
    loop_turn(w.loop, 2);
    CHECK_OK(buf_put(&w.bytes, slice_of(PING, sizeof PING)));
    CHECK_OK(stream_write(w.raw, &w.bytes));
    UNTIL(w.loop, silent_since(&w) > asked);
    UNTIL(w.loop, has_closed(w.client, ERR_TIMEOUT));
    CHECK(silent_since(&w) > 0);
    world_close(&w);
}

TESTS(RUN(a_request_and_its_response_arrive_with_bodies_and_trailers),
      RUN(a_hundred_streams_at_once_each_get_their_own_bytes),
      RUN(who_does_not_read_stops_the_sender_and_nobody_else),
      RUN(no_more_streams_are_opened_than_the_peer_takes),
      RUN(many_streams_with_much_to_send_share_a_narrow_way),
      RUN(a_reset_reaches_the_other_side_with_its_reason),
      RUN(a_response_that_is_complete_ends_the_upload_without_an_error),
      RUN(a_server_that_drains_serves_what_is_open_and_then_closes),
      RUN(a_connection_that_breaks_off_ends_its_streams), RUN(a_ping_measures_the_round_trip),
      RUN(a_peer_that_says_nothing_is_given_up),
      RUN(a_peer_that_says_something_and_then_nothing_is_given_up_too))
