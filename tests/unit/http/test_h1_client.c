#include "http/h1_client.h"

#include "base/limits.h"
#include "net/pipe.h"
#include "net/sockets.h"

#define SENT_BYTES_MAX (1 << 16)

/* An exchange whose right side is the codec under test; the other end of its pipe is the origin,
 * and the left side is the test. */
struct call {
    struct loop *loop;
    struct task left, right;
    unsigned left_wakes;
    struct exchange *ex;
    struct stream *stream, *origin; /* the codec's end; the origin's */
    struct h1_client client;
    int end;                   /* of h1_client_run: ERR_AGAIN while it goes on */
    char sent[SENT_BYTES_MAX]; /* what the origin got */
    size_t sent_n;
    int sent_end;
};

static void left_run(struct task *t)
{
    container_of(t, struct call, left)->left_wakes++;
}

static void right_run(struct task *t)
{
    struct call *c = container_of(t, struct call, right);
    if (c->end == ERR_AGAIN)
        c->end = h1_client_run(&c->client);
}

struct ask {
    const char *method;
    enum framing framing;
    uint64_t length;
    enum upgrade upgrade;
    bool expects_continue, no_chunked;
    size_t window;
};

static void call_open(struct call *c, const struct ask *ask)
{
    struct h1_request_opts opts = { .no_chunked = ask->no_chunked };
    memset(c, 0, sizeof *c);
    assert_int_equal(loop_new(&c->loop), 0);
    task_init(&c->left, c->loop, left_run);
    task_init(&c->right, c->loop, right_run);
    c->ex = exchange_new(c->loop, &c->left);
    c->ex->request.method = slice_str(ask->method != NULL ? ask->method : "GET");
    c->ex->request.host = SLICE("origin");
    c->ex->request.target = SLICE("/x");
    c->ex->request.framing = ask->framing;
    c->ex->request.has_length = ask->framing == FRAMING_LENGTH;
    c->ex->request.length = ask->length;
    c->ex->request.upgrade = ask->upgrade;
    c->ex->request.expects_continue = ask->expects_continue;
    if (ask->expects_continue)
        assert_int_equal(fields_add(&c->ex->request.fields, SLICE("Expect"), SLICE("100-continue")),
                         0);
    if (ask->framing == FRAMING_NONE && ask->upgrade == UPGRADE_NONE)
        body_end(&c->ex->up);
    exchange_attach(c->ex, &c->right);
    assert_int_equal(
        pipe_new(c->loop, ask->window > 0 ? ask->window : 1 << 20, &c->stream, &c->origin), 0);
    c->end = ERR_AGAIN;
    assert_int_equal(h1_client_init(&c->client, c->ex, c->stream, &c->right, &opts), 0);
    task_wake(&c->right);
}

/* Turns until nothing moves, collecting what the origin gets. */
static void call_turn(struct call *c)
{
    struct buf in;
    buf_init(&in, loop_chunks(c->loop), SENT_BYTES_MAX);
    for (int i = 0; i < 6; i++) {
        loop_turn(c->loop, 0);
        while (c->origin != NULL && c->sent_n < SENT_BYTES_MAX - 1 &&
               (c->sent_end = stream_read(c->origin, &in, SENT_BYTES_MAX - 1 - c->sent_n)) == 0) {
            c->sent_n += buf_copy(&in, 0, c->sent + c->sent_n, SENT_BYTES_MAX - 1 - c->sent_n);
            buf_drop(&in, SIZE_MAX);
        }
    }
    c->sent[c->sent_n] = 0;
    buf_done(&in);
}

static void answer(struct call *c, const char *text)
{
    say(c->loop, c->origin, text);
    call_turn(c);
}

static void upload(struct call *c, const char *text)
{
    struct buf b;
    buf_init(&b, loop_chunks(c->loop), 1 << 16);
    assert_int_equal(buf_put(&b, slice_str(text)), 0);
    assert_int_equal(body_put(&c->ex->up, &b, SIZE_MAX), strlen(text));
    buf_done(&b);
    exchange_wake_right(c->ex);
    call_turn(c);
}

