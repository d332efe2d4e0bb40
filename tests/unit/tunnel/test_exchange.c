/* Whole exchanges through a data stream, both ends of it. */
#include "tunnel/joined.h"

/* ---- whole exchanges ---- */

TEST(a_request_and_its_answer_come_through_as_they_were)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("x-lower"), SLICE("v")));
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("X-Twice"), SLICE("1")));
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("X-Twice"), SLICE("2")));
    begin(&w);
    CHECK(w.routed == 1 && w.type == CONNECT_HTTP);
    const struct request *q = &w.origin->request;
    CHECK_SLICE(q->method, SLICE("GET"));
    CHECK_SLICE(q->host, SLICE("h.example"));
    CHECK_SLICE(q->target, SLICE("/x?y"));
    CHECK(q->framing == FRAMING_NONE && w.origin->up.ended);
    CHECK_SLICE(fields_get(&q->fields, SLICE("X-Lower"))->name, SLICE("X-Lower"));
    CHECK(fields_count(&q->fields, SLICE("X-Twice")) == 2);
    (void)respond(&w, 201, FRAMING_LENGTH, 5);
    put(w.origin, &w.origin->down, "hello");
    end_body(w.origin, &w.origin->down);
    origin_leave(&w);
    CHECK(w.end == 0 && w.ex->response->status == 201 && w.ex->down.ended);
    CHECK(w.ex->response->has_length && w.ex->response->length == 5);
    CHECK_SLICE(fields_get(&w.ex->response->fields, SLICE("x-from"))->value, SLICE("origin"));
    assert_string_equal(take(w.ex, &w.ex->down), "hello");
    CHECK(w.group.count == 0 && w.last.err == 0);
    tunnel_close(&w);
}

TEST(bodies_stream_both_ways_with_their_framing)
{
    for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
        struct tunnel w;
        tunnel_open(&w, 1 << 20);
        w.ex->request.method = SLICE("POST");
        w.ex->request.framing = is_chunked ? FRAMING_STREAM : FRAMING_LENGTH;
        w.ex->request.has_length = !is_chunked;
        w.ex->request.length = is_chunked ? 0 : 6;
        begin(&w);
        CHECK(w.origin->request.framing == w.ex->request.framing);
        CHECK(w.origin->request.length == w.ex->request.length);
        put(w.ex, &w.ex->up, "one");
        tunnel_turn(&w);
        assert_string_equal(take(w.origin, &w.origin->up), "one");
        CHECK(!w.origin->up.ended);
        (void)respond(&w, 200, FRAMING_STREAM, 0); /* while the request is still coming */
        put(w.origin, &w.origin->down, "uno");
        tunnel_turn(&w);
        assert_string_equal(take(w.ex, &w.ex->down), "uno");
        put(w.ex, &w.ex->up, "two");
        end_body(w.ex, &w.ex->up);
        tunnel_turn(&w);
        assert_string_equal(take(w.origin, &w.origin->up), "two");
        CHECK(w.origin->up.ended && w.end == ERR_AGAIN);
        end_body(w.origin, &w.origin->down);
        origin_leave(&w);
        CHECK(w.end == 0 && w.ex->down.ended);
        tunnel_close(&w);
    }
}

TEST(an_upgraded_exchange_is_bytes_both_ways)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    w.ex->request.upgrade = UPGRADE_WEBSOCKET;
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("Sec-WebSocket-Key"), SLICE("k")));
    begin(&w);
    CHECK(w.type == CONNECT_WEBSOCKET && w.origin->request.upgrade == UPGRADE_WEBSOCKET);
    put(w.ex, &w.ex->up, "too early");
    tunnel_turn(&w);
    CHECK(buf_is_empty(&w.origin->up.held)); /* until the other side agreed */
    (void)respond(&w, 101, FRAMING_NONE, 0);
    put(w.origin, &w.origin->down, "down");
    tunnel_turn(&w);
    CHECK(w.ex->is_upgraded);
    assert_string_equal(take(w.ex, &w.ex->down), "down");
    assert_string_equal(take(w.origin, &w.origin->up), "too early");
    end_body(w.ex, &w.ex->up);
    tunnel_turn(&w);
    CHECK(w.origin->up.ended && w.end == ERR_AGAIN);
    end_body(w.origin, &w.origin->down);
    origin_leave(&w);
    CHECK(w.end == 0 && w.last.err == 0);
    tunnel_close(&w);
}

