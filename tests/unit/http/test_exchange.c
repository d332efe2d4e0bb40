#include "http/exchange.h"

#include "http/h1_body.h"
#include "http/page.h"
#include "http/status.h"
#include "net/turn.h"

struct sides {
    struct loop *loop;
    struct task left, right;
    unsigned left_wakes, right_wakes;
    struct exchange *ex;
    struct buf buf;
};

static void left_run(struct task *t)
{
    container_of(t, struct sides, left)->left_wakes++;
}

static void right_run(struct task *t)
{
    container_of(t, struct sides, right)->right_wakes++;
}

static void sides_open(struct sides *s, bool is_attached)
{
    memset(s, 0, sizeof *s);
    assert_int_equal(loop_new(&s->loop), 0);
    task_init(&s->left, s->loop, left_run);
    task_init(&s->right, s->loop, right_run);
    buf_init(&s->buf, loop_chunks(s->loop), 1 << 20);
    s->ex = exchange_new(s->loop, &s->left);
    assert_non_null(s->ex);
    if (is_attached)
        exchange_attach(s->ex, &s->right);
}

static void sides_close(struct sides *s)
{
    buf_done(&s->buf);
    task_done(&s->left);
    task_done(&s->right);
    loop_turn(s->loop, 0);
    loop_free(s->loop);
}

static void put(struct sides *s, const char *text)
{
    assert_int_equal(buf_put(&s->buf, slice_str(text)), 0);
}

/* ---- the exchange ---- */

TEST(an_exchange_lives_until_both_sides_have_left)
{
    for (int is_left_first = 0; is_left_first < 2; is_left_first++) {
        struct sides s;
        sides_open(&s, true);
        CHECK(strlen(s.ex->id) == 16);
        exchange_leave(s.ex, is_left_first ? EX_LEFT : EX_RIGHT);
        CHECK(exchange_has_left(s.ex, is_left_first ? EX_LEFT : EX_RIGHT));
        loop_turn(s.loop, 0);
        CHECK(s.ex->verdict.err == (is_left_first ? ERR_CANCELED : ERR_CUT));
        CHECK((is_left_first ? s.right_wakes : s.left_wakes) == 1);
        CHECK((is_left_first ? s.left_wakes : s.right_wakes) == 0); /* it is gone */
        exchange_leave(s.ex, is_left_first ? EX_RIGHT : EX_LEFT);
        sides_close(&s);
    }
}

TEST(an_exchange_without_a_right_side_goes_with_its_left)
{
    struct sides s;
    sides_open(&s, false);
    CHECK(exchange_has_left(s.ex, EX_RIGHT));
    exchange_leave(s.ex, EX_LEFT);
    sides_close(&s);
}

TEST(ids_differ)
{
    struct sides s;
    sides_open(&s, false);
    struct exchange *other = exchange_new(s.loop, &s.left);
    CHECK(strcmp(s.ex->id, other->id) != 0);
    exchange_leave(other, EX_LEFT);
    exchange_leave(s.ex, EX_LEFT);
    sides_close(&s);
}

TEST(the_id_of_a_ray_is_taken_when_it_is_one)
{
    static const struct {
        const char *ray;
        bool is_one;
    } TABLE[] = {
        { "0123456789abcdef-ADT", true },
        { "0123456789ABCDEF-SJC", true },
        { "0123456789abcdef", true },
        { "0123456789abcde-ADT", false },
        { "0123456789abcdef0-ADT", false },
        { "0123456789abcdeg-ADT", false },
        { "", false },
        { "-ADT", false },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct sides s;
        char before[EXCHANGE_ID_BYTES];
        sides_open(&s, false);
        memcpy(before, s.ex->id, sizeof before);
        exchange_take_ray(s.ex, slice_str(TABLE[i].ray));
        CHECK(strcmp(s.ex->id, TABLE[i].is_one ? "0123456789abcdef" : before) == 0);
        exchange_leave(s.ex, EX_LEFT);
        sides_close(&s);
    }
}

