#include "http/h1_head.h"

#include "net/turn.h"

/* Heads as they are written, and read back. */
struct desk {
    struct loop *loop;
    struct task task;
    struct exchange *ex;
    struct buf buf;
    char text[1 << 17];
};

static void desk_open(struct desk *d)
{
    memset(d, 0, sizeof *d);
    assert_int_equal(loop_new(&d->loop), 0);
    task_init(&d->task, d->loop, do_nothing);
    d->ex = exchange_new(d->loop, &d->task);
    buf_init(&d->buf, loop_chunks(d->loop), 1 << 18);
}

static void desk_close(struct desk *d)
{
    exchange_leave(d->ex, EX_LEFT);
    buf_done(&d->buf);
    task_done(&d->task);
    loop_turn(d->loop, 0);
    loop_free(d->loop);
}

static const char *written(struct desk *d)
{
    size_t n = buf_copy(&d->buf, 0, d->text, sizeof d->text - 1);
    d->text[n] = 0;
    buf_drop(&d->buf, SIZE_MAX);
    return d->text;
}

static int read_request(struct desk *d, const char *text, struct h1_request_info *info,
                        struct h1_refusal *refusal)
{
    struct http1_scan scan = { 0 };
    assert_int_equal(buf_put(&d->buf, slice_str(text)), 0);
    return h1_read_request(&d->buf, 0, &scan, d->ex, info, refusal);
}

TEST(a_request_is_read_without_what_belongs_to_its_hop)
{
    static struct desk d;
    struct h1_request_info info;
    struct h1_refusal refusal;
    desk_open(&d);
    CHECK_OK(read_request(&d,
                          "POST /p?q HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\nX-Keep: a\r\n"
                          "Connection: X-Drop, keep-alive\r\nX-Drop: b\r\nKeep-Alive: 5\r\n"
                          "Proxy-Connection: x\r\nTE: trailers\r\nx-keep: c\r\n\r\nabc",
                          &info, &refusal));
    const struct request *q = &d.ex->request;
    CHECK_SLICE(q->method, SLICE("POST"));
    CHECK_SLICE(q->host, SLICE("h:1"));
    CHECK_SLICE(q->target, SLICE("/p?q"));
    CHECK(q->framing == FRAMING_LENGTH && q->length == 3 && info.keeps_alive && !info.is_1_0);
    CHECK(fields_count(&q->fields, SLICE("X-Keep")) == 2);
    CHECK(fields_get(&q->fields, SLICE("x-drop")) == NULL);
    CHECK(fields_get(&q->fields, SLICE("connection")) == NULL);
    CHECK(fields_get(&q->fields, SLICE("keep-alive")) == NULL);
    CHECK(fields_get(&q->fields, SLICE("host")) == NULL);
    CHECK(fields_get(&q->fields, SLICE("content-length")) == NULL);
    CHECK_SLICE(fields_get(&q->fields, SLICE("te"))->value, SLICE("trailers"));
    CHECK_SLICE(buf_front(&d.buf), SLICE("abc")); /* the body is left alone */
    desk_close(&d);
}

TEST(an_absolute_target_names_the_host_and_no_other_may_be_said)
{
    static struct desk d;
    struct h1_request_info info;
    struct h1_refusal refusal;
    desk_open(&d);
    CHECK(read_request(&d, "GET http://real:8/x HTTP/1.1\r\nHost: forged\r\n\r\n", &info,
                       &refusal) < 0);
    CHECK(refusal.status == 400);
    buf_drop(&d.buf, SIZE_MAX);
    CHECK_OK(
        read_request(&d, "GET http://real:8/x HTTP/1.1\r\nHost: REAL:8\r\n\r\n", &info, &refusal));
    CHECK_SLICE(d.ex->request.host, SLICE("real:8"));
    CHECK_SLICE(d.ex->request.target, SLICE("/x"));
    desk_close(&d);
}