TEST(a_refused_upgrade_is_an_answer)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    w.ex->request.upgrade = UPGRADE_WEBSOCKET;
    begin(&w);
    (void)respond(&w, 403, FRAMING_LENGTH, 2);
    put(w.origin, &w.origin->down, "no");
    end_body(w.origin, &w.origin->down);
    tunnel_turn(&w);
    CHECK(w.origin->up.ended);
    origin_leave(&w);
    CHECK(w.end == 0 && w.ex->response->status == 403 && !w.ex->is_upgraded);
    tunnel_close(&w);
}

TEST(statuses_and_methods_without_a_body_have_none)
{
    static const struct {
        const char *method;
        unsigned status;
    } TABLE[] = { { "HEAD", 200 }, { "GET", 204 }, { "GET", 304 } };
    for (size_t i = 0; i < 3; i++) {
        struct tunnel w;
        tunnel_open(&w, 1 << 20);
        w.ex->request.method = slice_str(TABLE[i].method);
        begin(&w);
        struct response *r = response_new(w.origin, TABLE[i].status);
        r->has_length = TABLE[i].status != 204;
        uint64_t length = r->length = r->has_length ? 99 : 0;
        exchange_respond(w.origin, r);
        end_body(w.origin, &w.origin->down);
        origin_leave(&w);
        CHECK(w.end == 0 && w.ex->response->framing == FRAMING_NONE && w.ex->down.ended);
        CHECK(w.ex->response->length == length);
        tunnel_close(&w);
    }
}

/* ---- failures ---- */

TEST(a_failure_before_the_answer_is_told_by_its_text)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    begin(&w);
    exchange_fail(w.origin, ERR_REFUSED, HOP_ORIGIN, "dial tcp: refused");
    origin_leave(&w);
    CHECK_ERR(ERR_ORIGIN, w.end);
    assert_string_equal(w.client.cause, "dial tcp: refused");
    CHECK(w.ex->response == NULL);
    tunnel_close(&w);
}

TEST(a_failure_within_the_answer_is_a_reset)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    begin(&w);
    (void)respond(&w, 200, FRAMING_STREAM, 0);
    put(w.origin, &w.origin->down, "half");
    tunnel_turn(&w);
    assert_string_equal(take(w.ex, &w.ex->down), "half");
    exchange_fail(w.origin, ERR_CUT, HOP_ORIGIN, NULL);
    origin_leave(&w);
    CHECK_ERR(ERR_RESET, w.end);
    CHECK(!w.ex->down.ended);
    tunnel_close(&w);
}

TEST(an_answer_shorter_than_its_length_is_cut)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    begin(&w);
    (void)respond(&w, 200, FRAMING_LENGTH, 10);
    put(w.origin, &w.origin->down, "short");
    end_body(w.origin, &w.origin->down);
    origin_leave(&w);
    CHECK_ERR(ERR_CUT, w.end);
    tunnel_close(&w);
}

TEST(a_request_shorter_than_its_length_never_reaches_its_end)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    w.ex->request.framing = FRAMING_LENGTH;
    w.ex->request.has_length = true;
    w.ex->request.length = 10;
    begin(&w);
    put(w.ex, &w.ex->up, "short");
    end_body(w.ex, &w.ex->up);
    tunnel_turn(&w);
    CHECK(!w.origin->up.ended && exchange_has_failed(w.origin));
    CHECK_ERR(ERR_ORIGIN, w.end);
    CHECK(w.last.failure == FAILURE_REQUEST_CUT && w.refusals == 0);
    tunnel_close(&w);
}

