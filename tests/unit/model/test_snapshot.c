#include "model/snapshot.h"

#include <pthread.h>

#include "test.h"

TEST(the_most_specific_route_wins)
{
    struct snapshot *s = snapshot_new();
    struct uuid one = { { 1 } }, two = { { 2 } }, three = { { 3 } }, got;
    CHECK_OK(snapshot_add(s, SLICE("a.b.example"), &one));
    CHECK_OK(snapshot_add(s, SLICE("*.b.example"), &two));
    CHECK_OK(snapshot_add(s, SLICE("*.example"), &three));
    CHECK_ERR(ERR_EXISTS, snapshot_add(s, SLICE("*.example"), &one));
    CHECK(snapshot_route(s, SLICE("a.b.example"), &got) && uuid_eq(&got, &one));
    CHECK(snapshot_route(s, SLICE("x.b.example"), &got) && uuid_eq(&got, &two));
    CHECK(snapshot_route(s, SLICE("x.y.b.example"), &got) && uuid_eq(&got, &two));
    CHECK(snapshot_route(s, SLICE("b.example"), &got) && uuid_eq(&got, &three));
    CHECK(!snapshot_route(s, SLICE("example"), &got));
    CHECK(!snapshot_route(s, SLICE(""), &got));
    snapshot_unref(s);
}

TEST(odd_hostnames_find_nothing)
{
    static const char *const ODD[] = {
        ".",           "..",           ".example.", "example.",  "*", "*.", ".b.example.x",
        "A.B.EXAMPLE", "a.b.example.", "xb.exampl", "b.examplee"
    };
    struct snapshot *s = snapshot_new();
    struct uuid one = { { 1 } }, got = { { 7 } };
    CHECK_OK(snapshot_add(s, SLICE("a.b.example"), &one));
    CHECK_OK(snapshot_add(s, SLICE("*.b.example"), &one));
    for (size_t i = 0; i < sizeof ODD / sizeof ODD[0]; i++)
        CHECK(!snapshot_route(s, slice_str(ODD[i]), &got));
    CHECK(got.bytes[0] == 7); /* and change nothing */
    char name[600];           /* suffixes that are too long for any wildcard are passed over */
    for (size_t n = 0; n < sizeof name; n++)
        name[n] = n % 2 == 0 ? 'a' : '.';
    CHECK(!snapshot_route(s, slice_of(name, sizeof name), &got));
    memcpy(name + sizeof name - 10, ".b.example", 10);
    CHECK(snapshot_route(s, slice_of(name, sizeof name), &got));
    snapshot_unref(s);
    snapshot_unref(NULL);
}

TEST(many_routes_are_told_apart)
{
    struct snapshot *s = snapshot_new();
    char name[32];
    for (int i = 0; i < 3000; i++) {
        struct uuid id = { { (uint8_t)i, (uint8_t)(i >> 8) } };
        int n = snprintf(name, sizeof name, "host-%d.example", i);
        CHECK_OK(snapshot_add(s, slice_of(name, (size_t)n), &id));
        memset(name, 'x', sizeof name); /* the name is copied */
    }
    for (int i = 0; i < 3000; i++) {
        struct uuid got;
        int n = snprintf(name, sizeof name, "host-%d.example", i);
        CHECK(snapshot_route(s, slice_of(name, (size_t)n), &got));
        CHECK(got.bytes[0] == (uint8_t)i && got.bytes[1] == i >> 8);
    }
    snapshot_unref(s);
}

static void *use(void *shared)
{
    struct uuid got;
    for (int i = 0; i < 5000; i++) {
        struct snapshot *s = snapshot_ref(shared);
        assert_true(snapshot_route(s, SLICE("a.example"), &got));
        snapshot_unref(s);
    }
    snapshot_unref(shared);
    return NULL;
}

TEST(the_last_of_all_threads_frees_it)
{
    struct snapshot *s = snapshot_new();
    struct uuid one = { { 1 } };
    pthread_t threads[4];
    CHECK_OK(snapshot_add(s, SLICE("a.example"), &one));
    for (size_t i = 0; i < 4; i++) {
        (void)snapshot_ref(s);
        CHECK(pthread_create(&threads[i], NULL, use, s) == 0);
    }
    snapshot_unref(s); /* its maker lets go first */
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

TESTS(RUN(the_most_specific_route_wins), RUN(odd_hostnames_find_nothing),
      RUN(many_routes_are_told_apart), RUN(the_last_of_all_threads_frees_it))
