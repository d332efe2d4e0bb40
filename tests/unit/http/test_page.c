/* Pages of failures: what they say, and what they make of texts that come from elsewhere. */
#include "http/page.h"

#include "net/turn.h"
#include "test.h"

#define BODY_BYTES 16384

struct world {
    struct loop *loop;
    struct task left;
    struct exchange *ex;
    char body[BODY_BYTES];
};

static void world_open(struct world *w, const char *accept)
{
    memset(w, 0, sizeof *w);
    assert_int_equal(loop_new(&w->loop), 0);
    task_init(&w->left, w->loop, do_nothing);
    w->ex = exchange_new(w->loop, &w->left);
    assert_non_null(w->ex);
    w->ex->request.method = SLICE("GET");
    assert_int_equal(fields_add(&w->ex->request.fields, SLICE("Accept"), slice_str(accept)), 0);
}

/* The page of a failure, as text. */
static const char *answer(struct world *w, enum failure failure, const char *text)
{
    struct page page;
    page_for_failure(failure, text, &page);
    assert_int_equal(page_respond(w->ex, &page), 0);
    size_t n = buf_copy(&w->ex->down.held, 0, (uint8_t *)w->body, sizeof w->body - 1);
    w->body[n] = 0;
    assert_int_equal(w->ex->response->length, n);
    return w->body;
}

static void world_close(struct world *w)
{
    buf_drop(&w->ex->down.held, buf_len(&w->ex->down.held));
    exchange_leave(w->ex, EX_LEFT);
    for (int i = 0; i < 4; i++)
        loop_turn(w->loop, 0);
    task_done(&w->left);
    loop_free(w->loop);
}

TEST(every_failure_has_a_page_in_every_form_with_all_that_is_known)
{
    static const char *const FORMS[] = { "text/html", "application/json", "text/plain" };
    for (unsigned f = 1; f < FAILURE_COUNT; f++)
        for (int i = 0; i < 3; i++) {
            const struct failure_row *row = failure_row((enum failure)f);
            struct world w;
            char code[16];
            world_open(&w, FORMS[i]);
            const char *body = answer(&w, (enum failure)f, "dial tcp 192.0.2.1:80");
            (void)snprintf(code, sizeof code, "%u", row->code);
            CHECK(w.ex->response->status == row->status && strstr(body, code) != NULL);
            CHECK(strstr(body, "dial tcp 192.0.2.1:80") != NULL && strstr(body, w.ex->id) != NULL);
            if (row->hop != HOP_NONE)
                CHECK(strstr(body, hop_name(row->hop)) != NULL);
            struct slice type = fields_get(&w.ex->response->fields, SLICE("content-type"))->value;
            CHECK(slice_starts(type, slice_str(FORMS[i])));
            world_close(&w);
        }
}

TEST(the_failed_hop_is_drawn_on_the_way)
{
    struct world w;
    world_open(&w, "text/html");
    CHECK(strstr(answer(&w, FAILURE_LINK_LOST, NULL),
                 "<span>edge</span> &rarr; <span class=bad>tunnel</span> &rarr;") != NULL);
    world_close(&w);
    world_open(&w, "text/plain");
    CHECK(strstr(answer(&w, FAILURE_LINK_LOST, NULL),
                 "failed at: tunnel (visitor > edge > [tunnel] > connector > origin)\n") != NULL);
    world_close(&w);
}

TEST(markup_in_a_text_is_text)
{
    static const char TEXT[] = "<script>alert('x')</script> & \"y\"";
    struct world w;
    world_open(&w, "text/html");
    CHECK(strstr(answer(&w, FAILURE_ORIGIN, TEXT),
                 "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;") != NULL);
    CHECK(strstr(w.body, "<script") == NULL);
    world_close(&w);
    world_open(&w, "application/json");
    CHECK(strstr(answer(&w, FAILURE_ORIGIN, "a\\b \"c\"\n\x7f"),
                 "\"a\\\\b \\\"c\\\"\\u000a\\u007f\"") != NULL);
    world_close(&w);
}

TEST(control_characters_never_reach_a_terminal)
{
    struct world w;
    world_open(&w, "*/*");
    const char *body = answer(&w, FAILURE_ORIGIN, "a\x1b[2Jb\r\nerror 9999\x7f\xc2\x9bz \xc3\xa9");
    CHECK(strstr(body, "a [2Jb  error 9999  z \xc3\xa9\n") != NULL);
    world_close(&w);
    world_open(&w, "text/html");
    CHECK(strchr(answer(&w, FAILURE_ORIGIN, "a\x1b[2J"), '\x1b') == NULL);
    world_close(&w);
}

TEST(an_endless_text_is_cut_between_characters)
{
    static const char *const FORMS[] = { "text/html", "application/json", "text/plain" };
    static char text[60001];
    text[0] = 'x'; /* so that the bound falls into a character */
    for (size_t i = 1; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    for (int i = 0; i < 3; i++) {
        struct world w;
        world_open(&w, FORMS[i]);
        const char *body = answer(&w, FAILURE_ORIGIN, text);
        CHECK(strstr(body, "\xc3\xa9...") != NULL && strlen(body) < 4000);
        CHECK(slice_is_utf8(slice_str(body)));
        world_close(&w);
    }
}

TESTS(RUN(every_failure_has_a_page_in_every_form_with_all_that_is_known),
      RUN(the_failed_hop_is_drawn_on_the_way), RUN(markup_in_a_text_is_text),
      RUN(control_characters_never_reach_a_terminal),
      RUN(an_endless_text_is_cut_between_characters))
