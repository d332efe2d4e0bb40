#include "http/site.h"

#include "base/limits.h"

#define OK_HEAD(length) "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n"

/* ---- requests one after the other ---- */

TEST(a_request_is_answered_and_the_connection_is_kept)
{
    struct site s;
    site_open(&s);
    for (int i = 0; i < 3; i++) {
        site_forget(&s);
        site_say(&s, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
        CHECK_GOT(&s, OK_HEAD("9") "\r\nGET /x 0:");
        CHECK(s.end == ERR_AGAIN);
    }
    CHECK(s.routed == 3 && s.dones == 3);
    site_close(&s);
}

TEST(a_connection_ends_with_the_answer_when_the_visitor_asks_for_it)
{
    struct site s;
    site_open(&s);
    site_say(&s, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    CHECK_GOT(&s, OK_HEAD("9") "Connection: close\r\n\r\nGET /x 0:");
    CHECK(s.end == ERR_EOF && s.group.count == 0);
    site_close(&s);
}

TEST(an_old_visitor_keeps_its_connection_only_when_it_says_so)
{
    struct site s;
    site_open(&s);
    site_say(&s, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK_GOT(&s, OK_HEAD("9") "Connection: keep-alive\r\n\r\nGET /x 0:");
    CHECK(s.end == ERR_AGAIN);
    site_forget(&s);
    site_say(&s, "GET /y HTTP/1.0\r\n\r\n");
    CHECK_GOT(&s, OK_HEAD("9") "Connection: close\r\n\r\nGET /y 0:");
    CHECK(s.end == ERR_EOF);
    site_close(&s);
}

TEST(pipelined_requests_are_answered_in_order_and_one_at_a_time)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s,
             "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
             "POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhiGET /4 HTTP/1.1\r\nHost: "
             "h\r\n\r\n");
    CHECK(s.routed == 1);
    site_answer(&s, 200, "one");
    CHECK_GOT(&s, OK_HEAD("3") "\r\none");
    CHECK(s.routed == 2);
    site_answer(&s, 404, "two");
    CHECK(s.routed == 3);
    CHECK(buf_len(&s.ex->up.held) == 2 && s.ex->up.ended);
    site_answer(&s, 200, "three");
    CHECK(s.routed == 4);
    assert_string_equal(s.asked[3], "GET /4");
    site_close(&s);
}

/* ---- whatever the pieces, the outcome is the same ---- */

static const char *const WHOLE[] = {
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "\r\nGET /after-an-empty-line HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD /head HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world",
    "POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    "POST /chunks HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
    "chunked\r\n\r\n5\r\nhello\r\n1;ext=\"q\"\r\n "
    "\r\n5\r\nworld\r\n0\r\n\r\n",
    "POST /trailers HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
    "chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: "
    "7\r\nX-Other: v\r\n\r\n",
    "POST /expects HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "GET /old HTTP/1.0\r\n\r\n",
    "GET /bye HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "GET http://h/absolute HTTP/1.1\r\nHost: h\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: "
    "3\r\n\r\nabcGET "
    "/3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    /* refused */
    "GET / HTTP/1.1\r\n\r\n",
    "BAD\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
};

#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

/* The text that a visitor gets, ids and times masked and without a 100 (which depends on how fast
 * the body comes), and how often something was routed. */
static unsigned outcome(const char *text, size_t step, char *got)
{
    struct site s;
    size_t n = strlen(text);
    site_open(&s);
    for (size_t at = 0; at < n; at += step) {
        site_send(&s, slice_of(text + at, at + step < n ? step : n - at));
        for (int i = 0; i < 3; i++)
            loop_turn(s.loop, 0);
    }
    site_turn(&s);
    const char *text_got = s.got;
    if (strncmp(text_got, CONTINUE, strlen(CONTINUE)) == 0)
        text_got += strlen(CONTINUE);
    (void)snprintf(got, GOT_BYTES_MAX, "%.60000s%s", text_got, s.end == ERR_EOF ? "<end>" : "");
    char *id = strstr(got, ", request ");
    if (id != NULL)
        memset(id + 10, '-', strspn(id + 10, "0123456789abcdef"));
    for (char *date = strstr(got, "\nDate: "); date != NULL; date = strstr(date + 1, "\nDate: "))
        memset(date + 7, '-', strcspn(date + 7, "\r"));
    unsigned routed = s.routed;
    site_close(&s);
    return routed;
}

TEST(every_way_of_cutting_a_request_into_pieces_has_the_same_outcome)
{
    static char whole[GOT_BYTES_MAX], pieces[GOT_BYTES_MAX];
    for (size_t i = 0; i < sizeof WHOLE / sizeof WHOLE[0]; i++) {
        size_t n = strlen(WHOLE[i]);
        unsigned routed = outcome(WHOLE[i], n, whole);
        CHECK(whole[0] != 0);
        for (size_t step = 1; step < n; step = step < 4 ? step + 1 : step + 7) {
            unsigned again = outcome(WHOLE[i], step, pieces);
            if (again != routed)
                fail_msg("%s in pieces of %zu: %u requests, not %u", WHOLE[i], step, again, routed);
            if (strcmp(whole, pieces) != 0)
                fail_msg("%s in pieces of %zu:\n%s\nis not\n%s", WHOLE[i], step, pieces, whole);
        }
    }
}

TEST(no_prefix_of_a_request_is_answered)
{
    static char got[GOT_BYTES_MAX];
    static const char *const REQUESTS[] = {
        "GET /p HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n",
        "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: "
        "u\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof REQUESTS / sizeof REQUESTS[0]; i++)
        for (size_t n = 1; n < strlen(REQUESTS[i]); n++) {
            char prefix[200];
            (void)snprintf(prefix, sizeof prefix, "%.*s", (int)n, REQUESTS[i]);
            (void)outcome(prefix, n, got);
            if (got[0] != 0)
                fail_msg("\"%s\" got \"%s\"", prefix, got);
        }
    (void)state_;
}

/* ---- what could be read in two ways is refused ---- */

static const struct {
    const char *text;
    unsigned status;
} SMUGGLED[] = {
    { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
      "chunked\r\n\r\n0\r\n\r\n",
      400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: "
      "5\r\n\r\n0\r\n\r\n",
      400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 6\r\n\r\nhello!", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\nhello", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nhello", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551621\r\n\r\nhello", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501 },
    { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
      "chunked\r\n\r\n0\r\n\r\n",
      400 },
    { "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400 },
    { "POST / HTTP/1.1\r\nHost: h\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
    { "GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400 },
    { "GET / HTTP/1.1\nHost: h\n\n", 400 },
    { "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400 },
    { "GET / HTTP/1.1\r\n\r\n", 400 },
    { "GET / HTTP/1.1\r\nHost: h\r\nX\0: y\r\n\r\n", 400 },
    { "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400 },
    { "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
    { "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400 },
    { "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
};

TEST(ambiguous_requests_are_refused_and_nothing_behind_them_is_looked_at)
{
    for (size_t i = 0; i < sizeof SMUGGLED / sizeof SMUGGLED[0]; i++) {
        struct site s;
        char start[32];
        unsigned status = 0;
        site_open(&s);
        site_send(&s, slice_str(SMUGGLED[i].text));
        site_say(&s, "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
        (void)snprintf(start, sizeof start, "%.12s", s.got);
        (void)sscanf(start, "HTTP/1.1 %u", &status);
        bool is_refused = status == SMUGGLED[i].status || (status >= 400 && status < 600);
        if (!is_refused || s.routed != 0 || strstr(s.got, "smuggled") != NULL)
            fail_msg("\"%s\": %u requests, \"%s\"", SMUGGLED[i].text, s.routed, s.got);
        if (status != SMUGGLED[i].status)
            fail_msg("\"%s\": status %u, wanted %u", SMUGGLED[i].text, status, SMUGGLED[i].status);
        CHECK(strstr(s.got, "Connection: close\r\n") != NULL);
        CHECK(s.end == ERR_EOF); /* our direction has its end; what still comes is dropped */
        site_close(&s);
    }
}

TEST(a_malformed_chunk_fails_the_exchange_and_ends_the_connection)
{
    struct site s;
    site_open(&s);
    site_say(&s,
             "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nGET "
             "/smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(s.routed == 1 && strncmp(s.got, "HTTP/1.1 400 ", 13) == 0 && s.end == ERR_EOF);
    CHECK(s.last.err == ERR_PARSE && s.last.hop == HOP_VISITOR);
    site_close(&s);
}

/* ---- what is larger than anybody needs ---- */

TEST(a_head_without_end_is_refused_within_bounds)
{
    struct site s;
    char line[1024];
    site_open(&s);
    memset(line, 'a', sizeof line);
    memcpy(line, "X-Filler: ", 10);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    site_send(&s, SLICE("GET / HTTP/1.1\r\nHost: h\r\n"));
    for (int i = 0; i < 300; i++)
        site_send(&s, slice_of(line, sizeof line));
    site_turn(&s);
    CHECK(strncmp(s.got, "HTTP/1.1 431 ", 13) == 0 && s.end == ERR_EOF && s.routed == 0);
    site_close(&s);
}

/* ---- interim responses, Expect ---- */

TEST(a_hundred_is_sent_when_the_right_side_takes_the_body)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    CHECK_GOT(&s, "");
    s.ex->wants_body = true;
    exchange_wake_left(s.ex);
    site_turn(&s);
    CHECK_GOT(&s, "HTTP/1.1 100 Continue\r\n\r\n");
    struct response *again = site_response(&s, 100); /* the origin's own, afterwards */
    CHECK_OK(exchange_interim(s.ex, again));
    site_turn(&s);
    CHECK_GOT(&s, "HTTP/1.1 100 Continue\r\n\r\n");
    site_say(&s, "ok");
    CHECK(s.ex->up.ended);
    site_forget(&s);
    site_answer(&s, 200, "fine");
    CHECK_GOT(&s, OK_HEAD("4") "\r\nfine");
    CHECK(s.end == ERR_AGAIN); /* and the connection is kept */
    site_close(&s);
}

TEST(a_final_answer_instead_of_a_hundred_ends_the_connection)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    site_answer(&s, 401, "no");
    CHECK(strstr(s.got, "100 Continue") == NULL && strstr(s.got, "Connection: close") != NULL);
    CHECK(s.end == ERR_EOF);
    site_close(&s);
}

TEST(an_old_visitor_gets_no_interim_response)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok");
    s.ex->wants_body = true;
    CHECK_OK(exchange_interim(s.ex, site_response(&s, 103)));
    site_turn(&s);
    CHECK_GOT(&s, "");
    site_answer(&s, 200, "fine");
    CHECK_GOT(&s, OK_HEAD("4") "Connection: close\r\n\r\nfine");
    site_close(&s);
}

TEST(interim_responses_come_before_the_final_one_and_are_bounded)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    struct response *hints = site_response(&s, 103);
    CHECK_OK(fields_add(&hints->fields, SLICE("Link"), SLICE("</a.css>")));
    CHECK_OK(exchange_interim(s.ex, hints));
    site_turn(&s);
    CHECK_GOT(&s, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    for (int i = 0; i < INTERIM_COUNT_MAX; i++)
        CHECK_OK(exchange_interim(s.ex, site_response(&s, 102)));
    CHECK_ERR(ERR_LIMIT, exchange_interim(s.ex, site_response(&s, 102)));
    site_answer(&s, 200, "");
    CHECK(strstr(s.got, "200 OK") > strstr(s.got, "102 Processing"));
    site_close(&s);
}

/* ---- answers without a body, and without a length ---- */

TEST(head_204_and_304_have_no_body_and_keep_the_connection)
{
    static const struct {
        const char *method;
        unsigned status;
        bool has_length;
        const char *want;
    } TABLE[] = {
        { "HEAD", 200, true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" },
        { "HEAD", 200, false, "HTTP/1.1 200 OK\r\n\r\n" },
        { "GET", 204, false, "HTTP/1.1 204 No Content\r\n\r\n" },
        { "GET", 204, true, "HTTP/1.1 204 No Content\r\n\r\n" },
        { "GET", 304, true, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" },
        { "GET", 304, false, "HTTP/1.1 304 Not Modified\r\n\r\n" },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct site s;
        char request[64];
        site_open(&s);
        s.is_manual = true;
        (void)snprintf(request, sizeof request, "%s / HTTP/1.1\r\nHost: h\r\n\r\n",
                       TABLE[i].method);
        site_say(&s, request);
        struct response *r = site_response(&s, TABLE[i].status);
        r->has_length = TABLE[i].has_length;
        r->length = r->has_length ? 5 : 0;
        exchange_respond(s.ex, r);
        body_end(&s.ex->down);
        site_leave(&s);
        site_turn(&s);
        CHECK_GOT(&s, TABLE[i].want);
        CHECK(s.end == ERR_AGAIN);
        site_close(&s);
    }
}

TEST(a_body_of_unknown_length_goes_in_chunks_with_its_trailers)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    struct response *r = site_response(&s, 200);
    r->framing = FRAMING_STREAM;
    exchange_respond(s.ex, r);
    site_body(&s, SLICE("first"));
    site_turn(&s);
    CHECK_GOT(&s, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    site_forget(&s);
    site_body(&s, SLICE("0123456789abcdef!"));
    struct fields trailers;
    fields_init(&trailers, &s.ex->arena);
    CHECK_OK(fields_add(&trailers, SLICE("X-Sum"), SLICE("9")));
    s.ex->down_trailers = &trailers;
    body_end(&s.ex->down);
    site_turn(&s);
    CHECK_GOT(&s, "11\r\n0123456789abcdef!\r\n0\r\nX-Sum: 9\r\n\r\n");
    site_close(&s);
}

TEST(an_old_visitor_gets_a_body_of_unknown_length_until_the_connection_ends)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    struct response *r = site_response(&s, 200);
    r->framing = FRAMING_STREAM;
    exchange_respond(s.ex, r);
    site_body(&s, SLICE("all of it"));
    body_end(&s.ex->down);
    site_leave(&s);
    site_turn(&s);
    CHECK_GOT(&s, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
    CHECK(s.end == ERR_EOF);
    site_close(&s);
}

/* ---- failures ---- */

TEST(a_failure_before_the_answer_becomes_a_page)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "GET / HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n");
    exchange_fail(s.ex, ERR_TIMEOUT, HOP_ORIGIN, "it took too long");
    site_leave(&s);
    site_turn(&s);
    CHECK(strncmp(s.got, "HTTP/1.1 504 ", 13) == 0);
    CHECK(strstr(s.got, "\"text\":\"it took too long\"") != NULL);
    CHECK(strstr(s.got, "\"hop\":\"origin\"") != NULL);
    CHECK(s.last.err == ERR_TIMEOUT);
    site_close(&s);
}

TEST(a_right_side_that_leaves_without_an_answer_is_a_failure)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    site_leave(&s);
    site_turn(&s);
    CHECK(strncmp(s.got, "HTTP/1.1 502 ", 13) == 0);
    site_close(&s);
}

TEST(a_failure_within_the_answer_resets_the_connection_after_what_came)
{
    for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
        struct site s;
        site_open(&s);
        s.is_manual = true;
        site_say(&s, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        struct response *r = site_response(&s, 200);
        r->framing = is_chunked != 0 ? FRAMING_STREAM : FRAMING_LENGTH;
        r->has_length = is_chunked == 0;
        r->length = is_chunked == 0 ? 100 : 0;
        exchange_respond(s.ex, r);
        site_body(&s, SLICE("half of it"));
        site_turn(&s);
        CHECK(strstr(s.got, "half of it") != NULL);
        exchange_fail(s.ex, ERR_CUT, HOP_TUNNEL, "broke off");
        site_leave(&s);
        site_turn(&s);
        CHECK(s.end == ERR_RESET); /* never an orderly end */
        CHECK(strstr(s.got, "\r\n0\r\n") == NULL);
        site_close(&s);
    }
}

TEST(a_switch_of_protocols_that_nobody_asked_for_is_a_failure)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    exchange_respond(s.ex, site_response(&s, 101));
    site_turn(&s);
    CHECK_GOT(&s, "");
    CHECK(s.end == ERR_RESET);
    site_close(&s);
}

/* ---- an answer while the request is still coming ---- */

TEST(an_early_answer_is_delivered_and_the_rest_of_the_request_dropped)
{
    struct site s;
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nsome of it");
    site_answer(&s, 413, "too much");
    CHECK_GOT(&s,
              "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo "
              "much");
    CHECK(s.end == ERR_EOF &&
          s.group.count == 1); /* it lingers: a reset could destroy the answer */
    site_say(&s, "the rest, and GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(s.routed == 1);
    stream_finish(s.visitor);
    site_turn(&s);
    CHECK(s.group.count == 0);
    site_close(&s);
}

TEST(a_visitor_that_sends_on_and_on_after_its_answer_is_closed)
{
    struct site s;
    static char block[65536];
    site_open(&s);
    s.is_manual = true;
    site_say(&s, "POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
    site_answer(&s, 413, "no");
    for (int i = 0; i < 10 && s.group.count > 0; i++) {
        site_send(&s, slice_of(block, sizeof block));
        site_turn(&s);
    }
    CHECK(s.group.count == 0);
    site_close(&s);
}

TESTS(RUN(a_request_is_answered_and_the_connection_is_kept),
      RUN(a_connection_ends_with_the_answer_when_the_visitor_asks_for_it),
      RUN(an_old_visitor_keeps_its_connection_only_when_it_says_so),
      RUN(pipelined_requests_are_answered_in_order_and_one_at_a_time),
      RUN(every_way_of_cutting_a_request_into_pieces_has_the_same_outcome),
      RUN(no_prefix_of_a_request_is_answered),
      RUN(ambiguous_requests_are_refused_and_nothing_behind_them_is_looked_at),
      RUN(a_malformed_chunk_fails_the_exchange_and_ends_the_connection),
      RUN(a_head_without_end_is_refused_within_bounds),
      RUN(a_hundred_is_sent_when_the_right_side_takes_the_body),
      RUN(a_final_answer_instead_of_a_hundred_ends_the_connection),
      RUN(an_old_visitor_gets_no_interim_response),
      RUN(interim_responses_come_before_the_final_one_and_are_bounded),
      RUN(head_204_and_304_have_no_body_and_keep_the_connection),
      RUN(a_body_of_unknown_length_goes_in_chunks_with_its_trailers),
      RUN(an_old_visitor_gets_a_body_of_unknown_length_until_the_connection_ends),
      RUN(a_failure_before_the_answer_becomes_a_page),
      RUN(a_right_side_that_leaves_without_an_answer_is_a_failure),
      RUN(a_failure_within_the_answer_resets_the_connection_after_what_came),
      RUN(a_switch_of_protocols_that_nobody_asked_for_is_a_failure),
      RUN(an_early_answer_is_delivered_and_the_rest_of_the_request_dropped),
      RUN(a_visitor_that_sends_on_and_on_after_its_answer_is_closed))
