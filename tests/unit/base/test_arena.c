#include "base/arena.h"

#include "test.h"

TEST(memory_is_zeroed_and_aligned_for_any_type)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    for (size_t n = 0; n < 3000; n += 7) {
        uint8_t *p = arena_alloc(&a, n);
        CHECK(p != NULL && (uintptr_t)p % 16 == 0);
        for (size_t i = 0; i < n; i++)
            CHECK(p[i] == 0);
        memset(p, 0xff, n);
    }
    arena_done(&a);
    CHECK(a.blocks == NULL && a.bytes == 0);
}

TEST(allocations_do_not_overlap)
{
    struct arena a;
    uint8_t *p[300];
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < 300; i++) {
        p[i] = arena_alloc(&a, i + 1);
        CHECK(p[i] != NULL);
        memset(p[i], (int)(i & 0xff), i + 1);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t k = 0; k <= i; k++)
            CHECK(p[i][k] == (i & 0xff));
    arena_done(&a);
}

TEST(what_was_lent_is_used_first_and_not_freed)
{
    _Alignas(16) uint8_t first[256];
    struct arena a;
    memset(first, 0xff, sizeof first);
    arena_init_secret(&a, 1 << 20);
    arena_lend(&a, first, sizeof first);
    for (int i = 0; i < 4; i++) {
        uint8_t *p = arena_alloc(&a, 64);
        CHECK(p == first + i * 64 && p[0] == 0 && p[63] == 0);
        memset(p, 'x', 64);
    }
    CHECK(a.bytes == 0);
    uint8_t *more = arena_alloc(&a, 64);
    CHECK(more != NULL && (more < first || more >= first + sizeof first) && a.bytes > 0);
    arena_done(&a);
    for (size_t i = 0; i < sizeof first; i++)
        CHECK(first[i] == 0); /* secrets are wiped there too */
    CHECK(arena_alloc(&a, 16) != first);
    arena_done(&a);
}

TEST(no_bound_is_ever_passed)
{
    for (size_t max = 0; max < 9000; max += 37) {
        struct arena a;
        size_t got = 0;
        arena_init(&a, max);
        for (int i = 0; i < 200; i++) {
            got += arena_alloc(&a, 100) != NULL;
            CHECK(a.bytes <= max);
        }
        /* What fits is given: a hundred bytes take 112, and a block's header 16 at most for each.
         */
        CHECK(got * 128 + 400 > max);
        arena_done(&a);
    }
    struct arena a;
    arena_init(&a, 4096);
    CHECK(arena_alloc(&a, 4097) == NULL && arena_alloc(&a, SIZE_MAX) == NULL);
    CHECK(arena_alloc(&a, 4000) != NULL); /* a refusal changes nothing */
    CHECK(arena_alloc(&a, 4000) == NULL);
    arena_done(&a);
    arena_init(&a, SIZE_MAX);
    CHECK(arena_alloc(&a, SIZE_MAX) == NULL && arena_alloc(&a, SIZE_MAX - 20) == NULL);
    arena_done(&a);
}

static char order[8];
static size_t order_n;

static void note(void *p)
{
    order[order_n++] = *(const char *)p;
}

TEST(what_was_deferred_is_undone_last_first_and_once)
{
    static char letters[] = "abc";
    struct arena a;
    arena_init(&a, 10000);
    for (size_t i = 0; i < 3; i++)
        CHECK_OK(arena_defer(&a, note, &letters[i]));
    arena_done(&a);
    CHECK(order_n == 3 && memcmp(order, "cba", 3) == 0);
    arena_done(&a);
    CHECK(order_n == 3);
    /* It can be used again, with its old bound; what cannot be deferred is not undone. */
    CHECK(arena_alloc(&a, 9000) != NULL && arena_alloc(&a, 9000) == NULL);
    arena_done(&a);
    arena_init(&a, 8);
    CHECK_ERR(ERR_NOMEM, arena_defer(&a, note, &letters[0]));
    arena_done(&a);
    CHECK(order_n == 3);
    struct arena zero = { 0 };
    arena_done(&zero);
    CHECK(arena_alloc(&zero, 1) == NULL);
}

TEST(copies_end_in_a_nul)
{
    struct arena a;
    arena_init(&a, 100000);
    struct slice s = arena_copy(&a, SLICE("a\0b"));
    CHECK_SLICE(s, SLICE("a\0b"));
    CHECK(s.p[3] == 0);
    s = arena_copy(&a, (struct slice){ 0 });
    CHECK(s.p != NULL && s.n == 0 && s.p[0] == 0);
    CHECK(strcmp(arena_str(&a, SLICE("text")), "text") == 0);
    CHECK(strcmp(arena_str(&a, (struct slice){ 0 }), "") == 0);
    char *long_text = arena_fmt(&a, "%05000d", 7);
    CHECK(long_text != NULL && strlen(long_text) == 5000 && long_text[4999] == '7');
    CHECK(strcmp(arena_fmt(&a, "%s", ""), "") == 0);
    arena_done(&a);
    arena_init(&a, 30);
    CHECK(arena_copy(&a, SLICE("0123456789012345678901234567890")).p == NULL);
    CHECK(arena_str(&a, SLICE("0123456789012345678901234567890")) == NULL);
    CHECK(arena_fmt(&a, "%040d", 7) == NULL);
    arena_done(&a);
}

TESTS(RUN(memory_is_zeroed_and_aligned_for_any_type), RUN(allocations_do_not_overlap),
      RUN(what_was_lent_is_used_first_and_not_freed), RUN(no_bound_is_ever_passed),
      RUN(what_was_deferred_is_undone_last_first_and_once), RUN(copies_end_in_a_nul))
