#include "http/fields.h"

#include "base/limits.h"
#include "http/status.h"
#include "test.h"

TEST(lines_keep_their_order_and_their_case)
{
    struct arena arena;
    struct fields f;
    arena_init(&arena, 100000);
    fields_init(&f, &arena);
    CHECK_OK(fields_add(&f, SLICE("Set-Cookie"), SLICE("a")));
    CHECK_OK(fields_add(&f, SLICE("X"), SLICE("b")));
    CHECK_OK(fields_add_copy(&f, SLICE("set-cookie"), SLICE("c")));
    CHECK(f.count == 3 && fields_count(&f, SLICE("SET-COOKIE")) == 2);
    CHECK_SLICE(fields_get(&f, SLICE("SET-cookie"))->value, SLICE("a"));
    CHECK(fields_get(&f, SLICE("Set-Cooki")) == NULL);
    CHECK_SLICE(f.lines[2].name, SLICE("set-cookie"));
    CHECK(fields_remove(&f, SLICE("Set-Cookie")) == 2 && f.count == 1);
    CHECK_OK(fields_set(&f, SLICE("x"), SLICE("d")));
    CHECK(f.count == 1);
    CHECK_SLICE(f.lines[0].value, SLICE("d"));
    arena_done(&arena);
}

TEST(a_copy_outlives_what_it_was_copied_from)
{
    struct arena arena;
    struct fields f;
    char name[] = "Name", value[] = "value";
    arena_init(&arena, 100000);
    fields_init(&f, &arena);
    CHECK_OK(fields_add_copy(&f, slice_of(name, 4), slice_of(value, 5)));
    CHECK_OK(fields_add_copy(&f, slice_of(name, 4), slice_of(NULL, 0)));
    memset(name, 'x', 4);
    memset(value, 'x', 5);
    CHECK_SLICE(f.lines[0].name, SLICE("Name"));
    CHECK_SLICE(f.lines[0].value, SLICE("value"));
    CHECK(f.lines[1].value.n == 0);
    arena_done(&arena);
}

TEST(no_more_lines_than_the_limit_are_held)
{
    struct arena arena;
    struct fields f;
    arena_init(&arena, 100000);
    fields_init(&f, &arena);
    for (int i = 0; i < HEAD_FIELDS_MAX; i++)
        CHECK_OK(fields_add(&f, SLICE("a"), SLICE("b")));
    CHECK_ERR(ERR_LIMIT, fields_add(&f, SLICE("a"), SLICE("b")));
    CHECK_ERR(ERR_LIMIT, fields_add_copy(&f, SLICE("a"), SLICE("b")));
    CHECK(f.count == HEAD_FIELDS_MAX && fields_count(&f, SLICE("A")) == HEAD_FIELDS_MAX);
    arena_done(&arena);
    arena_init(&arena, 10);
    fields_init(&f, &arena);
    CHECK_ERR(ERR_NOMEM, fields_add(&f, SLICE("a"), SLICE("b")));
    CHECK_ERR(ERR_NOMEM, fields_add_copy(&f, SLICE("a"), SLICE("bbbbbbbbbbbbbbbbb")));
    arena_done(&arena);
}

TEST(a_token_is_found_in_every_line_of_a_list)
{
    struct arena arena;
    struct fields f;
    arena_init(&arena, 100000);
    fields_init(&f, &arena);
    CHECK_OK(fields_add(&f, SLICE("Connection"), SLICE("a, ,\tb ,c d")));
    CHECK_OK(fields_add(&f, SLICE("connection"), SLICE("Upgrade")));
    CHECK_OK(fields_add(&f, SLICE("other"), SLICE("e")));
    CHECK(fields_has_token(&f, SLICE("CONNECTION"), SLICE("upgrade")));
    CHECK(fields_has_token(&f, SLICE("Connection"), SLICE("B")));
    CHECK(!fields_has_token(&f, SLICE("Connection"), SLICE("c")));
    CHECK(!fields_has_token(&f, SLICE("Connection"), SLICE("e")));
    CHECK(!fields_has_token(&f, SLICE("Connection"), SLICE("")));
    arena_done(&arena);
}

TEST(names_are_tokens_and_values_have_no_controls)
{
    CHECK(field_name_is_valid(SLICE("X-a_1!")) && !field_name_is_valid(SLICE("")));
    CHECK(!field_name_is_valid(SLICE("a b")) && !field_name_is_valid(SLICE("a:")));
    CHECK(field_value_is_valid(SLICE("")) && field_value_is_valid(SLICE("a\tb\xff")));
    CHECK(!field_value_is_valid(SLICE("a\r\nb: c")) && !field_value_is_valid(SLICE("\0")));
}

TEST(codes_have_their_reason)
{
    CHECK_SLICE(status_reason(200), SLICE("OK"));
    CHECK_SLICE(status_reason(431), SLICE("Request Header Fields Too Large"));
    CHECK_SLICE(status_reason(100), SLICE("Continue"));
    CHECK_SLICE(status_reason(530), SLICE("Tunnel Not Connected"));
    CHECK(status_reason(99).n == 0 && status_reason(531).n == 0 && status_reason(299).n == 0);
}

TESTS(RUN(lines_keep_their_order_and_their_case), RUN(a_copy_outlives_what_it_was_copied_from),
      RUN(no_more_lines_than_the_limit_are_held), RUN(a_token_is_found_in_every_line_of_a_list),
      RUN(names_are_tokens_and_values_have_no_controls), RUN(codes_have_their_reason))