TEST(a_visitor_that_goes_resets_the_stream_and_ends_the_origins_exchange)
{
    for (int moment = 0; moment < 3; moment++) {
        struct tunnel w;
        tunnel_open(&w, 1 << 20);
        if (moment == 2)
            w.ex->request.framing = FRAMING_STREAM;
        begin(&w);
        if (moment == 1)
            (void)respond(&w, 200, FRAMING_STREAM, 0);
        tunnel_turn(&w);
        tunnel_client_done(&w.client);
        tunnel_turn(&w);
        CHECK(w.group.count == 0 && exchange_has_failed(w.origin));
        CHECK(w.origin->verdict.err == ERR_CANCELED && !w.origin->up.ended == (moment == 2));
        CHECK(w.last.failure == FAILURE_VISITOR_GONE && w.last.hop == HOP_VISITOR);
        tunnel_close(&w);
    }
}

TEST(an_answer_before_the_end_of_the_request_never_makes_it_look_whole)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    w.ex->request.framing = FRAMING_STREAM; /* only an orderly end tells that it is whole */
    begin(&w);
    put(w.ex, &w.ex->up, "a part");
    tunnel_turn(&w);
    (void)respond(&w, 413, FRAMING_LENGTH, 2);
    put(w.origin, &w.origin->down, "no");
    tunnel_turn(&w); /* the length is reached; the origin's exchange goes on */
    CHECK(w.end == 0 && w.ex->down.ended);
    tunnel_client_done(&w.client);
    tunnel_turn(&w);
    CHECK(!w.origin->up.ended);
    tunnel_close(&w);
}

TEST(an_edge_that_wants_no_answer_any_more_is_noticed_without_writing)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    begin(&w); /* a GET: our direction has ended in order */
    CHECK(w.origin->up.ended);
    stream_release(w.client.stream); /* as STOP_SENDING: no reset of the other direction */
    w.client.stream = NULL;
    w.client.ex = NULL;
    buf_done(&w.client.in);
    buf_done(&w.client.out);
    tunnel_turn(&w);
    CHECK(w.group.count == 0 && exchange_has_failed(w.origin));
    tunnel_close(&w);
}

TEST(a_connection_that_breaks_off_is_no_visitor_who_went)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    w.ex->request.framing = FRAMING_STREAM;
    begin(&w);
    stream_abort(w.connector_end, ERR_TIMEOUT);
    exchange_wake_left(w.origin);
    tunnel_turn(&w);
    CHECK(w.group.count == 0 && w.last.failure == FAILURE_LINK_TIMEOUT);
    tunnel_close(&w);
}

TEST(a_head_that_is_refused_never_was_an_exchange)
{
    struct tunnel w;
    tunnel_open(&w, 1 << 20);
    w.ex->request.method = SLICE("G T");
    begin(&w);
    CHECK(w.routed == 0 && w.dones == 0 && w.group.count == 0);
    CHECK(w.refusals == 1 && w.refused == FAILURE_BAD_REQUEST);
    CHECK_ERR(ERR_ORIGIN, w.end);
    tunnel_close(&w);
}

/* ---- back-pressure ---- */

TEST(whoever_takes_nothing_stops_the_far_end)
{
    for (int is_down = 0; is_down < 2; is_down++) {
        struct tunnel w;
        struct buf source;
        size_t at = 0, seen = 0, total = 0;
        tunnel_open(&w, 10000);
        if (is_down == 0)
            w.ex->request.framing = FRAMING_STREAM;
        begin(&w);
        if (is_down != 0)
            (void)respond(&w, 200, FRAMING_STREAM, 0);
        struct exchange *from = is_down ? w.origin : w.ex, *to = is_down ? w.ex : w.origin;
        struct body *out = is_down ? &from->down : &from->up;
        struct body *in = is_down ? &to->down : &to->up;
        buf_init(&source, loop_chunks(w.loop), 4 << 20);
        pattern_put(&source, &at, 2 << 20);
        for (int i = 0; i < 50; i++) {
            total += body_put(out, &source, SIZE_MAX);
            exchange_wake_left(from);
            exchange_wake_right(from);
            tunnel_turn(&w);
        }
        CHECK(total <= 2 * BODY_BYTES_MAX + 10000 + READ_STEP_BYTES);
        CHECK(buf_len(&in->held) == BODY_BYTES_MAX);
        while (seen < 2 << 20) {
            pattern_take(&in->held, &seen);
            (void)body_put(out, &source, SIZE_MAX);
            exchange_wake_left(to);
            exchange_wake_right(to);
            exchange_wake_left(from);
            exchange_wake_right(from);
            tunnel_turn(&w);
        }
        buf_done(&source);
        tunnel_close(&w);
    }
    (void)state_;
}

