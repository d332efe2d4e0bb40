/* Interim responses and trailers through a data stream, where both ends can, and where not. */
#include "tunnel/joined.h"
#include "tunnel/metadata.h"
#include "tunnel/pieces.h"

#define WINDOW (1 << 20)

static void chunked_post(struct tunnel *w)
{
    w->ex->request.method = SLICE("POST");
    w->ex->request.framing = FRAMING_STREAM;
}

static struct fields *sum_of(struct exchange *ex, struct slice value)
{
    struct fields *f = arena_alloc(&ex->arena, sizeof *f);
    assert_non_null(f);
    fields_init(f, &ex->arena);
    assert_int_equal(fields_add(f, SLICE("X-Sum"), value), 0);
    return f;
}

static void interim(struct tunnel *w, unsigned status)
{
    struct response *r = response_new(w->origin, status);
    assert_non_null(r);
    assert_int_equal(fields_add(&r->fields, SLICE("Link"), SLICE("</a.css>")), 0);
    assert_int_equal(exchange_interim(w->origin, r), 0);
    tunnel_turn(w);
}

/* ---- interim responses ---- */

TEST(interim_responses_come_before_the_final_one)
{
    struct tunnel w;
    tunnel_open_with(&w, WINDOW, EXTENSIONS_ALL);
    begin(&w);
    interim(&w, 103);
    interim(&w, 102);
    CHECK(w.ex->response == NULL && w.end == ERR_AGAIN);
    CHECK(w.ex->interim != NULL && w.ex->interim->status == 103);
    CHECK_SLICE(fields_get(&w.ex->interim->fields, SLICE("link"))->value, SLICE("</a.css>"));
    CHECK(w.ex->interim->next != NULL && w.ex->interim->next->status == 102);
    (void)respond(&w, 200, FRAMING_LENGTH, 2);
    put(w.origin, &w.origin->down, "ok");
    end_body(w.origin, &w.origin->down);
    origin_leave(&w);
    CHECK(w.end == 0 && w.ex->response->status == 200 && w.ex->down.ended);
    assert_string_equal(take(w.ex, &w.ex->down), "ok");
    tunnel_close(&w);
}

TEST(a_plain_edge_gets_no_interim_response)
{
    struct tunnel w;
    tunnel_open(&w, WINDOW);
    begin(&w);
    interim(&w, 103);
    CHECK(w.ex->interim == NULL && w.ex->response == NULL && w.end == ERR_AGAIN);
    (void)respond(&w, 204, FRAMING_NONE, 0);
    end_body(w.origin, &w.origin->down);
    origin_leave(&w);
    CHECK(w.end == 0 && w.ex->response->status == 204);
    tunnel_close(&w);
}

TEST(whoever_waits_for_a_hundred_gets_the_origins_and_one)
{
    struct tunnel w;
    tunnel_open_with(&w, WINDOW, EXTENSIONS_ALL);
    chunked_post(&w);
    w.ex->request.expects_continue = true;
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("Expect"), SLICE("100-continue")));
    begin(&w);
    CHECK(w.origin->request.expects_continue);
    CHECK(!w.ex->wants_body); /* the origin has said nothing */
    w.origin->wants_body = true;
    interim(&w, 100);
    CHECK(w.ex->wants_body);
    CHECK(w.ex->interim != NULL && w.ex->interim->status == 100 && w.ex->interim->next == NULL);
    (void)respond(&w, 204, FRAMING_NONE, 0);
    end_body(w.origin, &w.origin->down);
    origin_leave(&w);
    tunnel_close(&w);
}

TEST(a_plain_connector_is_not_waited_for)
{
    struct tunnel w;
    tunnel_open(&w, WINDOW);
    chunked_post(&w);
    w.ex->request.expects_continue = true;
    begin(&w);
    CHECK(w.ex->wants_body);
    tunnel_close(&w);
}

TEST(a_hundred_that_nobody_waits_for_goes_no_further)
{
    struct tunnel w;
    tunnel_open_with(&w, WINDOW, EXTENSIONS_ALL);
    chunked_post(&w);
    begin(&w);
    w.origin->wants_body = true;
    interim(&w, 100);
    CHECK(w.ex->interim == NULL);
    tunnel_close(&w);
}

/* ---- trailers ---- */

