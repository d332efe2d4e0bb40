#include "base/err.h"
#include "http/date.h"
#include "net/turn.h"

TEST(dates_have_the_one_form_that_is_sent)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } TABLE[] = {
        { 784111777, "Sun, 06 Nov 1994 08:49:37 GMT" }, /* the example of RFC 9110 §5.6.7 */
        { 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
        { 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
        { 4102444799, "Thu, 31 Dec 2099 23:59:59 GMT" },
    };
    char text[HTTP_DATE_BYTES];
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++)
        assert_string_equal(http_date(TABLE[i].seconds, text), TABLE[i].text);
    (void)state_;
}

TEST(the_present_is_between_before_and_after)
{
    char before[HTTP_DATE_BYTES], after[HTTP_DATE_BYTES];
    bool is_equal = false;
    /* A second may end between two looks at the clock, but not between each two. */
    for (int i = 0; i < 3 && !is_equal; i++) {
        (void)http_date(clock_wall_us() / 1000000, before);
        const char *now = http_date_now();
        (void)http_date(clock_wall_us() / 1000000, after);
        CHECK(strcmp(now, before) == 0 || strcmp(now, after) == 0);
        is_equal = strcmp(before, after) == 0 && strcmp(now, before) == 0;
    }
    CHECK(is_equal);
    (void)state_;
}

TEST(a_date_is_added_where_there_is_none)
{
    static const struct {
        unsigned status;
        const char *said;
        size_t count;
    } TABLE[] = { { 200, NULL, 1 }, { 404, NULL, 1 }, { 200, "some day", 1 }, { 101, NULL, 0 } };
    struct loop *loop;
    struct task left;
    CHECK_OK(loop_new(&loop));
    task_init(&left, loop, do_nothing);
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct exchange *ex = exchange_new(loop, &left);
        ex->response = response_new(ex, TABLE[i].status);
        struct fields *f = &ex->response->fields;
        if (TABLE[i].said != NULL)
            CHECK_OK(fields_add(f, SLICE("dAtE"), slice_str(TABLE[i].said)));
        CHECK_OK(http_date_complete(ex));
        CHECK(fields_count(f, SLICE("date")) == TABLE[i].count);
        if (TABLE[i].said != NULL)
            CHECK_SLICE(fields_get(f, SLICE("date"))->value, slice_str(TABLE[i].said));
        exchange_leave(ex, EX_LEFT);
    }
    loop_turn(loop, 0);
    task_done(&left);
    loop_free(loop);
    (void)state_;
}

TESTS(RUN(dates_have_the_one_form_that_is_sent), RUN(the_present_is_between_before_and_after),
      RUN(a_date_is_added_where_there_is_none))
