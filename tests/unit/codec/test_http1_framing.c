#include "codec/http1_framing.h"

#include "test.h"

static struct http1_field lines[HEAD_FIELDS_MAX];
static const struct http1_limits LIMITS = { .head_bytes_max = HEAD_BYTES_MAX,
                                            .target_bytes_max = TARGET_BYTES_MAX };

static int frame_request(const char *text, struct http1_head *head, struct http1_framing *ret)
{
    http1_head_init(head, lines, HEAD_FIELDS_MAX);
    int r = http1_parse_request(slice_str(text), &LIMITS, head);
    return r < 0 ? r : http1_request_framing(head, ret);
}

static int frame_response(const char *text, struct http1_asked asked, struct http1_framing *ret)
{
    struct http1_head head;
    http1_head_init(&head, lines, HEAD_FIELDS_MAX);
    int r = http1_parse_response(slice_str(text), &LIMITS, &head);
    return r < 0 ? r : http1_response_framing(&head, asked, ret);
}

TEST(the_body_of_a_request_ends_where_its_fields_say)
{
    struct http1_head head;
    struct http1_framing f;
    CHECK_OK(
        frame_request("POST / HTTP/1.1\r\nHost: a:1\r\nContent-Length: 70\r\n\r\n", &head, &f));
    CHECK(f.body == HTTP1_BODY_LENGTH && f.length == 70 && f.has_length);
    CHECK_SLICE(f.host, SLICE("a:1"));
    CHECK_OK(frame_request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &head, &f));
    CHECK(f.body == HTTP1_BODY_NONE && f.length == 0 && f.has_length);
    CHECK_OK(frame_request("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &head, &f));
    CHECK(f.body == HTTP1_BODY_NONE && !f.has_length && !f.has_options);
    CHECK_OK(frame_request("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", &head,
                           &f));
    CHECK(f.body == HTTP1_BODY_CHUNKED && !f.has_length);
}

TEST(a_refusal_leaves_the_result_alone)
{
    struct http1_head head;
    struct http1_framing f = { .length = 99 };
    CHECK_ERR(ERR_PARSE, frame_request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                                       "Transfer-Encoding: chunked\r\n\r\n",
                                       &head, &f));
    CHECK(f.length == 99);
    CHECK_ERR(
        ERR_UNSUPPORTED,
        frame_request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                      &head, &f));
    CHECK(http1_why_status(head.why) == 501);
    CHECK_ERR(ERR_UNSUPPORTED, frame_request("GET / HTTP/3.0\r\nHost: a\r\n\r\n", &head, &f));
    CHECK(http1_why_status(head.why) == 505);
}

TEST(the_body_of_a_response_depends_on_what_was_asked)
{
    static const struct {
        const char *head;
        struct http1_asked asked;
        enum http1_body body;
        uint64_t length;
        bool persists;
    } ROWS[] = {
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", { 0 }, HTTP1_BODY_LENGTH, 5, true },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", { 0 }, HTTP1_BODY_LENGTH, 0, true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
          { 0 },
          HTTP1_BODY_CHUNKED,
          0,
          true },
        { "HTTP/1.1 200 OK\r\n\r\n", { 0 }, HTTP1_BODY_CLOSE, 0, false },
        { "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", { 0 }, HTTP1_BODY_LENGTH, 5, false },
        { "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\n",
          { 0 },
          HTTP1_BODY_LENGTH,
          5,
          true },
        { "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5\r\n\r\n",
          { 0 },
          HTTP1_BODY_LENGTH,
          5,
          false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
          { .head = true },
          HTTP1_BODY_NONE,
          5,
          true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
          { .head = true },
          HTTP1_BODY_NONE,
          0,
          true },
        { "HTTP/1.1 200 OK\r\n\r\n", { .head = true }, HTTP1_BODY_NONE, 0, true },
        { "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
          { 0 },
          HTTP1_BODY_NONE,
          5,
          true },
        { "HTTP/1.1 204 No Content\r\n\r\n", { 0 }, HTTP1_BODY_NONE, 0, true },
        { "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", { 0 }, HTTP1_BODY_NONE, 0, true },
        { "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
          { 0 },
          HTTP1_BODY_NONE,
          5,
          false },
        { "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
          { 0 },
          HTTP1_BODY_NONE,
          0,
          false },
        { "HTTP/1.1 100 Continue\r\n\r\n", { 0 }, HTTP1_BODY_NONE, 0, true },
        { "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n",
          { 0 },
          HTTP1_BODY_NONE,
          0,
          false },
        { "HTTP/1.1 101 x\r\nUpgrade: a\r\n\r\n",
          { .upgrade = true },
          HTTP1_BODY_TUNNEL,
          0,
          false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
          { .connect = true },
          HTTP1_BODY_TUNNEL,
          5,
          false },
        { "HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\n",
          { .connect = true },
          HTTP1_BODY_LENGTH,
          5,
          true },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct http1_framing f;
        CHECK_OK(frame_response(ROWS[i].head, ROWS[i].asked, &f));
        if (f.body != ROWS[i].body || f.length != ROWS[i].length ||
            f.is_persistent != ROWS[i].persists)
            fail_msg("row %zu: %s", i, ROWS[i].head);
    }
    struct http1_framing f;
    CHECK_ERR(ERR_PARSE,
              frame_response("HTTP/1.1 101 x\r\n\r\n", (struct http1_asked){ .head = false }, &f));
}

