#include "base/rand.h"

#include "test.h"

/* The first outputs of the authors' code for this state and this seed. */
TEST(the_generators_are_xoshiro256_and_splitmix64)
{
    struct rng r = { .state = { 1, 2, 3, 4 } };
    CHECK(rng_next(&r) == 11520 && rng_next(&r) == 0 && rng_next(&r) == 1509978240);
    CHECK(rng_next(&r) == 1215971899390074240U);
    rng_init(&r, 1234567);
    CHECK(r.state[0] == 6457827717110365317U && r.state[1] == 3203168211198807973U);
    CHECK(r.state[2] == 9817491932198370423U && r.state[3] == 4593380528125082431U);
}

TEST(one_seed_gives_one_sequence)
{
    struct rng a, b, c;
    rng_init(&a, 7);
    rng_init(&b, 7);
    rng_init(&c, 8);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_next(&a);
        CHECK(x == rng_next(&b));
        differs |= x != rng_next(&c);
    }
    CHECK(differs);
    rng_init_os(&a);
    rng_init_os(&b);
    CHECK(memcmp(a.state, b.state, sizeof a.state) != 0);
}

TEST(below_a_bound_every_number_comes_equally_often)
{
    struct rng r;
    size_t counts[10] = { 0 };
    rng_init(&r, 42);
    for (int i = 0; i < 100000; i++)
        counts[rng_below(&r, 10)]++;
    for (size_t i = 0; i < 10; i++)
        CHECK(counts[i] > 9500 && counts[i] < 10500);
    for (int i = 0; i < 100; i++)
        CHECK(rng_below(&r, 1) == 0 && rng_below(&r, UINT64_MAX) < UINT64_MAX);
    /* With two thirds of all numbers as the bound, a bare remainder would favour the lower half. */
    size_t low = 0;
    const uint64_t bound = UINT64_MAX / 3 * 2;
    for (int i = 0; i < 10000; i++)
        low += rng_below(&r, bound) < bound / 2;
    CHECK(low > 4700 && low < 5300);
}

TESTS(RUN(the_generators_are_xoshiro256_and_splitmix64), RUN(one_seed_gives_one_sequence),
      RUN(below_a_bound_every_number_comes_equally_often))
