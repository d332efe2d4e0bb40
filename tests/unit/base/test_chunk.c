#include "base/chunk.h"

#include <pthread.h>

#include "test.h"

TEST(a_small_wish_gets_a_small_chunk)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct chunk *c = chunk_new(pool, 1);
    uint32_t small = c->size;
    CHECK(small + sizeof *c == CHUNK_BYTES_SMALL);
    struct chunk *edge = chunk_new(pool, small), *large = chunk_new(pool, small + 1),
                 *huge = chunk_new(pool, SIZE_MAX);
    CHECK(edge->size == small);
    CHECK(large->size + sizeof *c == CHUNK_BYTES && huge->size == large->size);
    memset(huge->data, 1, huge->size);
    CHECK(chunk_pool_used(pool) == 4);
    chunk_unref(c);
    chunk_unref(edge);
    chunk_unref(large);
    chunk_unref(huge);
    chunk_unref(NULL);
    CHECK(chunk_pool_used(pool) == 0);
    chunk_pool_free(pool);
    chunk_pool_free(NULL);
}

TEST(a_chunk_goes_with_its_last_reference_and_is_used_again)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct chunk *c = chunk_new(pool, 1);
    CHECK(chunk_ref(c) == c);
    chunk_unref(c);
    CHECK(chunk_pool_used(pool) == 1);
    chunk_unref(c);
    CHECK(chunk_pool_used(pool) == 0);
    struct chunk *again = chunk_new(pool, 1);
    CHECK(again == c && atomic_load(&again->refs) == 1);
    chunk_unref(again);
    chunk_pool_free(pool);
}

TEST(a_flood_goes_back_to_the_allocator)
{
    enum { COUNT = 1500 };
    struct chunk_pool *pool = chunk_pool_new();
    static struct chunk *chunks[COUNT];
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++)
            chunks[i] = chunk_new(pool, i % 2 == 0 ? 1 : CHUNK_BYTES);
        CHECK(chunk_pool_used(pool) == COUNT);
        for (size_t i = 0; i < COUNT; i++)
            chunk_unref(chunks[i]);
        CHECK(chunk_pool_used(pool) == 0);
    }
    chunk_pool_free(pool);
}

enum { CROSS = 1000 };
static struct chunk *crossing[CROSS];

static void *drop_all(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < CROSS; i++)
        chunk_unref(crossing[i]);
    return NULL;
}

static void fill(struct chunk_pool *pool)
{
    for (size_t i = 0; i < CROSS; i++) {
        crossing[i] = chunk_new(pool, 1);
        assert_non_null(crossing[i]);
    }
}

TEST(a_chunk_finds_its_way_home_from_other_threads)
{
    struct chunk_pool *pool = chunk_pool_new();
    pthread_t one, two;
    fill(pool);
    for (size_t i = 0; i < CROSS; i++)
        (void)chunk_ref(crossing[i]); /* each of two threads drops one reference */
    CHECK(pthread_create(&one, NULL, drop_all, NULL) == 0);
    CHECK(pthread_create(&two, NULL, drop_all, NULL) == 0);
    CHECK(pthread_join(one, NULL) == 0 && pthread_join(two, NULL) == 0);
    struct chunk *c = chunk_new(pool, 1); /* takes home what has come back */
    CHECK(chunk_pool_used(pool) == 1);
    chunk_unref(c);
    chunk_pool_free(pool);
}

TEST(chunks_that_outlive_their_pool_end_on_whichever_thread)
{
    struct chunk_pool *pool = chunk_pool_new();
    pthread_t one;
    fill(pool);
    chunk_pool_free(pool);
    CHECK(pthread_create(&one, NULL, drop_all, NULL) == 0);
    CHECK(pthread_join(one, NULL) == 0);
    memset(crossing, 0, sizeof crossing); /* a leak must not be reachable to be seen */
}

TEST(two_pools_of_one_thread_do_not_mix)
{
    struct chunk_pool *first = chunk_pool_new(), *second = chunk_pool_new();
    struct chunk *a = chunk_new(first, 1), *b = chunk_new(second, 1);
    CHECK(a->home == first && b->home == second);
    chunk_unref(a);
    chunk_unref(b);
    CHECK(chunk_pool_used(first) == 0 && chunk_pool_used(second) == 0);
    chunk_pool_free(second);
    a = chunk_new(first, 1);
    chunk_unref(a);
    chunk_pool_free(first);
}

TESTS(RUN(a_small_wish_gets_a_small_chunk),
      RUN(a_chunk_goes_with_its_last_reference_and_is_used_again),
      RUN(a_flood_goes_back_to_the_allocator), RUN(a_chunk_finds_its_way_home_from_other_threads),
      RUN(chunks_that_outlive_their_pool_end_on_whichever_thread),
      RUN(two_pools_of_one_thread_do_not_mix))