TEST(a_connection_goes_on_unless_told_otherwise)
{
    struct http1_head head;
    struct http1_framing f;
    CHECK_OK(frame_request("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &head, &f));
    CHECK(f.is_persistent);
    CHECK_OK(frame_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", &head, &f));
    CHECK(!f.is_persistent);
    CHECK_OK(frame_request("GET / HTTP/1.0\r\n\r\n", &head, &f));
    CHECK(!f.is_persistent && f.host.n == 0);
    CHECK_OK(frame_request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &head, &f));
    CHECK(f.is_persistent);
    CHECK_OK(frame_request("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", &head, &f));
    CHECK(!f.is_persistent);
}

TEST(fields_of_the_connection_are_told_from_those_of_the_far_end)
{
    struct http1_head head;
    struct http1_framing f;
    CHECK_OK(frame_request("GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-two: 2\r\nCookie: c\r\n"
                           "Connection: x-one,cookie\r\nConnection: Host, keep-alive\r\n"
                           "Keep-Alive: 5\r\nTE: trailers\r\nTrailer: x\r\n\r\n",
                           &head, &f));
    CHECK(f.has_options);
    static const bool WANT[] = { false, true, false, false, true, true, true, true, false };
    CHECK(head.fields_count == sizeof WANT);
    for (size_t i = 0; i < sizeof WANT; i++)
        CHECK(http1_field_is_hop(&head, &f, &head.fields[i]) == WANT[i]);
}

TEST(an_expectation_counts_in_http_1_1_alone)
{
    struct http1_head head;
    struct http1_framing f;
    CHECK_OK(frame_request("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", &head, &f));
    CHECK(f.expects_continue);
    CHECK_OK(frame_request("PUT / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", &head, &f));
    CHECK(!f.expects_continue);
}

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
#define UP  "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"

TEST(a_websocket_handshake_is_known_when_it_is_sound)
{
    static const struct {
        const char *head;
        enum http1_upgrade upgrade;
    } ROWS[] = {
        { "GET / HTTP/1.1\r\nHost: a\r\n" UP V13 KEY "\r\n", HTTP1_UPGRADE_WEBSOCKET },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c, websocket\r\n" V13 KEY
          "\r\n",
          HTTP1_UPGRADE_WEBSOCKET },
        { "GET / HTTP/1.1\r\nHost: a\r\n" V13 KEY "\r\n", HTTP1_UPGRADE_NONE },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n" V13 KEY "\r\n",
          HTTP1_UPGRADE_NONE },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n" V13 KEY "\r\n",
          HTTP1_UPGRADE_NONE },
        { "GET / HTTP/1.0\r\nHost: a\r\n" UP V13 KEY "\r\n", HTTP1_UPGRADE_NONE },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
          HTTP1_UPGRADE_OTHER },
        { "POST / HTTP/1.1\r\nHost: a\r\n" UP V13 KEY "\r\n", HTTP1_UPGRADE_OTHER },
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n" UP V13 KEY "\r\n",
          HTTP1_UPGRADE_OTHER },
        { "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" UP V13 KEY "\r\n",
          HTTP1_UPGRADE_OTHER },
        { "GET / HTTP/1.1\r\nHost: a\r\n" UP KEY "\r\n", HTTP1_UPGRADE_OTHER },
        { "GET / HTTP/1.1\r\nHost: a\r\n" UP V13 "\r\n", HTTP1_UPGRADE_OTHER },
        { "GET / HTTP/1.1\r\nHost: a\r\n" UP V13 KEY KEY "\r\n", HTTP1_UPGRADE_OTHER },
        { "GET / HTTP/1.1\r\nHost: a\r\n" UP "Sec-WebSocket-Version: 8\r\n" KEY "\r\n",
          HTTP1_UPGRADE_OTHER },
        { "GET / HTTP/1.1\r\nHost: a\r\n" UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n\r\n",
          HTTP1_UPGRADE_OTHER },
        { "GET / HTTP/1.1\r\nHost: a\r\n" UP V13
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXg=\r\n\r\n",
          HTTP1_UPGRADE_OTHER },
        { "GET / HTTP/1.1\r\nHost: a\r\n" UP V13
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q==\r\n\r\n",
          HTTP1_UPGRADE_OTHER },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct http1_head head;
        struct http1_framing f;
        CHECK_OK(frame_request(ROWS[i].head, &head, &f));
        if (f.upgrade != ROWS[i].upgrade)
            fail_msg("row %zu: %s", i, ROWS[i].head);
        if (f.upgrade == HTTP1_UPGRADE_WEBSOCKET)
            CHECK_SLICE(f.websocket_key, SLICE("dGhlIHNhbXBsZSBub25jZQ=="));
    }
}

TESTS(RUN(the_body_of_a_request_ends_where_its_fields_say), RUN(a_refusal_leaves_the_result_alone),
      RUN(the_body_of_a_response_depends_on_what_was_asked),
      RUN(a_connection_goes_on_unless_told_otherwise),
      RUN(fields_of_the_connection_are_told_from_those_of_the_far_end),
      RUN(an_expectation_counts_in_http_1_1_alone),
      RUN(a_websocket_handshake_is_known_when_it_is_sound))
