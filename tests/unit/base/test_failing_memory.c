#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/strb.h"
#include "failing.h"

static struct chunk_pool *pool;

/* Chunks that are free stay with the pool: a fresh one for each case keeps the count honest. */
static void pool_open(void)
{
    size_t fail_at = memory.fail_at;
    memory.fail_at = 0; /* a pool that cannot be made ends the program, as its header says */
    pool = chunk_pool_new();
    memory.calls = 0;
    memory.fail_at = fail_at;
}

static void fill(uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
}

/* A put that fails changes nothing, wherever its memory ran out. */
static int put_one(void)
{
    static uint8_t bytes[200000], back[200000];
    struct buf b;
    int r = 0;
    pool_open();
    fill(bytes, sizeof bytes);
    buf_init(&b, pool, sizeof bytes);
    size_t put = 0;
    while (put < sizeof bytes && r == 0) {
        size_t n = put < 5000 ? 700 : 90000;
        if (n > sizeof bytes - put)
            n = sizeof bytes - put;
        r = buf_put(&b, slice_of(bytes + put, n));
        if (r == 0)
            put += n;
        assert_int_equal(buf_len(&b), put);
    }
    assert_int_equal(buf_copy(&b, 0, back, sizeof back), put);
    assert_memory_equal(back, bytes, put);
    buf_done(&b);
    assert_int_equal(chunk_pool_used(pool), 0);
    chunk_pool_free(pool);
    return r;
}

/* A move that runs out of memory leaves what it did not move: no byte is lost or doubled. */
static int move_one(void)
{
    static uint8_t bytes[3000], back[3000];
    struct buf from, to;
    pool_open();
    fill(bytes, sizeof bytes);
    buf_init(&from, pool, sizeof bytes);
    buf_init(&to, pool, sizeof bytes);
    size_t have = 0;
    while (have < sizeof bytes && buf_put(&from, slice_of(bytes + have, 100)) == 0) {
        have += 100;
        if (have % 300 == 0) /* pieces that are no neighbours, so that the ring has to grow */
            (void)buf_move(&to, &from, 150);
    }
    size_t moved = buf_move(&to, &from, SIZE_MAX);
    assert_true(moved == 0 || buf_len(&to) >= moved);
    size_t first = buf_len(&to), second = buf_len(&from);
    assert_int_equal(first + second, have);
    assert_int_equal(buf_copy(&to, 0, back, first), first);
    assert_int_equal(buf_copy(&from, 0, back + first, second), second);
    assert_memory_equal(back, bytes, have);
    buf_done(&from);
    buf_done(&to);
    assert_int_equal(chunk_pool_used(pool), 0);
    chunk_pool_free(pool);
    return have == sizeof bytes && second == 0 ? 0 : ERR_NOMEM;
}

static int peek_one(void)
{
    static uint8_t bytes[4000];
    struct buf one, all;
    struct slice front;
    int r = 0;
    pool_open();
    fill(bytes, sizeof bytes);
    buf_init(&one, pool, 2000);
    buf_init(&all, pool, sizeof bytes);
    for (size_t at = 0; at < sizeof bytes && r == 0; at += 500) {
        r = buf_put(&one, slice_of(bytes + at, 500));
        if (r == 0 && buf_move(&all, &one, 500) != 500)
            r = ERR_NOMEM;
        buf_done(&one); /* the next piece begins in a chunk of its own */
    }
    if (r == 0)
        r = buf_peek(&all, 3500, &front);
    if (r == 0)
        assert_memory_equal(front.p, bytes, 3500);
    assert_int_equal(buf_len(&all), r == 0 ? sizeof bytes : buf_len(&all));
    buf_done(&all);
    buf_done(&one);
    assert_int_equal(chunk_pool_used(pool), 0);
    chunk_pool_free(pool);
    return r;
}

static int text_one(void)
{
    struct strb s;
    strb_init(&s, 100000);
    for (int i = 0; i < 2000; i++)
        strb_fmt(&s, "%d,", i);
    int r = s.err;
    char *text = strb_take(&s);
    assert_true((text != NULL) == (r == 0));
    if (text != NULL)
        assert_string_equal(text + strlen(text) - 5, "1999,");
    free(text);
    return r;
}

static int arena_one(void)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    int r = 0;
    for (size_t i = 0; i < 300 && r == 0; i++) {
        char *text = arena_fmt(&a, "%0200zu", i);
        r = text != NULL ? arena_defer(&a, free, NULL) : ERR_NOMEM;
        if (text != NULL)
            assert_int_equal(strtoul(text, NULL, 10), i);
    }
    arena_done(&a);
    return r;
}

/* A table that cannot grow keeps all that it had. */
static int map_one(void)
{
    static struct map_node nodes[200];
    static char keys[200][8];
    struct map m;
    int r = 0;
    size_t count = 0;
    map_init(&m);
    for (; count < 200 && r == 0; count += r == 0) {
        int n = snprintf(keys[count], sizeof keys[count], "%zu", count);
        nodes[count] = (struct map_node){ .key = slice_of(keys[count], (size_t)n) };
        r = map_put(&m, &nodes[count]);
    }
    assert_int_equal(m.count, count);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(map_get(&m, nodes[i].key), &nodes[i]);
    map_done(&m);
    return r;
}

#define SWEEP_TEST(name)                                                                           \
    TEST(name##_survives_failing_memory)                                                           \
    {                                                                                              \
        CHECK(sweep(#name, name##_one) > 1);                                                       \
    }
SWEEP_TEST(put)
SWEEP_TEST(move)
SWEEP_TEST(peek)
SWEEP_TEST(text)
SWEEP_TEST(arena)
SWEEP_TEST(map)

TESTS(RUN(put_survives_failing_memory), RUN(move_survives_failing_memory),
      RUN(peek_survives_failing_memory), RUN(text_survives_failing_memory),
      RUN(arena_survives_failing_memory), RUN(map_survives_failing_memory))
