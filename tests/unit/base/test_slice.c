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

/* Byte by byte, as the words are to say it. */
static bool is_same_letter(unsigned a, unsigned b)
{
    bool is_letter = (a | 0x20) >= 'a' && (a | 0x20) <= 'z';
    return a == b || (is_letter && (a ^ b) == 0x20);
}

/* Each byte beside itself and beside what differs from it in one bit. */
static bool is_taken_right(unsigned byte, unsigned bit, size_t at, size_t n)
{
    unsigned beside = byte ^ (bit < 8 ? 1U << bit : 0);
    char one[20], other[20];
    memset(one, 'x', n);
    memset(other, 'X', n);
    one[at] = (char)byte;
    other[at] = (char)beside;
    return slice_eq_nocase(slice_of(one, n), slice_of(other, n)) == is_same_letter(byte, beside);
}

TEST(case_is_ignored_of_ascii_letters_alone_wherever_they_are)
{
    for (size_t n = 1; n <= 20; n++)
        for (size_t at = 0; at < n; at++)
            for (unsigned byte = 0; byte < 256; byte++)
                for (unsigned bit = 0; bit <= 8; bit++)
                    CHECK(is_taken_right(byte, bit, at, n));
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

TESTS(RUN(case_is_ignored_of_ascii_letters_alone_wherever_they_are),
      RUN(a_split_gives_one_part_more_than_separators),
      RUN(a_number_is_digits_alone_and_within_its_bound),
      RUN(case_is_ignored_for_ascii_letters_alone),
      RUN(utf8_refuses_overlong_forms_surrogates_and_cut_sequences),
      RUN(every_error_has_a_text_a_name_and_a_status))
