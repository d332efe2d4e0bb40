/* How much may be queued, on paths that are played with numbers. */
#include "mux/quic_rate.h"
#include "test.h"

#define MSEC NSEC_PER_MSEC
#define USEC NSEC_PER_USEC

/* A second of acknowledgements, one each `step`, at so many bytes a second. */
static nsec flow(struct quic_rate *r, nsec from, nsec step, uint64_t rate, nsec rtt, nsec rtt_min)
{
    nsec now = from;
    for (; now < from + NSEC_PER_SEC; now += step)
        quic_rate_acked(r, rate * step / NSEC_PER_SEC, now, rtt, rtt_min);
    return now;
}

TEST(until_something_is_known_the_window_decides)
{
    struct quic_rate r = { 0 };
    CHECK(quic_rate_room(&r, 100000) == 200000);
    quic_rate_acked(&r, 15000, 1, 50 * USEC, 50 * USEC);
    CHECK(quic_rate_room(&r, 100000) == 200000);
}

TEST(a_queue_that_makes_its_own_round_trip_does_not_feed_itself)
{
    struct quic_rate r = { 0 };
    /* 500 MB/s, and samples that say 5 ms where an empty path takes 60 µs. */
    (void)flow(&r, 1, 100 * USEC, 500000000, 5 * MSEC, 60 * USEC);
    uint64_t room = quic_rate_room(&r, 64 << 20);
    CHECK(room > 500000 && room < 3000000);
}

TEST(a_long_path_is_filled_and_may_double)
{
    struct quic_rate r = { 0 };
    uint64_t path = 125000000 / 10; /* 1 Gbit/s, 100 ms */
    (void)flow(&r, 1, MSEC, 125000000, 100 * MSEC, 100 * MSEC);
    CHECK(quic_rate_room(&r, path) == 2 * path);
    CHECK(quic_rate_room(&r, 64 << 20) >= 3 * path);
}

TEST(a_path_that_became_longer_is_believed)
{
    struct quic_rate r = { 0 };
    nsec now = flow(&r, 1, MSEC, 125000000, 20 * MSEC, 20 * MSEC);
    now = flow(&r, now, MSEC, 125000000, 100 * MSEC, 20 * MSEC);
    now = flow(&r, now, MSEC, 125000000, 100 * MSEC, 20 * MSEC);
    (void)flow(&r, now, MSEC, 125000000, 100 * MSEC, 20 * MSEC);
    CHECK(quic_rate_room(&r, 64 << 20) >= 3 * (125000000 / 10));
}

TEST(a_pause_says_nothing_of_the_path)
{
    struct quic_rate r = { 0 };
    nsec now = flow(&r, 1, MSEC, 125000000, 20 * MSEC, 20 * MSEC);
    uint64_t before = quic_rate_room(&r, 64 << 20);
    quic_rate_acked(&r, 1000, now + 10 * NSEC_PER_SEC, 20 * MSEC, 20 * MSEC);
    CHECK(quic_rate_room(&r, 64 << 20) == before);
}

TEST(a_path_that_became_slower_is_given_less)
{
    struct quic_rate r = { 0 };
    nsec now = flow(&r, 1, MSEC, 125000000, 20 * MSEC, 20 * MSEC);
    uint64_t before = quic_rate_room(&r, 64 << 20);
    (void)flow(&r, now, MSEC, 12500000, 20 * MSEC, 20 * MSEC);
    CHECK(quic_rate_room(&r, 64 << 20) < before / 5);
}

TESTS(RUN(until_something_is_known_the_window_decides),
      RUN(a_queue_that_makes_its_own_round_trip_does_not_feed_itself),
      RUN(a_long_path_is_filled_and_may_double), RUN(a_path_that_became_longer_is_believed),
      RUN(a_pause_says_nothing_of_the_path), RUN(a_path_that_became_slower_is_given_less))
