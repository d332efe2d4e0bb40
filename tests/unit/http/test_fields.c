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

TEST(a_set_replaces_every_line_and_needs_no_room_for_it)
{
    struct arena arena;
    struct fields f;
    arena_init(&arena, 100000);
    fields_init(&f, &arena);
    CHECK(fields_get(&f, SLICE("a")) == NULL && fields_remove(&f, SLICE("a")) == 0);
    for (int i = 0; i < HEAD_FIELDS_MAX; i++)
        CHECK_OK(fields_add(&f, i % 2 == 0 ? SLICE("Even") : SLICE("odd"), SLICE("v")));
    CHECK_ERR(ERR_LIMIT,
              fields_set(&f, SLICE("new"), SLICE("v"))); /* it is full, and stays as it was */
    CHECK(f.count == HEAD_FIELDS_MAX);
    CHECK_OK(fields_set(&f, SLICE("EVEN"), SLICE("w")));
    CHECK(f.count == HEAD_FIELDS_MAX / 2 + 1 && fields_count(&f, SLICE("even")) == 1);
    CHECK_SLICE(f.lines[f.count - 1].name, SLICE("EVEN")); /* behind the others */
    CHECK_SLICE(fields_get(&f, SLICE("even"))->value, SLICE("w"));
    CHECK(fields_remove(&f, SLICE("odd")) == HEAD_FIELDS_MAX / 2 && f.count == 1);
    arena_done(&arena);
}

TEST(every_byte_has_its_verdict_in_names_and_values)
{
    for (unsigned c = 0; c < 256; c++) {
        const uint8_t text[] = { 'a', (uint8_t)c, 'b' };
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool in_name = is_alnum || (c != 0 && strchr("!#$%&'*+-.^_`|~", (int)c) != NULL);
        bool in_value = c == '\t' || (c >= 0x20 && c != 0x7f);
        CHECK(field_name_is_valid(slice_of(text, 3)) == in_name);
        CHECK(field_value_is_valid(slice_of(text, 3)) == in_value);
    }
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
      RUN(names_are_tokens_and_values_have_no_controls),
      RUN(a_set_replaces_every_line_and_needs_no_room_for_it),
      RUN(every_byte_has_its_verdict_in_names_and_values), RUN(codes_have_their_reason))