TEST(the_first_verdict_stays_and_both_sides_learn_of_it)
{
    struct sides s;
    sides_open(&s, true);
    exchange_fail(s.ex, ERR_TIMEOUT, HOP_ORIGIN, "first");
    exchange_fail(s.ex, ERR_RESET, HOP_TUNNEL, "second");
    loop_turn(s.loop, 0);
    CHECK(s.left_wakes == 1 && s.right_wakes == 1);
    CHECK(s.ex->verdict.err == ERR_TIMEOUT && s.ex->verdict.hop == HOP_ORIGIN);
    assert_string_equal(s.ex->verdict.text, "first");
    exchange_leave(s.ex, EX_RIGHT);
    CHECK(s.ex->verdict.err == ERR_TIMEOUT);
    exchange_leave(s.ex, EX_LEFT);
    sides_close(&s);
}

TEST(a_right_side_that_leaves_after_its_whole_answer_is_no_failure)
{
    struct sides s;
    sides_open(&s, true);
    exchange_respond(s.ex, response_new(s.ex, 200));
    body_end(&s.ex->down);
    exchange_leave(s.ex, EX_RIGHT);
    CHECK(!exchange_has_failed(s.ex));
    exchange_leave(s.ex, EX_LEFT);
    sides_close(&s);
    sides_open(&s, true);
    exchange_respond(s.ex, response_new(s.ex, 200)); /* without its body */
    exchange_leave(s.ex, EX_RIGHT);
    CHECK(s.ex->verdict.err == ERR_CUT);
    exchange_leave(s.ex, EX_LEFT);
    sides_close(&s);
}

TEST(a_body_takes_what_fits_and_counts_it)
{
    struct sides s;
    size_t at = 0;
    sides_open(&s, true);
    pattern_put(&s.buf, &at, BODY_BYTES_MAX + 1000);
    CHECK(body_put(&s.ex->up, &s.buf, 10) == 10);
    CHECK(body_put(&s.ex->up, &s.buf, SIZE_MAX) == BODY_BYTES_MAX - 10);
    CHECK(body_room(&s.ex->up) == 0 && body_put(&s.ex->up, &s.buf, SIZE_MAX) == 0);
    CHECK(s.ex->up.total == BODY_BYTES_MAX && buf_len(&s.buf) == 1000);
    body_end(&s.ex->up);
    CHECK(!body_is_over(&s.ex->up));
    buf_drop(&s.ex->up.held, SIZE_MAX);
    CHECK(body_is_over(&s.ex->up));
    exchange_leave(s.ex, EX_RIGHT);
    exchange_leave(s.ex, EX_LEFT);
    sides_close(&s);
}

TEST(every_hop_has_its_name)
{
    static const char *const NAMES[] = {
        "none", "visitor", "edge", "tunnel", "connector", "origin"
    };
    for (int i = HOP_NONE; i <= HOP_ORIGIN; i++) {
        (void)state_;
        assert_string_equal(hop_name((enum hop)i), NAMES[i]);
    }
}

/* ---- bodies of HTTP/1.1 ---- */

TEST(a_reader_stops_when_the_body_is_full_and_goes_on_later)
{
    struct sides s;
    struct h1_reader r;
    size_t at = 0, seen = 0;
    sides_open(&s, true);
    h1_reader_init(&r, FRAMING_LENGTH, 300000);
    pattern_put(&s.buf, &at, 300000);
    put(&s, "the next request");
    int e;
    while ((e = h1_reader_run(&r, &s.buf, &s.ex->up, &s.ex->arena, &s.ex->up_trailers)) ==
           ERR_AGAIN) {
        CHECK(buf_len(&s.ex->up.held) == BODY_BYTES_MAX);
        pattern_take(&s.ex->up.held, &seen);
    }
    CHECK_OK(e);
    pattern_take(&s.ex->up.held, &seen);
    CHECK(seen == 300000 && buf_len(&s.buf) == 16); /* what follows is left alone */
    CHECK_OK(h1_reader_run(&r, &s.buf, &s.ex->up, &s.ex->arena, &s.ex->up_trailers));
    exchange_leave(s.ex, EX_RIGHT);
    exchange_leave(s.ex, EX_LEFT);
    sides_close(&s);
}

TEST(an_end_of_input_ends_only_a_body_that_ends_so)
{
    struct h1_reader r;
    h1_reader_init(&r, FRAMING_LENGTH, 5);
    CHECK_ERR(ERR_CUT, h1_reader_closed(&r));
    h1_reader_init(&r, FRAMING_STREAM, 0);
    CHECK_ERR(ERR_CUT, h1_reader_closed(&r));
    h1_reader_init_until_close(&r);
    CHECK_OK(h1_reader_closed(&r));
    h1_reader_init(&r, FRAMING_NONE, 0);
    CHECK_OK(h1_reader_closed(&r));
    h1_reader_init(&r, FRAMING_LENGTH, 0);
    CHECK_OK(h1_reader_closed(&r));
}

