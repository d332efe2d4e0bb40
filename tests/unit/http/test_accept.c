#include "http/accept.h"

#include "test.h"

static enum page_form form(const char *first, const char *second)
{
    struct arena arena;
    struct fields f;
    arena_init(&arena, 1 << 16);
    fields_init(&f, &arena);
    assert_int_equal(fields_add(&f, SLICE("X-Accept"), SLICE("application/json")), 0);
    if (first != NULL)
        assert_int_equal(fields_add(&f, SLICE("Accept"), slice_str(first)), 0);
    if (second != NULL)
        assert_int_equal(fields_add(&f, SLICE("aCCEPT"), slice_str(second)), 0);
    enum page_form got = accept_form(&f);
    arena_done(&arena);
    return got;
}

TEST(the_form_is_the_one_that_is_liked_best)
{
    static const struct {
        const char *accept;
        enum page_form form;
    } TABLE[] = {
        { NULL, PAGE_TEXT },
        { "", PAGE_TEXT },
        { "*/*", PAGE_TEXT },
        { "text/*", PAGE_TEXT },
        { "application/*", PAGE_JSON },
        { "text/html", PAGE_HTML },
        { "TEXT/HTML; charset=utf-8", PAGE_HTML },
        { "application/json", PAGE_JSON },
        { "application/problem+json", PAGE_JSON },
        /* browsers, and what their scripts send */
        { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PAGE_HTML },
        { "application/json, text/plain, */*", PAGE_JSON },
        { "image/avif,image/webp,*/*;q=0.8", PAGE_TEXT },
        /* qualities */
        { "text/html;q=0.5, application/json;q=0.6", PAGE_JSON },
        { "text/html;q=0.501, application/json;q=0.5", PAGE_HTML },
        { "text/html;q=0.1, */*;q=0.2", PAGE_TEXT },
        { "text/html ; q=0.9 , text/plain ; q=0.8", PAGE_HTML },
        { "text/html;q=0.2;level=1, text/plain;q=0.1", PAGE_HTML },
        { "text/html;q=1.000, application/json", PAGE_HTML },
        { "text/html;q=nonsense, application/json;q=0.9", PAGE_HTML },
        /* the special range counts, wherever it stands */
        { "*/*, text/plain;q=0", PAGE_HTML },
        { "*/*, text/plain;q=0, text/html;q=0", PAGE_JSON },
        { "text/*;q=0.3, text/html;q=0.7, text/plain;q=0.4", PAGE_HTML },
        { "text/*, text/plain;q=0.5", PAGE_HTML },
        { "*/*;q=0.5, application/*;q=0.1, text/*;q=0.1", PAGE_JSON },
        /* equals: by name before by kind, then the first */
        { "*/*, application/json", PAGE_JSON },
        { "text/*, text/html", PAGE_HTML },
        { "text/plain, text/html", PAGE_TEXT },
        { "text/html, text/plain", PAGE_HTML },
        /* nothing of ours */
        { "image/png", PAGE_TEXT },
        { "text/html;q=0", PAGE_TEXT },
        { "text/html;q=0, text/plain;q=0, application/json;q=0", PAGE_TEXT },
        { ",,;,;q=1,/,*", PAGE_TEXT },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        enum page_form got = form(TABLE[i].accept, NULL);
        if (got != TABLE[i].form)
            fail_msg("%s: got %d", TABLE[i].accept != NULL ? TABLE[i].accept : "none", (int)got);
    }
    (void)state_;
}

TEST(several_lines_are_one_list)
{
    CHECK(form("image/png", "text/html") == PAGE_HTML);
    CHECK(form("application/json;q=0.5", "text/html") == PAGE_HTML);
    CHECK(form("application/json", "text/html") == PAGE_JSON);
}

TESTS(RUN(the_form_is_the_one_that_is_liked_best), RUN(several_lines_are_one_list))