TEST(connect_and_upgrades_are_told_apart)
{
    static struct desk d;
    struct h1_request_info info;
    struct h1_refusal refusal;
    desk_open(&d);
    CHECK_OK(read_request(&d, "CONNECT a:22 HTTP/1.1\r\nHost: a:22\r\n\r\n", &info, &refusal));
    CHECK(d.ex->request.upgrade == UPGRADE_CONNECT);
    CHECK_SLICE(d.ex->request.target, SLICE("a:22"));
    desk_close(&d);
    desk_open(&d);
    CHECK_OK(read_request(&d,
                          "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, "
                          "Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: "
                          "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                          &info, &refusal));
    CHECK(d.ex->request.upgrade == UPGRADE_WEBSOCKET);
    desk_close(&d);
    desk_open(&d);
    CHECK_OK(
        read_request(&d, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
                     &info, &refusal));
    CHECK(d.ex->request.upgrade == UPGRADE_NONE);
    desk_close(&d);
}

TEST(a_refusal_has_a_status_and_words)
{
    static struct desk d;
    struct h1_request_info info;
    struct h1_refusal refusal = { 0 };
    desk_open(&d);
    CHECK(read_request(&d, "GET / HTTP/3.0\r\nHost: h\r\n\r\n", &info, &refusal) < 0);
    CHECK(refusal.status == 505 && refusal.text[0] != 0);
    desk_close(&d);
}

TEST(a_response_is_written_with_our_framing_whatever_its_fields_say)
{
    static struct desk d;
    struct h1_response_opts opts = { .keeps_alive = true };
    desk_open(&d);
    struct response *r = response_new(d.ex, 200);
    r->framing = FRAMING_STREAM;
    static const char *const FORGED[][2] = {
        { "Content-Length", "5" },      { "Transfer-Encoding", "gzip" },
        { "Connection", "X-Hop" },      { "X-Hop", "gone" },
        { "Keep-Alive", "1" },          { "X-End", "kept" },
        { "Proxy-Authenticate", "pa" },
    };
    for (size_t i = 0; i < sizeof FORGED / sizeof FORGED[0]; i++)
        CHECK_OK(fields_add(&r->fields, slice_str(FORGED[i][0]), slice_str(FORGED[i][1])));
    CHECK_OK(h1_write_response(&d.buf, r, &opts));
    (void)state_;
    assert_string_equal(written(&d), "HTTP/1.1 200 OK\r\nX-End: kept\r\nProxy-Authenticate: pa\r\n"
                                     "Transfer-Encoding: chunked\r\n\r\n");
    desk_close(&d);
}

TEST(a_status_without_reason_is_written_with_none)
{
    static struct desk d;
    struct h1_response_opts opts = { .keeps_alive = true };
    desk_open(&d);
    CHECK_OK(h1_write_response(&d.buf, response_new(d.ex, 299), &opts));
    assert_string_equal(written(&d), "HTTP/1.1 299 \r\n\r\n");
    desk_close(&d);
}

TEST(a_request_is_written_with_our_framing_whatever_its_fields_say)
{
    static const struct {
        const char *method;
        enum framing framing;
        bool has_length;
        const char *want;
    } TABLE[] = {
        { "GET", FRAMING_NONE, false, "" },
        { "POST", FRAMING_NONE, false, "Content-Length: 0\r\n" },
        { "PUT", FRAMING_NONE, false, "Content-Length: 0\r\n" },
        { "DELETE", FRAMING_NONE, false, "" },
        { "GET", FRAMING_NONE, true, "Content-Length: 0\r\n" },
        { "POST", FRAMING_STREAM, false, "Transfer-Encoding: chunked\r\n" },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        static struct desk d;
        struct h1_request_opts opts = { 0 };
        char want[300];
        desk_open(&d);
        struct request *q = &d.ex->request;
        q->method = slice_str(TABLE[i].method);
        q->host = SLICE("h");
        q->framing = TABLE[i].framing;
        q->has_length = TABLE[i].has_length;
        static const char *const FORGED[][2] = {
            { "Content-Length", "77" }, { "transfer-encoding", "chunked" },
            { "HOST", "evil" },         { "Connection", "close" },
            { "X-Kept", "1" },
        };
        for (size_t k = 0; k < sizeof FORGED / sizeof FORGED[0]; k++)
            CHECK_OK(fields_add(&q->fields, slice_str(FORGED[k][0]), slice_str(FORGED[k][1])));
        CHECK_OK(h1_write_request(&d.buf, q, &opts));
        (void)snprintf(want, sizeof want,
                       "%s / HTTP/1.1\r\nHost: h\r\n%sX-Kept: 1\r\nConnection: keep-alive\r\n\r\n",
                       TABLE[i].method, TABLE[i].want);
        assert_string_equal(written(&d), want);
        desk_close(&d);
    }
    (void)state_;
}

TEST(a_request_to_a_proxy_has_the_whole_address_and_our_authorization_alone)
{
    static const struct {
        const char *target, *line;
    } TABLE[] = { { "/a?b", "GET http://o.test:81/a?b HTTP/1.1" },
                  { "", "GET http://o.test:81/ HTTP/1.1" },
                  { "*", "GET http://o.test:81 HTTP/1.1" } };
    struct h1_request_opts opts = { .absolute = SLICE("http://o.test:81"),
                                    .proxy_authorization = SLICE("Basic bWU6") };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct desk d;
        char want[512];
        desk_open(&d);
        struct request *q = &d.ex->request;
        q->method = SLICE("GET");
        q->host = SLICE("h");
        q->target = slice_str(TABLE[i].target);
        CHECK_OK(fields_add(&q->fields, SLICE("proxy-authorization"), SLICE("Basic visitors")));
        CHECK_OK(h1_write_request(&d.buf, q, &opts));
        (void)snprintf(want, sizeof want,
                       "%s\r\nHost: h\r\nProxy-Authorization: Basic bWU6\r\n"
                       "Connection: keep-alive\r\n\r\n",
                       TABLE[i].line);
        assert_string_equal(written(&d), want);
        desk_close(&d);
    }
    (void)state_;
}

TEST(a_head_larger_than_a_chunk_is_written_whole_and_one_past_the_bound_not_at_all)
{
    static struct desk d;
    struct h1_response_opts opts = { .keeps_alive = true };
    static char large[40000];
    desk_open(&d);
    memset(large, 'v', sizeof large);
    struct response *r = response_new(d.ex, 200);
    CHECK_OK(fields_add(&r->fields, SLICE("X-Large"), slice_of(large, sizeof large)));
    CHECK_OK(h1_write_response(&d.buf, r, &opts));
    CHECK(buf_len(&d.buf) == strlen("HTTP/1.1 200 OK\r\nX-Large: \r\n\r\n") + sizeof large);
    CHECK(strcmp(written(&d) + strlen("HTTP/1.1 200 OK\r\nX-Large: ") + sizeof large, "\r\n\r\n") ==
          0);
    for (int i = 0; i < 10; i++)
        CHECK_OK(fields_add(&r->fields, SLICE("X-Large"), slice_of(large, sizeof large)));
    CHECK_ERR(ERR_LIMIT, h1_write_response(&d.buf, r, &opts));
    CHECK(buf_is_empty(&d.buf));
    desk_close(&d);
}

TESTS(RUN(a_request_is_read_without_what_belongs_to_its_hop),
      RUN(an_absolute_target_names_the_host_and_no_other_may_be_said),
      RUN(connect_and_upgrades_are_told_apart), RUN(a_refusal_has_a_status_and_words),
      RUN(a_response_is_written_with_our_framing_whatever_its_fields_say),
      RUN(a_status_without_reason_is_written_with_none),
      RUN(a_request_is_written_with_our_framing_whatever_its_fields_say),
      RUN(a_request_to_a_proxy_has_the_whole_address_and_our_authorization_alone),
      RUN(a_head_larger_than_a_chunk_is_written_whole_and_one_past_the_bound_not_at_all))