TEST(chunks_that_are_written_are_read_back_whatever_the_room)
{
    for (size_t room = 300; room < 40000; room = room * 3 + 1) {
        struct sides s;
        struct h1_writer w;
        struct h1_reader r;
        struct buf wire;
        size_t put_so_far = 0, seen = 0;
        sides_open(&s, true);
        h1_writer_init(&w, FRAMING_STREAM);
        h1_reader_init(&r, FRAMING_STREAM, 0);
        buf_init(&wire, loop_chunks(s.loop), room + TRAILER_BYTES_MAX + 8);
        struct fields trailers;
        fields_init(&trailers, &s.ex->arena);
        CHECK_OK(fields_add(&trailers, SLICE("X-End"), SLICE("yes")));
        int e = ERR_AGAIN;
        while (e == ERR_AGAIN) {
            size_t want = put_so_far + 7777 < 200000 ? put_so_far + 7777 : 200000;
            pattern_put(&s.buf, &put_so_far, want);
            if (!s.ex->up.ended)
                (void)body_put(&s.ex->up, &s.buf, SIZE_MAX);
            s.ex->up.ended = put_so_far == 200000 && buf_is_empty(&s.buf);
            bool ended = s.ex->up.ended;
            CHECK_OK(h1_writer_run(&w, &s.ex->up, &trailers, &wire));
            CHECK(!w.is_over || ended);
            e = h1_reader_run(&r, &wire, &s.ex->down, &s.ex->arena, &s.ex->down_trailers);
            pattern_take(&s.ex->down.held, &seen);
        }
        CHECK_OK(e);
        CHECK(seen == 200000 && s.ex->down_trailers != NULL);
        CHECK_SLICE(fields_get(s.ex->down_trailers, SLICE("x-end"))->value, SLICE("yes"));
        buf_done(&wire);
        exchange_leave(s.ex, EX_RIGHT);
        exchange_leave(s.ex, EX_LEFT);
        sides_close(&s);
    }
}

/* ---- pages ---- */

static const char *page_text(struct sides *s, const char *accept, const struct page *page)
{
    static char text[20000];
    if (accept != NULL)
        assert_int_equal(fields_add(&s->ex->request.fields, SLICE("Accept"), slice_str(accept)), 0);
    s->ex->request.method = SLICE("GET");
    assert_int_equal(page_respond(s->ex, page), 0);
    size_t n = buf_copy(&s->ex->down.held, 0, text, sizeof text - 1);
    text[n] = 0;
    assert_int_equal(s->ex->response->length, n);
    assert_true(s->ex->down.ended);
    return text;
}

static const struct page PAGE = { .status = 502,
                                  .code = 1034,
                                  .title = "<b>It</b> & \"that\"",
                                  .text = "a\\b\n\"c\"",
                                  .next = "Ask again.",
                                  .hop = HOP_ORIGIN };