static void call_close(struct call *c)
{
    h1_client_done(&c->client);
    stream_release(c->stream);
    stream_release(c->origin);
    exchange_leave(c->ex, EX_RIGHT);
    exchange_leave(c->ex, EX_LEFT);
    task_done(&c->left);
    task_done(&c->right);
    loop_turn(c->loop, 0);
    loop_free(c->loop);
}

/* ---- requests ---- */

TEST(a_request_without_a_body_is_sent_at_once)
{
    struct call c;
    call_open(&c, &(struct ask){ 0 });
    call_turn(&c);
    assert_string_equal(c.sent,
                        "GET /x HTTP/1.1\r\nHost: origin\r\nConnection: keep-alive\r\n\r\n");
    CHECK(c.end == ERR_AGAIN && c.sent_end == ERR_AGAIN && h1_client_is_fresh(&c.client));
    call_close(&c);
}

TEST(bodies_go_with_their_framing)
{
    static const struct {
        struct ask ask;
        const char *framing, *body;
    } TABLE[] = {
        { { "POST", FRAMING_LENGTH, 8 }, "Content-Length: 8\r\n", "\r\n\r\nonetwo!!" },
        { { "POST", FRAMING_STREAM },
          "Transfer-Encoding: chunked\r\n",
          "\r\n\r\n3\r\none\r\n5\r\ntwo!!\r\n0\r\n\r\n" },
        { { "POST", FRAMING_STREAM, .no_chunked = true }, "", "\r\n\r\nonetwo!!" },
    };
    for (size_t i = 0; i < 3; i++) {
        struct call c;
        call_open(&c, &TABLE[i].ask);
        call_turn(&c);
        CHECK(strstr(c.sent, TABLE[i].framing) != NULL);
        upload(&c, "one");
        upload(&c, "two!!");
        body_end(&c.ex->up);
        exchange_wake_right(c.ex);
        call_turn(&c);
        if (strstr(c.sent, TABLE[i].body) == NULL)
            fail_msg("%s", c.sent);
        CHECK(!h1_client_is_fresh(&c.client));
        call_close(&c);
    }
}

/* ---- responses, in pieces of every size ---- */