/* ---- streams that are no exchange ---- */

TEST(streams_that_end_or_break_before_a_head_are_let_go)
{
    static const char *const STARTS[] = { "", "\x0a", "GET / HTTP/1.1\r\n\r\n" };
    for (int i = 0; i < 3; i++)
        for (int is_reset = 0; is_reset < 2; is_reset++) {
            struct tunnel w;
            struct buf b;
            tunnel_open(&w, 1 << 20);
            buf_init(&b, loop_chunks(w.loop), 1000);
            CHECK_OK(buf_put(&b, slice_str(STARTS[i])));
            CHECK_OK(stream_write(w.edge_end, &b));
            if (is_reset != 0)
                stream_abort(w.edge_end, ERR_CLOSED);
            else
                stream_finish(w.edge_end);
            tunnel_turn(&w);
            CHECK(w.group.count == 0 && w.routed == 0);
            buf_done(&b);
            tunnel_close(&w);
        }
}

static void take_rpc(void *ctx, struct stream *s, struct buf *early)
{
    struct tunnel *w = ctx;
    w->rpcs++;
    assert_int_equal(buf_len(early), 4); /* what came behind the signature */
    stream_abort(s, ERR_CLOSED);
    stream_release(s);
}

TEST(an_rpc_stream_is_given_to_whoever_takes_it_or_refused)
{
    for (int takes = 0; takes < 2; takes++) {
        struct tunnel w;
        struct buf b;
        tunnel_open(&w, 1 << 20);
        w.group.rpc = takes != 0 ? take_rpc : NULL;
        buf_init(&b, loop_chunks(w.loop), 1000);
        CHECK_OK(buf_put(&b, slice_of(HEAD_RPC_SIGNATURE, HEAD_RPC_BYTES)));
        CHECK_OK(buf_put(&b, SLICE("next")));
        CHECK_OK(stream_write(w.edge_end, &b));
        tunnel_turn(&w);
        CHECK(w.rpcs == (unsigned)takes && w.group.count == 0);
        buf_done(&b);
        tunnel_close(&w);
    }
}

TESTS(RUN(a_request_and_its_answer_come_through_as_they_were),
      RUN(bodies_stream_both_ways_with_their_framing), RUN(an_upgraded_exchange_is_bytes_both_ways),
      RUN(a_refused_upgrade_is_an_answer), RUN(statuses_and_methods_without_a_body_have_none),
      RUN(a_failure_before_the_answer_is_told_by_its_text),
      RUN(a_failure_within_the_answer_is_a_reset), RUN(an_answer_shorter_than_its_length_is_cut),
      RUN(a_request_shorter_than_its_length_never_reaches_its_end),
      RUN(a_visitor_that_goes_resets_the_stream_and_ends_the_origins_exchange),
      RUN(an_answer_before_the_end_of_the_request_never_makes_it_look_whole),
      RUN(an_edge_that_wants_no_answer_any_more_is_noticed_without_writing),
      RUN(a_connection_that_breaks_off_is_no_visitor_who_went),
      RUN(a_head_that_is_refused_never_was_an_exchange),
      RUN(whoever_takes_nothing_stops_the_far_end),
      RUN(streams_that_end_or_break_before_a_head_are_let_go),
      RUN(an_rpc_stream_is_given_to_whoever_takes_it_or_refused))
