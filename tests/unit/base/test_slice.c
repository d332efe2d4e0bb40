#include "test.h"

TEST(a_split_gives_one_part_more_than_separators)
{
    struct slice s = SLICE("a,,b"), part;
    CHECK(slice_split(&s, ',', &part));
    CHECK_SLICE(part, SLICE("a"));
    CHECK(slice_split(&s, ',', &part));
    CHECK_SLICE(part, SLICE(""));
    CHECK(slice_split(&s, ',', &part));
    CHECK_SLICE(part, SLICE("b"));
    CHECK(!slice_split(&s, ',', &part));
}

TEST(a_number_is_digits_alone_and_within_its_bound)
{
    uint64_t n = 7;
    CHECK_OK(slice_u64(SLICE("18446744073709551615"), UINT64_MAX, &n));
    CHECK(n == UINT64_MAX);
    CHECK_ERR(ERR_RANGE, slice_u64(SLICE("18446744073709551616"), UINT64_MAX, &n));
    CHECK_ERR(ERR_RANGE, slice_u64(SLICE("11"), 10, &n));
    CHECK_ERR(ERR_PARSE, slice_u64(SLICE("+1"), 10, &n));
    CHECK_ERR(ERR_PARSE, slice_u64(SLICE(""), 10, &n));
    CHECK_ERR(ERR_PARSE, slice_u64(SLICE("1 "), 10, &n));
    CHECK(n == UINT64_MAX);
}

TEST(case_is_ignored_for_ascii_letters_alone)
{
    CHECK(slice_eq_nocase(SLICE("Content-LENGTH"), SLICE("content-length")));
    CHECK(!slice_eq_nocase(SLICE("a@"), SLICE("a`")));
    CHECK(!slice_eq_nocase(SLICE("\xc3\x84"), SLICE("\xc3\xa4")));
}

TEST(utf8_refuses_overlong_forms_surrogates_and_cut_sequences)
{
    CHECK(slice_is_utf8(SLICE("m\xc3\xb4\xe2\x82\xac\xf0\x9f\x98\x80")));
    CHECK(!slice_is_utf8(SLICE("\xc0\xaf")));
    CHECK(!slice_is_utf8(SLICE("\xe0\x80\xaf")));
    CHECK(!slice_is_utf8(SLICE("\xed\xa0\x80")));
    CHECK(!slice_is_utf8(SLICE("\xf4\x90\x80\x80")));
    CHECK(!slice_is_utf8(SLICE("\xe2\x82")));
}

TEST(every_error_has_a_text_a_name_and_a_status)
{
    for (int code = -29; code < 0; code++) {
        CHECK(strcmp(err_text(code), "unknown error") != 0);
        CHECK(strcmp(err_name(code), "unknown") != 0);
        CHECK(err_status(code) >= 400 && err_status(code) < 600);
    }
    CHECK(strcmp(err_text(-30), "unknown error") == 0);
    CHECK(strcmp(err_name(ERR_TIMEOUT), "timeout") == 0);
    CHECK(strcmp(err_name(ERR_CUT), "cut") == 0);
    CHECK(strcmp(err_text(0), "ok") == 0);
}

TESTS(RUN(a_split_gives_one_part_more_than_separators),
      RUN(a_number_is_digits_alone_and_within_its_bound),
      RUN(case_is_ignored_for_ascii_letters_alone),
      RUN(utf8_refuses_overlong_forms_surrogates_and_cut_sequences),
      RUN(every_error_has_a_text_a_name_and_a_status))
