#include "conf/duration.h"

#include "test.h"

#define MS NSEC_PER_MSEC
#define S  NSEC_PER_SEC

/* As Go's time.ParseDuration says. */
static const struct {
    const char *text;
    int64_t ns;
} GOOD[] = {
    { "0", 0 },
    { "-0", 0 },
    { "+0", 0 },
    { "0s", 0 },
    { "5s", 5 * S },
    { "+5s", 5 * S },
    { "-5s", -5 * (int64_t)S },
    { "1h2m3s", 3723 * S },
    { "3s2m1h", 3723 * S },
    { "1s1s", 2 * S },
    { "1.5h", 5400 * S },
    { ".5s", 500 * MS },
    { "5.s", 5 * S },
    { "1.25ms", 1250000 },
    { "250ms", 250 * MS },
    { "3us", 3000 },
    { "3\xc2\xb5s", 3000 },
    { "3\xce\xbcs", 3000 },
    { "7ns", 7 },
    { "0.9ns", 0 },
    { "00001m", 60 * S },
    { "0.3333333333333333333h", 1200 * S },
    { "0.100000000000000000000h", 360 * S },
    { "1.00000000000000000000000000000000000000000001s", S },
    { "9007199254.740993s", 9007199254740993000 }, /* more than a double holds */
    { "9223372036854775807ns", INT64_MAX },
    { "2562047h47m16.854775807s", INT64_MAX },
    { "-9223372036854775808ns", INT64_MIN },
    { "-2562047h47m16.854775808s", INT64_MIN },
    { "39h9m14.425s", 140954425 * MS },
};

TEST(a_duration_is_what_go_takes_it_for)
{
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        int64_t ns = -1;
        if (duration_parse(slice_str(GOOD[i].text), &ns) < 0 || ns != GOOD[i].ns)
            fail_msg("%s: %lld, want %lld", GOOD[i].text, (long long)ns, (long long)GOOD[i].ns);
    }
    CHECK(true);
}

TEST(what_is_no_duration_is_refused_and_changes_nothing)
{
    static const char *const BAD[] = {
        "",      "3",      "-",     "+",    "s",
        ".",     "-.",     ".s",    "+.s",  "1 s",
        " 1s",   "1s ",    "1S",    "1d",   "1e3s",
        "0x1s",  "1.2.3s", "1s-2s", "--1s", "1\xb5s",
        "1m 2s", "s1",     "1sec",  "1,5s", "\xef\xbc\x91s",
        "inf",   "nan",    "1.",    "00",   "1h2",
        "1h.m",
    };
    static const char *const FAR[] = {
        "9223372036854775808ns",
        "-9223372036854775809ns",
        "9223372036854775.808us",
        "2562048h",
        "2562047h47m16.854775808s",
        "9223372036s1s",
        "3000000h",
        "99999999999999999999999999999999999999999999999999h",
        "18446744073709551616ns",
        "5124095h5124095h",
    };
    int64_t ns = 7;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        if (duration_parse(slice_str(BAD[i]), &ns) != ERR_PARSE)
            fail_msg("%s is taken", BAD[i]);
    for (size_t i = 0; i < sizeof FAR / sizeof FAR[0]; i++)
        if (duration_parse(slice_str(FAR[i]), &ns) != ERR_RANGE)
            fail_msg("%s is taken", FAR[i]);
    CHECK_ERR(ERR_PARSE, duration_parse(SLICE("1s\0"), &ns));
    CHECK(ns == 7);
}

/* Hundreds of digits once gave "not a number", which no comparison catches. */
TEST(any_number_of_digits_is_bounded)
{
    char text[1200];
    int64_t ns = 7;
    memset(text, '9', sizeof text);
    text[sizeof text - 1] = 's';
    CHECK_ERR(ERR_RANGE, duration_parse(slice_of(text, sizeof text), &ns));
    text[0] = '.';
    CHECK_OK(duration_parse(slice_of(text, sizeof text), &ns));
    CHECK(ns == 1000000000);
    text[0] = '1';
    text[1] = '.';
    CHECK_OK(duration_parse(slice_of(text, sizeof text), &ns));
    CHECK(ns == 2000000000);
}

TESTS(RUN(a_duration_is_what_go_takes_it_for),
      RUN(what_is_no_duration_is_refused_and_changes_nothing), RUN(any_number_of_digits_is_bounded))
