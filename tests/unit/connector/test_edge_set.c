#include "connector/edge_set.h"
#include "test.h"

static void fill(struct edge_set *s, const char *const *texts)
{
    *s = (struct edge_set){ 0 };
    for (; texts[s->count] != NULL; s->count++)
        assert_int_equal(addr_parse(slice_str(texts[s->count]), &s->addrs[s->count]), 0);
}

TEST(no_two_connections_share_an_address_while_there_is_another)
{
    static const char *const ADDRS[] = { "10.0.0.1:7844", "10.0.0.2:7844", "10.0.0.3:7844", NULL };
    struct edge_set s;
    fill(&s, ADDRS);
    CHECK(edge_set_take(&s, 1) == 1);
    CHECK(edge_set_take(&s, 1) == 2);
    CHECK(edge_set_take(&s, 0) == 0);
    CHECK(edge_set_take(&s, 4) == 1); /* shared: there is none left */
    CHECK(atomic_load(&s.users[1]) == 2);
}

TEST(a_rotation_takes_an_unused_address_and_gives_the_old_one_back)
{
    static const char *const ADDRS[] = { "10.0.0.1:7844", "10.0.0.2:7844", "10.0.0.3:7844", NULL };
    struct edge_set s;
    fill(&s, ADDRS);
    CHECK(edge_set_take(&s, 0) == 0);
    CHECK(edge_set_take(&s, 1) == 1);
    CHECK(edge_set_rotate(&s, 0) == 2);
    CHECK(edge_set_rotate(&s, 1) == 0);
    edge_set_give(&s, 2);
    CHECK(atomic_load(&s.users[0]) == 1 && atomic_load(&s.users[1]) == 0 &&
          atomic_load(&s.users[2]) == 0);
}

TEST(a_rotation_shares_another_edge_rather_than_stay_with_a_dead_one)
{
    static const char *const ADDRS[] = { "10.0.0.1:7844", "10.0.0.2:7844", "10.0.0.1:7844",
                                         "10.0.0.2:7844", NULL };
    struct edge_set s;
    fill(&s, ADDRS);
    for (size_t i = 0; i < 4; i++)
        CHECK(edge_set_take(&s, i) == i);
    CHECK(edge_set_rotate(&s, 0) == 1);
    CHECK(atomic_load(&s.users[0]) == 0 && atomic_load(&s.users[1]) == 2);
    /* The same address a second time is no other edge. */
    CHECK(edge_set_rotate(&s, 3) == 0);
}

TEST(with_one_edge_a_rotation_comes_back_to_it)
{
    static const char *const ADDRS[] = { "10.0.0.1:7844", "10.0.0.1:7844", NULL };
    struct edge_set s;
    fill(&s, ADDRS);
    CHECK(edge_set_take(&s, 0) == 0);
    CHECK(edge_set_rotate(&s, 0) == 0);
    CHECK(atomic_load(&s.users[0]) == 1);
}

TESTS(RUN(no_two_connections_share_an_address_while_there_is_another),
      RUN(a_rotation_takes_an_unused_address_and_gives_the_old_one_back),
      RUN(a_rotation_shares_another_edge_rather_than_stay_with_a_dead_one),
      RUN(with_one_edge_a_rotation_comes_back_to_it))
