#include "base/clock.h"

#include <time.h>

#include "test.h"

TEST(a_time_is_written_as_rfc_3339_has_it)
{
    static const struct {
        int64_t us;
        const char *text;
    } TIMES[] = {
        { 0, "1970-01-01T00:00:00.000000Z" },
        { 1, "1970-01-01T00:00:00.000001Z" },
        { -1, "1969-12-31T23:59:59.999999Z" },
        { -1000000, "1969-12-31T23:59:59.000000Z" },
        { -1000001, "1969-12-31T23:59:58.999999Z" },
        { 951868799999999, "2000-02-29T23:59:59.999999Z" },
        { 1767323045000006, "2026-01-02T03:04:05.000006Z" },
        { 253402300799999999, "9999-12-31T23:59:59.999999Z" },
    };
    char text[CLOCK_TEXT_BYTES];
    for (size_t i = 0; i < sizeof TIMES / sizeof TIMES[0]; i++) {
        CHECK(clock_rfc3339(TIMES[i].us, text) == text);
        CHECK_SLICE(slice_str(text), slice_str(TIMES[i].text));
    }
}

TEST(times_beyond_four_digit_years_stay_within_the_buffer)
{
    static const int64_t FAR[] = { INT64_MAX, INT64_MIN, 253402300800000000, -62135596800000001 };
    for (size_t i = 0; i < sizeof FAR / sizeof FAR[0]; i++) {
        char text[CLOCK_TEXT_BYTES + 1];
        text[CLOCK_TEXT_BYTES] = 'x';
        CHECK(strlen(clock_rfc3339(FAR[i], text)) < CLOCK_TEXT_BYTES);
        CHECK(text[CLOCK_TEXT_BYTES] == 'x');
    }
}

TEST(the_clocks_agree_with_the_systems)
{
    nsec first = clock_monotonic();
    int64_t before = (int64_t)time(NULL), wall = clock_wall_us() / 1000000;
    CHECK(first > 0 && clock_monotonic() >= first);
    CHECK(wall >= before - 1 && wall <= (int64_t)time(NULL) + 1);
}

TESTS(RUN(a_time_is_written_as_rfc_3339_has_it),
      RUN(times_beyond_four_digit_years_stay_within_the_buffer),
      RUN(the_clocks_agree_with_the_systems))
