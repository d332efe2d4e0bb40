#include "base/map.h"

#include "base/list.h"
#include "test.h"

struct entry {
    struct map_node node;
    char key[16];
    int number;
    bool is_seen;
};

enum { COUNT = 5000 };
static struct entry entries[COUNT];

static void entries_init(void)
{
    for (int i = 0; i < COUNT; i++) {
        entries[i] = (struct entry){ .number = i };
        int n = snprintf(entries[i].key, sizeof entries[i].key, "key-%d", i);
        entries[i].node.key = slice_of(entries[i].key, (size_t)n);
    }
}

static int number_of(const struct map *m, const char *key)
{
    struct map_node *node = map_get(m, slice_str(key));
    return node != NULL ? container_of(node, struct entry, node)->number : -1;
}

TEST(what_was_put_is_found_until_it_is_removed)
{
    struct map m;
    map_init(&m);
    entries_init();
    CHECK(map_get(&m, SLICE("key-0")) == NULL);
    map_remove(&m, &entries[0].node); /* nothing is there: nothing happens */
    for (int i = 0; i < COUNT; i++)
        CHECK_OK(map_put(&m, &entries[i].node));
    CHECK(m.count == COUNT);
    for (int i = 0; i < COUNT; i++)
        CHECK(number_of(&m, entries[i].key) == i);
    CHECK(number_of(&m, "key-5000") == -1 && number_of(&m, "") == -1);
    for (int i = 0; i < COUNT; i += 2)
        map_remove(&m, &entries[i].node);
    CHECK(m.count == COUNT / 2);
    map_remove(&m, &entries[0].node); /* twice does no harm */
    CHECK(m.count == COUNT / 2);
    for (int i = 0; i < COUNT; i++)
        CHECK(number_of(&m, entries[i].key) == (i % 2 == 0 ? -1 : i));
    map_done(&m);
    CHECK(map_get(&m, SLICE("key-1")) == NULL);
    CHECK_OK(map_put(&m, &entries[7].node)); /* and it may be filled again */
    CHECK(number_of(&m, "key-7") == 7);
    map_done(&m);
}

TEST(a_key_is_there_once_and_may_be_empty_or_hold_nul)
{
    struct map m;
    struct entry a = { .number = 1 }, b = { .number = 2 }, c = { .number = 3 };
    map_init(&m);
    a.node.key = (struct slice){ 0 };
    b.node.key = SLICE("\0");
    c.node.key = SLICE("");
    CHECK_OK(map_put(&m, &a.node));
    CHECK_OK(map_put(&m, &b.node));
    CHECK_ERR(ERR_EXISTS, map_put(&m, &c.node));
    CHECK_ERR(ERR_EXISTS, map_put(&m, &a.node));
    CHECK(m.count == 2);
    map_remove(&m, &c.node); /* of the same key, but another entry */
    CHECK(map_get(&m, SLICE("")) == &a.node && map_get(&m, SLICE("\0")) == &b.node);
    map_done(&m);
}

TEST(a_walk_sees_every_entry_once_and_may_remove_it)
{
    struct map m;
    size_t bucket = 0, count = 0;
    struct map_node *after = NULL;
    map_init(&m);
    CHECK(map_next(&m, &bucket, &after) == NULL);
    entries_init();
    for (int i = 0; i < 777; i++)
        CHECK_OK(map_put(&m, &entries[i].node));
    bucket = 0;
    for (struct map_node *n = map_next(&m, &bucket, &after); n != NULL;
         n = map_next(&m, &bucket, &after)) {
        struct entry *e = container_of(n, struct entry, node);
        CHECK(!e->is_seen);
        e->is_seen = true;
        count++;
        if (e->number % 3 == 0)
            map_remove(&m, n);
    }
    CHECK(count == 777 && m.count == 777 - 259);
    map_done(&m);
}

/* The same function as CPython's for bytes, whose key is zero when PYTHONHASHSEED is 0. */
TEST(the_hash_is_siphash_1_3)
{
    static const uint64_t ZERO[2], OTHER[2] = { 1, 0 };
    CHECK(map_hash(ZERO, SLICE("a")) == 0x407448d2b89b1813U);
    CHECK(map_hash(ZERO, SLICE("adit")) == 0xa6aee1aa5f3f4884U);
    CHECK(map_hash(ZERO, SLICE("1234567")) == 0xa33d651594fdae81U);
    CHECK(map_hash(ZERO, SLICE("12345678")) == 0x3489982430560a87U);
    CHECK(map_hash(ZERO, SLICE("123456789")) == 0x0fbc0f0007965fcfU);
    CHECK(map_hash(ZERO, SLICE("the quick brown fox jumps")) == 0x00c98b97e4f70042U);
    CHECK(map_hash(OTHER, SLICE("a")) != map_hash(ZERO, SLICE("a")));
    struct map one, two;
    map_init(&one);
    map_init(&two);
    CHECK(one.seed[0] != two.seed[0]); /* every table has its own key */
}

TESTS(RUN(what_was_put_is_found_until_it_is_removed),
      RUN(a_key_is_there_once_and_may_be_empty_or_hold_nul),
      RUN(a_walk_sees_every_entry_once_and_may_remove_it), RUN(the_hash_is_siphash_1_3))