/* `size` bytes and a trailer, through a window that holds a part of them. */
static void carry_down(struct tunnel *w, size_t size)
{
    static uint8_t bytes[3000];
    size_t put_so_far = 0, seen = 0;
    memset(bytes, 'x', sizeof bytes);
    while (seen < size || !w->ex->down.ended) {
        size_t n = size - put_so_far < sizeof bytes ? size - put_so_far : sizeof bytes;
        if (n > body_room(&w->origin->down))
            n = body_room(&w->origin->down);
        if (n > 0) {
            struct buf from;
            buf_init(&from, loop_chunks(w->loop), sizeof bytes);
            assert_int_equal(buf_put(&from, slice_of(bytes, n)), 0);
            put_so_far += body_put(&w->origin->down, &from, SIZE_MAX);
            buf_done(&from);
        }
        if (put_so_far == size && !w->origin->down.ended) {
            w->origin->down_trailers = sum_of(w->origin, SLICE("9"));
            body_end(&w->origin->down);
        }
        exchange_wake_left(w->origin);
        tunnel_turn(w);
        seen += buf_len(&w->ex->down.held);
        buf_drop(&w->ex->down.held, buf_len(&w->ex->down.held));
        exchange_wake_right(w->ex);
        assert_true(w->end == ERR_AGAIN || w->end == 0);
    }
    assert_int_equal(seen, size);
}

TEST(announced_trailers_come_behind_the_body)
{
    static const struct {
        bool is_asked; /* by the visitor: TE; or announced by the origin: Trailer */
        size_t window, size;
    } TABLE[] = { { false, WINDOW, 0 }, { false, WINDOW, 5 },    { true, WINDOW, 5 },
                  { false, 7, 40 },     { false, 4096, 100000 }, { true, WINDOW, 1000000 } };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct tunnel w;
        tunnel_open_with(&w, TABLE[i].window, EXTENSIONS_ALL);
        if (TABLE[i].is_asked)
            CHECK_OK(fields_add(&w.ex->request.fields, SLICE("TE"), SLICE("trailers")));
        begin(&w);
        UNTIL(w.loop, w.origin != NULL);
        struct response *r = respond(&w, 200, FRAMING_STREAM, 0);
        if (!TABLE[i].is_asked)
            CHECK_OK(fields_add(&r->fields, SLICE("Trailer"), SLICE("X-Sum")));
        carry_down(&w, TABLE[i].size);
        CHECK(w.ex->down_trailers != NULL && w.ex->down_trailers->count == 1);
        CHECK_SLICE(fields_get(w.ex->down_trailers, SLICE("x-sum"))->value, SLICE("9"));
        CHECK((fields_get(&w.ex->response->fields, SLICE("trailer")) != NULL) ==
              !TABLE[i].is_asked);
        CHECK(fields_get(&w.ex->response->fields, SLICE("aditbody")) == NULL);
        origin_leave(&w);
        CHECK(w.end == 0);
        tunnel_close(&w);
    }
}

TEST(announced_trailers_of_a_request_come_behind_its_body)
{
    for (int is_small = 0; is_small < 2; is_small++) {
        struct tunnel w;
        tunnel_open_with(&w, is_small ? 5 : WINDOW, EXTENSIONS_ALL);
        chunked_post(&w);
        CHECK_OK(fields_add(&w.ex->request.fields, SLICE("Trailer"), SLICE("X-Sum")));
        begin(&w);
        UNTIL(w.loop, w.origin != NULL);
        put(w.ex, &w.ex->up, "one piece");
        UNTIL(w.loop, w.origin->up.total == 9);
        assert_string_equal(take(w.origin, &w.origin->up), "one piece");
        put(w.ex, &w.ex->up, "and one more");
        w.ex->up_trailers = sum_of(w.ex, SLICE("abc"));
        end_body(w.ex, &w.ex->up);
        UNTIL(w.loop, w.origin->up.ended);
        assert_string_equal(take(w.origin, &w.origin->up), "and one more");
        CHECK_SLICE(fields_get(w.origin->up_trailers, SLICE("x-sum"))->value, SLICE("abc"));
        CHECK(fields_get(&w.origin->request.fields, SLICE("trailer")) != NULL);
        (void)respond(&w, 204, FRAMING_NONE, 0);
        end_body(w.origin, &w.origin->down);
        origin_leave(&w);
        UNTIL(w.loop, w.end == 0);
        tunnel_close(&w);
    }
}

TEST(where_one_end_cannot_the_trailers_end_and_their_announcement_too)
{
    struct tunnel w;
    tunnel_open(&w, WINDOW);
    chunked_post(&w);
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("Trailer"), SLICE("X-Sum")));
    begin(&w);
    put(w.ex, &w.ex->up, "up");
    w.ex->up_trailers = sum_of(w.ex, SLICE("1"));
    end_body(w.ex, &w.ex->up);
    tunnel_turn(&w);
    assert_string_equal(take(w.origin, &w.origin->up), "up");
    CHECK(w.origin->up.ended && w.origin->up_trailers == NULL);
    CHECK(fields_get(&w.origin->request.fields, SLICE("trailer")) == NULL);
    struct response *r = respond(&w, 200, FRAMING_STREAM, 0);
    CHECK_OK(fields_add(&r->fields, SLICE("Trailer"), SLICE("X-Sum")));
    put(w.origin, &w.origin->down, "down");
    w.origin->down_trailers = sum_of(w.origin, SLICE("2"));
    end_body(w.origin, &w.origin->down);
    origin_leave(&w);
    CHECK(w.end == 0 && w.ex->down_trailers == NULL);
    CHECK(fields_get(&w.ex->response->fields, SLICE("trailer")) == NULL);
    assert_string_equal(take(w.ex, &w.ex->down), "down");
    tunnel_close(&w);
}

