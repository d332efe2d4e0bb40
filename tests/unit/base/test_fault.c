#include "base/fault.h"

#include "test.h"

TEST(a_fault_says_what_and_where)
{
    struct fault f = { 0 };
    char line[FAULT_LINE_BYTES];
    CHECK_ERR(ERR_PARSE, fault_set(&f, ERR_PARSE, "bad %s %d", "thing", 7));
    CHECK(f.code == ERR_PARSE && f.line == 0 && f.where[0] == 0);
    CHECK_SLICE(slice_str(fault_line(&f, line)), SLICE("bad thing 7"));
    CHECK_ERR(ERR_PARSE, fault_at(&f, "config.yml", 3, 5));
    CHECK_SLICE(slice_str(fault_line(&f, line)), SLICE("config.yml:3:5: bad thing 7"));
    (void)fault_at(&f, "config.yml", 3, 0);
    CHECK_SLICE(slice_str(fault_line(&f, line)), SLICE("config.yml:3: bad thing 7"));
    (void)fault_at(&f, "--url", 0, 9);
    CHECK_SLICE(slice_str(fault_line(&f, line)), SLICE("--url: bad thing 7"));
    (void)fault_at(&f, "", 3, 5);
    CHECK_SLICE(slice_str(fault_line(&f, line)), SLICE("3:5: bad thing 7"));
}

TEST(a_new_fault_forgets_the_place_of_the_old)
{
    struct fault f = { 0 };
    (void)fault_set(&f, ERR_IO, "one");
    (void)fault_at(&f, "here", 1, 2);
    CHECK_ERR(ERR_NOMEM, fault_set(&f, ERR_NOMEM, "two"));
    CHECK(f.code == ERR_NOMEM && f.where[0] == 0 && f.line == 0 && f.column == 0);
    CHECK(strcmp(f.text, "two") == 0);
}

TEST(nobody_needs_to_listen)
{
    CHECK_ERR(ERR_IO, fault_set(NULL, ERR_IO, "%s", "x"));
    CHECK_OK(fault_at(NULL, "here", 1, 2));
}

TEST(long_texts_are_cut_within_their_bounds)
{
    struct fault f = { 0 };
    char text[2000], line[FAULT_LINE_BYTES];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    (void)fault_set(&f, ERR_IO, "%s", text);
    (void)fault_at(&f, text, UINT32_MAX, UINT32_MAX);
    CHECK(strlen(f.text) == FAULT_TEXT_BYTES - 1 && strlen(f.where) == FAULT_WHERE_BYTES - 1);
    size_t n = strlen(fault_line(&f, line));
    CHECK(n < FAULT_LINE_BYTES && line[n - 1] == 'x');
    CHECK(n == FAULT_TEXT_BYTES - 1 + FAULT_WHERE_BYTES - 1 + strlen(":4294967295:4294967295: "));
}

TESTS(RUN(a_fault_says_what_and_where), RUN(a_new_fault_forgets_the_place_of_the_old),
      RUN(nobody_needs_to_listen), RUN(long_texts_are_cut_within_their_bounds))