TEST(a_page_has_the_form_that_was_asked_for)
{
    static const struct {
        const char *accept, *type, *words;
    } TABLE[] = {
        { NULL, "text/plain; charset=utf-8", "502 <b>It</b> & \"that\"\n" },
        { "text/html", "text/html; charset=utf-8",
          "<h1>&lt;b&gt;It&lt;/b&gt; &amp; &quot;that&quot;</h1>" },
        { "text/html", "text/html; charset=utf-8", "<span class=bad>origin</span>" },
        { "application/json", "application/json", "\"title\":\"<b>It</b> & \\\"that\\\"\"" },
        { "application/json", "application/json", "\"text\":\"a\\\\b\\u000a\\\"c\\\"\"" },
        { "application/problem+json", "application/json", "\"code\":1034" },
        { "image/png, TEXT/HTML;q=0.5", "text/html; charset=utf-8", "error 1034" },
        { "*/*", "text/plain; charset=utf-8", "failed at: origin" },
        { "text/plain, text/html", "text/plain; charset=utf-8", "Ask again." },
        { ",,;q=1,", "text/plain; charset=utf-8", "error 1034" },
        { "text/html;q=0.2, application/json;q=0.75, */*;q=0.1", "application/json",
          "\"code\":1034" },
        { "text/html;q=0, text/plain;q=0.001", "text/plain; charset=utf-8", "error 1034" },
        { "application/json;q=x, text/html", "application/json", "\"code\":1034" },
        { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
          "text/html; charset=utf-8", "error 1034" },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct sides s;
        sides_open(&s, false);
        const char *text = page_text(&s, TABLE[i].accept, &PAGE);
        if (strstr(text, TABLE[i].words) == NULL || strstr(text, s.ex->id) == NULL)
            fail_msg("%s: %s", TABLE[i].accept, text);
        CHECK(s.ex->response->status == 502);
        CHECK_SLICE(fields_get(&s.ex->response->fields, SLICE("content-type"))->value,
                    slice_str(TABLE[i].type));
        CHECK_SLICE(fields_get(&s.ex->response->fields, SLICE("cache-control"))->value,
                    SLICE("no-store"));
        exchange_leave(s.ex, EX_LEFT);
        sides_close(&s);
    }
}

TEST(a_page_for_head_has_its_length_and_no_body)
{
    struct sides s;
    sides_open(&s, false);
    s.ex->request.method = SLICE("HEAD");
    CHECK_OK(page_respond(s.ex, &PAGE));
    CHECK(s.ex->response->has_length && s.ex->response->length > 0);
    CHECK(s.ex->response->framing == FRAMING_NONE && body_is_over(&s.ex->down));
    exchange_leave(s.ex, EX_LEFT);
    sides_close(&s);
}

TEST(a_failed_exchange_says_which_failure_it_was)
{
    struct sides s;
    struct page page;
    sides_open(&s, false);
    exchange_fail(s.ex, ERR_TIMEOUT, HOP_ORIGIN, "why");
    CHECK(s.ex->verdict.failure == FAILURE_ORIGIN_CONNECT_TIMEOUT);
    exchange_fail_as(s.ex, FAILURE_ORIGIN_CUT, ERR_CUT, "too late"); /* the first verdict stays */
    CHECK(s.ex->verdict.failure == FAILURE_ORIGIN_CONNECT_TIMEOUT);
    page_for_failure(s.ex->verdict.failure, s.ex->verdict.text, &page);
    CHECK(page.status == 504 && page.hop == HOP_ORIGIN && page.code == 1043 && page.next != NULL);
    assert_string_equal(page.text, "why");
    exchange_leave(s.ex, EX_LEFT);
    sides_close(&s);
}

TEST(status_codes_have_their_reasons)
{
    CHECK_SLICE(status_reason(100), SLICE("Continue"));
    CHECK_SLICE(status_reason(200), SLICE("OK"));
    CHECK_SLICE(status_reason(451), SLICE("Unavailable For Legal Reasons"));
    CHECK_SLICE(status_reason(499), SLICE("Client Closed Request"));
    CHECK_SLICE(status_reason(530), SLICE("Tunnel Not Connected"));
    static const unsigned NONE[] = { 0, 99, 299, 418 + 1, 531, 999, 4000000000U };
    for (size_t i = 0; i < sizeof NONE / sizeof NONE[0]; i++)
        CHECK(status_reason(NONE[i]).n == 0);
}

TESTS(RUN(an_exchange_lives_until_both_sides_have_left),
      RUN(an_exchange_without_a_right_side_goes_with_its_left), RUN(ids_differ),
      RUN(the_id_of_a_ray_is_taken_when_it_is_one),
      RUN(the_first_verdict_stays_and_both_sides_learn_of_it),
      RUN(a_right_side_that_leaves_after_its_whole_answer_is_no_failure),
      RUN(a_body_takes_what_fits_and_counts_it), RUN(every_hop_has_its_name),
      RUN(a_reader_stops_when_the_body_is_full_and_goes_on_later),
      RUN(an_end_of_input_ends_only_a_body_that_ends_so),
      RUN(chunks_that_are_written_are_read_back_whatever_the_room),
      RUN(a_page_has_the_form_that_was_asked_for), RUN(a_page_for_head_has_its_length_and_no_body),
      RUN(a_failed_exchange_says_which_failure_it_was), RUN(status_codes_have_their_reasons))