TEST(a_body_in_pieces_that_is_cut_off_never_looks_whole)
{
    for (int is_up = 0; is_up < 2; is_up++) {
        struct tunnel w;
        tunnel_open_with(&w, WINDOW, EXTENSIONS_ALL);
        chunked_post(&w);
        CHECK_OK(fields_add(&w.ex->request.fields, SLICE("Trailer"), SLICE("X-Sum")));
        begin(&w);
        put(w.ex, &w.ex->up, "half");
        tunnel_turn(&w);
        struct response *r = is_up ? NULL : respond(&w, 200, FRAMING_STREAM, 0);
        if (is_up) {
            tunnel_client_done(&w.client);
            tunnel_turn(&w);
            CHECK(exchange_has_failed(w.origin) && !w.origin->up.ended);
        } else {
            CHECK_OK(fields_add(&r->fields, SLICE("Trailer"), SLICE("X-Sum")));
            put(w.origin, &w.origin->down, "half");
            tunnel_turn(&w);
            exchange_fail(w.origin, ERR_CUT, HOP_ORIGIN, NULL);
            origin_leave(&w);
            CHECK_ERR(ERR_RESET, w.end);
            CHECK(!w.ex->down.ended);
        }
        tunnel_close(&w);
    }
}

/* ---- what the far end may say ---- */

struct raw {
    struct tunnel w;
    struct stream *far; /* in the connector's place */
    struct buf out;
};

/* The edge's end against bytes. */
static void raw_open(struct raw *r, unsigned extensions)
{
    struct tunnel *w = &r->w;
    tunnel_open_with(w, WINDOW, extensions);
    tunnel_turn(w);
    stream_release(w->edge_end); /* this pair's connector end goes by itself */
    tunnel_turn(w);
    assert_int_equal(pipe_new(w->loop, WINDOW, &w->edge_end, &r->far), 0);
    w->edge_end->owner = &w->client_task;
    buf_init(&r->out, loop_chunks(w->loop), WINDOW);
    begin(w);
}

static void raw_say(struct raw *r, struct slice bytes)
{
    assert_int_equal(buf_put(&r->out, bytes), 0);
    assert_int_equal(stream_write(r->far, &r->out), 0);
    tunnel_turn(&r->w);
}

static void raw_head(struct raw *r, struct metadata *items, size_t count)
{
    struct connect_head head = { .items = items, .count = count, .max = count };
    assert_int_equal(head_encode_response(&r->out, &head), 0);
    raw_say(r, slice_of(NULL, 0));
}

static void raw_close(struct raw *r)
{
    stream_release(r->far);
    buf_done(&r->out);
    tunnel_close(&r->w);
}

#define ITEM(k, v)                                                                                 \
    {                                                                                              \
        .key = SLICE(k), .value = SLICE(v)                                                         \
    }

TEST(a_connector_that_did_not_name_it_may_not_send_interim_responses)
{
    struct metadata items[] = { ITEM("HttpStatus", "103") };
    struct raw r;
    raw_open(&r, EXTENSION_DIAG);
    raw_head(&r, items, 1);
    CHECK_ERR(ERR_PROTO, r.w.end);
    CHECK(r.w.ex->interim == NULL && r.w.ex->response == NULL);
    raw_close(&r);
}

TEST(interim_responses_without_end_are_given_up)
{
    struct metadata items[] = { ITEM("HttpStatus", "103") };
    struct raw r;
    raw_open(&r, EXTENSIONS_ALL);
    for (int i = 0; i < INTERIM_COUNT_MAX; i++)
        raw_head(&r, items, 1);
    CHECK_ERR(ERR_AGAIN, r.w.end);
    raw_head(&r, items, 1);
    CHECK_ERR(ERR_LIMIT, r.w.end);
    raw_close(&r);
}

TEST(what_both_did_not_name_is_not_looked_at)
{
    struct metadata items[] = { ITEM("HttpStatus", "200"), ITEM("AditBody", "pieces") };
    struct raw r;
    raw_open(&r, EXTENSION_DIAG);
    raw_head(&r, items, 2);
    raw_say(&r, slice_of("\0\0\0\0", 4));
    CHECK_ERR(ERR_AGAIN, r.w.end);
    CHECK(buf_len(&r.w.ex->down.held) == 4);
    raw_close(&r);
}