static const struct reply {
    const char *method, *text;
    bool is_closed;   /* the origin ends its direction behind it */
    const char *want; /* "end status body trailers reusable" */
} REPLIES[] = {
    { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, "ok 200 hello reusable" },
    { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, "ok 200  reusable" },
    { "GET", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", false, "ok 200 hi reusable" },
    { "GET",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
      false, "ok 200 abcde reusable" },
    { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-T: v\r\n\r\n",
      false, "ok 200 x X-T=v reusable" },
    { "GET", "HTTP/1.1 200 OK\r\n\r\nuntil the end", true, "ok 200 until the end" },
    { "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, "ok 200 hi" },
    { "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", true,
      "ok 200 hi" },
    { "GET", "HTTP/1.1 204 No Content\r\n\r\n", false, "ok 204  reusable" },
    { "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, "ok 304  reusable" },
    { "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, "ok 200  reusable" },
    { "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, "ok 200  reusable" },
    { "GET",
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
      "2\r\n\r\nhi",
      false, "ok 200 hi reusable" },
    /* broken off */
    { "GET", "", true, "cut" },
    { "GET", "HTTP/1.1 200 OK\r\nContent-Le", true, "cut" },
    { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", true, "cut 200 hello" },
    { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", true, "cut 200 hel" },
    { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", true,
      "cut 200 hel" },
    { "GET", "HTTP/1.1 103 Early Hints\r\n\r\n", true, "cut" },
    /* refused */
    { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      false, "proto" },
    { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", false,
      "proto" },
    { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, "proto" },
    { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, "proto 200" },
    { "GET",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
      false, "proto" },
    { "GET", "SSH-2.0-OpenSSH_9.2\r\n", false, "proto" },
    { "GET", "HTTP/1.1 99 Low\r\n\r\n", false, "proto" },
    { "GET", "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n", false, "proto" },
};

/* What became of it, in words; `step` bytes of the reply at once. */
static char *outcome(const struct reply *r, size_t step, char *text)
{
    struct call c;
    size_t n = strlen(r->text);
    call_open(&c, &(struct ask){ .method = r->method });
    for (size_t at = 0; at < n; at += step) {
        char piece[512];
        (void)snprintf(piece, sizeof piece, "%.*s", (int)(at + step < n ? step : n - at),
                       r->text + at);
        say(c.loop, c.origin, piece);
        loop_turn(c.loop, 0);
        loop_turn(c.loop, 0);
    }
    if (r->is_closed)
        stream_finish(c.origin);
    call_turn(&c);
    char body[200];
    size_t got = buf_copy(&c.ex->down.held, 0, body, sizeof body - 1);
    body[got] = 0;
    int at = sprintf(text, "%s",
                     c.end == 0           ? "ok"
                     : c.end == ERR_CUT   ? "cut"
                     : c.end == ERR_PROTO ? "proto"
                                          : err_name(c.end));
    bool has_words = c.end != ERR_PROTO || c.client.text != NULL;
    assert_true(has_words);
    if (c.ex->response != NULL && c.end == ERR_PROTO)
        at += sprintf(text + at, " %u", c.ex->response->status);
    else if (c.ex->response != NULL)
        at += sprintf(text + at, " %u %s", c.ex->response->status, body);
    for (size_t i = 0; c.ex->down_trailers != NULL && i < c.ex->down_trailers->count; i++)
        at += sprintf(text + at, " %.*s=%.*s", SLICE_FMT(c.ex->down_trailers->lines[i].name),
                      SLICE_FMT(c.ex->down_trailers->lines[i].value));
    assert_true(c.end != 0 || c.ex->down.ended);
    if (c.end == 0 && c.client.is_reusable)
        (void)sprintf(text + at, " reusable");
    call_close(&c);
    return text;
}

TEST(every_way_of_cutting_a_response_into_pieces_has_the_same_outcome)
{
    char text[1024];
    for (size_t i = 0; i < sizeof REPLIES / sizeof REPLIES[0]; i++) {
        size_t n = strlen(REPLIES[i].text);
        for (size_t step = n + 1; step > 0; step = step > n ? n : step > 8 ? step - 7 : step - 1) {
            if (strcmp(outcome(&REPLIES[i], step, text), REPLIES[i].want) != 0)
                fail_msg("%s\nin pieces of %zu: \"%s\", wanted \"%s\"", REPLIES[i].text, step, text,
                         REPLIES[i].want);
        }
    }
    (void)state_;
}

TEST(what_comes_behind_a_response_spoils_the_connection)
{
    struct call c;
    call_open(&c, &(struct ask){ 0 });
    answer(&c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n");
    CHECK(c.end == 0 && !c.client.is_reusable);
    CHECK(buf_len(&c.ex->down.held) == 2);
    call_close(&c);
}

TEST(interim_responses_are_passed_on_and_bounded)
{
    struct call c;
    call_open(&c, &(struct ask){ 0 });
    answer(&c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    CHECK(c.ex->interim != NULL && c.ex->interim->status == 103);
    CHECK_SLICE(fields_get(&c.ex->interim->fields, SLICE("link"))->value, SLICE("</a>"));
    for (int i = 0; i < INTERIM_COUNT_MAX; i++)
        answer(&c, "HTTP/1.1 102 Processing\r\n\r\n");
    CHECK_ERR(ERR_LIMIT, c.end);
    call_close(&c);
}

/* ---- Expect ---- */

static const struct ask EXPECTS = { "POST", FRAMING_LENGTH, 4, .expects_continue = true };

TEST(a_body_waits_for_the_hundred)
{
    struct call c;
    call_open(&c, &EXPECTS);
    upload(&c, "body");
    CHECK(strstr(c.sent, "Expect: 100-continue\r\n") != NULL && strstr(c.sent, "body") == NULL);
    CHECK(!c.ex->wants_body);
    answer(&c, "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(strstr(c.sent, "\r\n\r\nbody") != NULL && c.ex->wants_body);
    CHECK(c.ex->interim != NULL && c.ex->interim->status == 100);
    call_close(&c);
}

TEST(a_body_goes_without_a_hundred_after_a_while)
{
    struct call c;
    call_open(&c, &EXPECTS);
    upload(&c, "body");
    UNTIL(c.loop, c.ex->wants_body);
    call_turn(&c);
    CHECK(strstr(c.sent, "\r\n\r\nbody") != NULL);
    call_close(&c);
}

TEST(a_final_response_instead_of_a_hundred_is_the_answer)
{
    struct call c;
    call_open(&c, &EXPECTS);
    answer(&c, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    CHECK(c.end == 0 && c.ex->response->status == 417 && !c.client.is_reusable);
    CHECK(strstr(c.sent, "body") == NULL);
    call_close(&c);
}

/* ---- upgrades ---- */

static const struct ask WEBSOCKET = { .upgrade = UPGRADE_WEBSOCKET };

TEST(an_upgraded_exchange_is_bytes_both_ways)
{
    struct call c;
    call_open(&c, &WEBSOCKET);
    call_turn(&c);
    CHECK(strstr(c.sent, "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n") != NULL);
    answer(&c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
               "websocket\r\nSec-WebSocket-Accept: x\r\n\r\nfirst");
    CHECK(c.ex->is_upgraded && buf_len(&c.ex->down.held) == 5);
    upload(&c, "up");
    CHECK(strcmp(c.sent + c.sent_n - 2, "up") == 0);
    body_end(&c.ex->up); /* half-close */
    exchange_wake_right(c.ex);
    call_turn(&c);
    CHECK(c.sent_end == ERR_EOF && c.end == ERR_AGAIN);
    answer(&c, " and last");
    stream_finish(c.origin);
    call_turn(&c);
    CHECK(c.end == 0 && buf_len(&c.ex->down.held) == 14 && !c.client.is_reusable);
    call_close(&c);
}

TEST(a_refused_upgrade_is_a_response)
{
    struct call c;
    call_open(&c, &WEBSOCKET);
    answer(&c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    CHECK(c.end == 0 && c.ex->response->status == 403 && !c.ex->is_upgraded);
    CHECK(c.ex->response->framing == FRAMING_LENGTH);
    call_close(&c);
}

/* ---- origins that answer early, go, or stall ---- */

static const struct ask UPLOAD = { "POST", FRAMING_LENGTH, 1000 };

TEST(an_answer_during_the_upload_ends_the_exchange_and_spoils_the_connection)
{
    struct call c;
    call_open(&c, &UPLOAD);
    upload(&c, "a beginning");
    answer(&c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    CHECK(c.end == 0 && c.ex->response->status == 413 && !c.client.is_reusable);
    call_close(&c);
}

TEST(an_answer_is_read_although_the_origin_stopped_reading)
{
    struct call c;
    call_open(&c, &UPLOAD);
    upload(&c, "a beginning");
    say(c.loop, c.origin, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    stream_finish(c.origin);
    stream_release(c.origin); /* unread bytes: writes fail from now on */
    c.origin = NULL;
    upload(&c, "more");
    CHECK(c.end == 0 && c.ex->response->status == 413 && buf_len(&c.ex->down.held) == 2);
    call_close(&c);
}

static int deaf_write(struct stream *s, struct buf *from)
{
    (void)s;
    (void)from;
    return ERR_RESET;
}

TEST(an_answer_is_waited_for_although_nothing_can_be_written_any_more)
{
    struct call c;
    call_open(&c, &UPLOAD);
    upload(&c, "a beginning");
    const struct stream_ops *ops = c.stream->ops;
    struct stream_ops deaf = *ops;
    deaf.write = deaf_write;
    c.stream->ops = &deaf;
    upload(&c, "more");
    CHECK(c.end == ERR_AGAIN);
    answer(&c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    CHECK(c.end == 0 && c.ex->response->status == 413);
    c.stream->ops = ops;
    call_close(&c);
}

TEST(a_pooled_connection_that_had_ended_is_told_from_an_origin_that_fails)
{
    for (int is_reset = 0; is_reset < 2; is_reset++) {
        struct call c;
        call_open(&c, &(struct ask){ 0 });
        if (is_reset == 0)
            stream_finish(c.origin);
        else
            stream_abort(c.origin, ERR_CLOSED);
        call_turn(&c);
        CHECK_ERR(is_reset == 0 ? ERR_CUT : ERR_RESET, c.end);
        CHECK(h1_client_is_fresh(&c.client)); /* nothing is lost: it may go on another */
        call_close(&c);
    }
    struct call c;
    call_open(&c, &UPLOAD);
    upload(&c, "taken");
    stream_abort(c.origin, ERR_CLOSED);
    call_turn(&c);
    CHECK_ERR(ERR_RESET, c.end);
    CHECK(!h1_client_is_fresh(&c.client)); /* a part of the body is gone */
    call_close(&c);
    call_open(&c, &(struct ask){ 0 });
    answer(&c, "H");
    stream_abort(c.origin, ERR_CLOSED);
    call_turn(&c);
    CHECK(c.end < 0 && !h1_client_is_fresh(&c.client)); /* it had begun to answer */
    call_close(&c);
}

TEST(a_left_side_that_takes_nothing_stops_the_origin)
{
    struct call c;
    struct buf body;
    size_t put = 0, seen = 0;
    call_open(&c, &(struct ask){ .window = 10000 });
    answer(&c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    buf_init(&body, loop_chunks(c.loop), 1 << 20);
    pattern_put(&body, &put, 1000000);
    for (int i = 0; i < 200; i++) {
        (void)!stream_write(c.origin, &body);
        call_turn(&c);
    }
    CHECK(buf_len(&c.ex->down.held) == BODY_BYTES_MAX);
    CHECK(1000000 - buf_len(&body) < BODY_BYTES_MAX + 2 * READ_STEP_BYTES + 10000 + 1);
    while (c.end == ERR_AGAIN || !buf_is_empty(&c.ex->down.held)) {
        pattern_take(&c.ex->down.held, &seen);
        exchange_wake_right(c.ex);
        (void)!stream_write(c.origin, &body);
        call_turn(&c);
    }
    CHECK(c.end == 0 && seen == 1000000);
    buf_done(&body);
    call_close(&c);
}

TEST(an_origin_that_takes_nothing_stops_the_left_side)
{
    struct call c;
    struct buf body;
    size_t put = 0;
    call_open(&c, &(struct ask){ "POST", FRAMING_STREAM, .window = 1000 });
    c.sent_n = SENT_BYTES_MAX - 1; /* the origin reads nothing */
    buf_init(&body, loop_chunks(c.loop), 2 << 20);
    pattern_put(&body, &put, 2 << 20);
    for (int i = 0; i < 50; i++) {
        (void)body_put(&c.ex->up, &body, SIZE_MAX);
        exchange_wake_right(c.ex);
        loop_turn(c.loop, 0);
    }
    CHECK(body_room(&c.ex->up) == 0);
    CHECK((2 << 20) - buf_len(&body) < 2 * BODY_BYTES_MAX + HEAD_BYTES_MAX + 8192);
    buf_done(&body);
    call_close(&c);
}

TEST(a_head_without_end_is_refused_within_bounds)
{
    struct call c;
    char line[1000];
    call_open(&c, &(struct ask){ 0 });
    memset(line, 'a', sizeof line);
    memcpy(line, "X-Filler: ", 10);
    memcpy(line + sizeof line - 3, "\r\n", 3);
    say(c.loop, c.origin, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 300 && c.end == ERR_AGAIN; i++)
        answer(&c, line);
    CHECK_ERR(ERR_PROTO, c.end);
    CHECK(c.client.text != NULL);
    call_close(&c);
}

TESTS(RUN(a_request_without_a_body_is_sent_at_once), RUN(bodies_go_with_their_framing),
      RUN(every_way_of_cutting_a_response_into_pieces_has_the_same_outcome),
      RUN(what_comes_behind_a_response_spoils_the_connection),
      RUN(interim_responses_are_passed_on_and_bounded), RUN(a_body_waits_for_the_hundred),
      RUN(a_body_goes_without_a_hundred_after_a_while),
      RUN(a_final_response_instead_of_a_hundred_is_the_answer),
      RUN(an_upgraded_exchange_is_bytes_both_ways), RUN(a_refused_upgrade_is_a_response),
      RUN(an_answer_during_the_upload_ends_the_exchange_and_spoils_the_connection),
      RUN(an_answer_is_read_although_the_origin_stopped_reading),
      RUN(an_answer_is_waited_for_although_nothing_can_be_written_any_more),
      RUN(a_pooled_connection_that_had_ended_is_told_from_an_origin_that_fails),
      RUN(a_left_side_that_takes_nothing_stops_the_origin),
      RUN(an_origin_that_takes_nothing_stops_the_left_side),
      RUN(a_head_without_end_is_refused_within_bounds))
