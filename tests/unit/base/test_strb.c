#include "base/strb.h"

#include "test.h"

TEST(what_is_added_stands_behind_what_was_there)
{
    struct strb s;
    strb_init(&s, 100);
    CHECK(strb_slice(&s).n == 0);
    strb_str(&s, "one");
    strb_char(&s, ' ');
    strb_add(&s, SLICE("t\0o"));
    strb_fmt(&s, "-%d-%s", 3, "x");
    strb_fmt(&s, "%s", "");
    strb_str(&s, NULL);
    CHECK_SLICE(strb_slice(&s), SLICE("one t\0o-3-x"));
    CHECK(s.err == 0 && s.p[s.n] == 0);
    strb_done(&s);
    strb_str(&s, "again");
    CHECK_SLICE(strb_slice(&s), SLICE("again"));
    strb_done(&s);
    strb_done(&s);
}

TEST(it_grows_to_its_bound_and_not_beyond)
{
    for (size_t max = 0; max < 1100; max += 13) {
        struct strb s;
        strb_init(&s, max);
        for (size_t i = 0; i < max; i++) {
            strb_char(&s, (char)('a' + i % 26));
            CHECK(s.err == 0 && s.p[s.n] == 0);
        }
        CHECK(s.n == max);
        strb_char(&s, 'x');
        CHECK(s.err == ERR_LIMIT && s.n == max);
        strb_done(&s);
        strb_fmt(&s, "%0*d", (int)max + 1, 1);
        CHECK(s.err == ERR_LIMIT && s.n == 0);
        strb_done(&s);
    }
}

TEST(an_error_sticks)
{
    struct strb s;
    strb_init(&s, 5);
    strb_str(&s, "abc");
    strb_str(&s, "def");
    strb_char(&s, 'x'); /* would fit, but the text has a hole already */
    strb_fmt(&s, "%d", 1);
    CHECK(s.err == ERR_LIMIT);
    CHECK_SLICE(strb_slice(&s), SLICE("abc"));
    CHECK(strb_take(&s) == NULL && s.err == 0 && s.n == 0);
    strb_str(&s, "abcde");
    CHECK(s.err == 0);
    strb_done(&s);
    strb_init(&s, 10);
    strb_add(&s, slice_of("x", SIZE_MAX)); /* the length alone is refused: nothing is read */
    CHECK(s.err == ERR_LIMIT);
    strb_done(&s);
}

TEST(a_text_that_is_taken_is_the_takers)
{
    struct strb s;
    strb_init(&s, 100);
    char *text = strb_take(&s);
    CHECK(text != NULL && text[0] == 0);
    free(text);
    strb_str(&s, "hello");
    text = strb_take(&s);
    CHECK(strcmp(text, "hello") == 0 && s.p == NULL && s.n == 0);
    strb_str(&s, "other");
    CHECK(strcmp(text, "hello") == 0);
    free(text);
    strb_done(&s);
}

TESTS(RUN(what_is_added_stands_behind_what_was_there), RUN(it_grows_to_its_bound_and_not_beyond),
      RUN(an_error_sticks), RUN(a_text_that_is_taken_is_the_takers))