TEST(a_body_in_pieces_with_a_length_is_a_mistake)
{
    struct metadata items[] = { ITEM("HttpStatus", "200"), ITEM("AditBody", "pieces"),
                                ITEM("HttpHeader:Content-Length", "4") };
    struct raw r;
    raw_open(&r, EXTENSIONS_ALL);
    raw_head(&r, items, 3);
    CHECK_ERR(ERR_PROTO, r.w.end);
    raw_close(&r);
}

TEST(trailers_are_checked_as_those_of_chunks_are)
{
    static char large[TRAILER_BYTES_MAX];
    memset(large, 'v', sizeof large);
    const struct {
        const char *key;
        struct slice value, error;
        int end;
        bool is_kept;
    } TABLE[] = {
        { "HttpHeader:X-Sum", SLICE("1"), SLICE(""), 0, true },
        { "HttpHeader:Content-Length", SLICE("1"), SLICE(""), 0, false },
        { "HttpHeader:Transfer-Encoding", SLICE("chunked"), SLICE(""), 0, false },
        { "HttpHeader:Host", SLICE("other"), SLICE(""), 0, false },
        { "HttpHeader:Set-Cookie", SLICE("a=b"), SLICE(""), 0, false },
        { "HttpHeader:X Sum", SLICE("1"), SLICE(""), ERR_PROTO, false },
        { "HttpHeader:X-Sum", SLICE("1\r\nSet-Cookie: a"), SLICE(""), ERR_PROTO, false },
        { "HttpHeader:X-Sum", slice_of(large, sizeof large), SLICE(""), ERR_LIMIT, false },
        { "HttpHeader:X-Sum", SLICE("1"), SLICE("an error"), ERR_PROTO, false },
        { "AditOther", SLICE("1"), SLICE(""), 0, false },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct metadata items[] = { ITEM("HttpStatus", "200"), ITEM("AditBody", "pieces") };
        struct metadata trailer = { .key = slice_str(TABLE[i].key), .value = TABLE[i].value };
        struct connect_head head = {
            .items = &trailer, .count = 1, .max = 1, .error = TABLE[i].error
        };
        struct raw r;
        raw_open(&r, EXTENSIONS_ALL);
        raw_head(&r, items, 2);
        raw_say(&r, slice_of("\0\0\0\2", 4));
        raw_say(&r, SLICE("ok"));
        CHECK_OK(buf_put(&r.out, slice_of("\0\0\0\0", 4)));
        CHECK_OK(head_encode_response(&r.out, &head));
        raw_say(&r, slice_of(NULL, 0));
        CHECK_ERR(TABLE[i].end, r.w.end);
        CHECK((r.w.ex->down_trailers != NULL) == TABLE[i].is_kept);
        CHECK(r.w.ex->down.ended == (TABLE[i].end == 0));
        raw_close(&r);
    }
}

TEST(pieces_that_end_early_are_cut_off)
{
    static const char *const TABLE[] = { "",           "\0\0",     "\0\0\0\5ab",
                                         "\0\0\0\2ab", "\0\0\0\0", "\0\0\0\0\x0a\x36" };
    static const size_t SIZE[] = { 0, 2, 6, 6, 4, 6 };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct metadata items[] = { ITEM("HttpStatus", "200"), ITEM("AditBody", "pieces") };
        struct raw r;
        raw_open(&r, EXTENSIONS_ALL);
        raw_head(&r, items, 2);
        if (SIZE[i] > 0)
            raw_say(&r, slice_of(TABLE[i], SIZE[i]));
        CHECK_ERR(ERR_AGAIN, r.w.end);
        stream_finish(r.far);
        tunnel_turn(&r.w);
        CHECK_ERR(ERR_CUT, r.w.end);
        CHECK(!r.w.ex->down.ended);
        raw_close(&r);
    }
}

TESTS(RUN(interim_responses_come_before_the_final_one), RUN(a_plain_edge_gets_no_interim_response),
      RUN(whoever_waits_for_a_hundred_gets_the_origins_and_one),
      RUN(a_plain_connector_is_not_waited_for),
      RUN(a_hundred_that_nobody_waits_for_goes_no_further),
      RUN(announced_trailers_come_behind_the_body),
      RUN(announced_trailers_of_a_request_come_behind_its_body),
      RUN(where_one_end_cannot_the_trailers_end_and_their_announcement_too),
      RUN(a_body_in_pieces_that_is_cut_off_never_looks_whole),
      RUN(a_connector_that_did_not_name_it_may_not_send_interim_responses),
      RUN(interim_responses_without_end_are_given_up), RUN(what_both_did_not_name_is_not_looked_at),
      RUN(a_body_in_pieces_with_a_length_is_a_mistake),
      RUN(trailers_are_checked_as_those_of_chunks_are), RUN(pieces_that_end_early_are_cut_off))
