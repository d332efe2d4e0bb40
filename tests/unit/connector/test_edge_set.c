#include "connector/edge_set.h"
#include "test.h"

static void fill(struct edge_set *s, const char *const *texts)
{
    struct edge_list list = { 0 };
    for (; texts[list.count] != NULL; list.count++)
        assert_int_equal(addr_parse(slice_str(texts[list.count]), &list.addrs[list.count].addr), 0);
    edge_set_init(s, &list);
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
    CHECK(s.users[1] == 2);
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
    CHECK(s.users[0] == 1 && s.users[1] == 0 && s.users[2] == 0);
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
    CHECK(s.users[0] == 0 && s.users[1] == 2);
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
    CHECK(s.users[0] == 1);
}

/* ---- names ---- */

static size_t addrs_of(const char *const *texts, struct addr *ret)
{
    size_t n = 0;
    for (; texts[n] != NULL; n++)
        assert_int_equal(addr_parse(slice_str(texts[n]), &ret[n]), 0);
    return n;
}

static void fill_named(struct edge_set *s, const char *const *texts)
{
    struct edge_list list = { 0 };
    struct addr found[EDGE_ADDRS_MAX];
    edge_list_add(&list, SLICE("10.9.9.9"), 7844, found,
                  addrs_of((const char *const[]){ "10.9.9.9:7844", NULL }, found), false);
    edge_list_add(&list, SLICE("edge.test"), 7844, found, addrs_of(texts, found), true);
    edge_set_init(s, &list);
}

static void check_places(struct edge_set *s, const char *const *texts, void **state_)
{
    size_t n = 0;
    for (; texts[n] != NULL; n++) {
        char text[ADDR_TEXT_BYTES];
        struct addr a = edge_set_addr(s, n);
        assert_string_equal(addr_text(&a, text), texts[n]);
    }
    CHECK(s->list.count == n);
}

TEST(the_addresses_of_a_name_are_spread_over_both_families)
{
    static const char *const FOUND[] = { "[fd00::1]:7844", "[fd00::2]:7844", "10.0.0.1:7844",
                                         NULL };
    static const char *const PLACES[] = { "10.9.9.9:7844", "[fd00::1]:7844", "10.0.0.1:7844",
                                          "[fd00::2]:7844", NULL };
    struct edge_set s;
    fill_named(&s, FOUND);
    check_places(&s, PLACES, state_);
    CHECK(edge_set_name(&s, 0) == NULL);
    for (size_t i = 1; i < 4; i++)
        assert_string_equal(edge_set_name(&s, i)->host, "edge.test");
    edge_set_done(&s);
}

TEST(a_name_that_moved_takes_its_addresses_with_it_and_no_others)
{
    static const char *const FOUND[] = { "10.0.0.1:7844", "10.0.0.2:7844", NULL };
    static const struct {
        const char *const now[5], *const places[6];
    } TABLE[] = {
        { { "10.0.0.2:7844", "10.0.0.1:7844", NULL },
          { "10.9.9.9:7844", "10.0.0.1:7844", "10.0.0.2:7844", NULL } },
        { { "10.0.0.2:7844", "10.0.0.3:7844", NULL },
          { "10.9.9.9:7844", "10.0.0.3:7844", "10.0.0.2:7844", NULL } },
        { { "10.0.0.5:7844", NULL }, { "10.9.9.9:7844", "10.0.0.5:7844", "10.0.0.5:7844", NULL } },
        { { "10.0.0.7:7844", "10.0.0.8:7844", "10.0.0.1:7844", NULL },
          { "10.9.9.9:7844", "10.0.0.1:7844", "10.0.0.7:7844", "10.0.0.8:7844", NULL } },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct edge_set s;
        struct addr now[8];
        fill_named(&s, FOUND);
        size_t mine = edge_set_take(&s, 2);
        CHECK(mine == 2);
        edge_set_refresh(&s, mine, now, addrs_of(TABLE[i].now, now));
        check_places(&s, TABLE[i].places, state_);
        CHECK(s.users[2] == 1);
        edge_set_done(&s);
    }
}

TEST(a_name_with_more_addresses_than_there_is_room_for_is_cut)
{
    static const char *const FOUND[] = { "10.0.0.1:7844", NULL };
    struct edge_set s;
    struct addr now[EDGE_ADDRS_MAX + 8];
    fill_named(&s, FOUND);
    for (size_t i = 0; i < EDGE_ADDRS_MAX + 8; i++)
        CHECK_OK(addr_parse_ip(SLICE("10.1.1.1"), (uint16_t)(i + 1), &now[i]));
    edge_set_refresh(&s, 1, now, EDGE_ADDRS_MAX + 8);
    CHECK(s.list.count == EDGE_ADDRS_MAX);
    edge_set_done(&s);
}

TEST(addresses_of_the_version_that_is_not_wanted_are_left_out_also_later)
{
    struct edge_list list = { .family = AF_INET6 };
    struct edge_set s;
    struct addr found[3];
    CHECK_OK(addr_parse_ip(SLICE("10.0.0.1"), 7844, &found[0]));
    CHECK_OK(addr_parse_ip(SLICE("fd00::1"), 7844, &found[1]));
    CHECK_OK(addr_parse_ip(SLICE("10.0.0.2"), 7844, &found[2]));
    edge_list_add(&list, SLICE("edge.test"), 7844, found, 3, true);
    CHECK(list.count == 1 && list.addrs[0].addr.sa.ss_family == AF_INET6);
    edge_set_init(&s, &list);
    CHECK_OK(addr_parse_ip(SLICE("fd00::2"), 7844, &found[0]));
    CHECK_OK(addr_parse_ip(SLICE("10.0.0.3"), 7844, &found[1]));
    edge_set_refresh(&s, 0, found, 2);
    CHECK(s.list.count == 1 && s.list.addrs[0].addr.sa.ss_family == AF_INET6);
    edge_set_refresh(&s, 0, &found[1], 1); /* nothing that is wanted: what is known stays */
    CHECK(s.list.count == 1 && s.list.addrs[0].addr.sa.ss_family == AF_INET6);
    edge_set_done(&s);
}

TESTS(RUN(no_two_connections_share_an_address_while_there_is_another),
      RUN(a_rotation_takes_an_unused_address_and_gives_the_old_one_back),
      RUN(a_rotation_shares_another_edge_rather_than_stay_with_a_dead_one),
      RUN(with_one_edge_a_rotation_comes_back_to_it),
      RUN(the_addresses_of_a_name_are_spread_over_both_families),
      RUN(a_name_that_moved_takes_its_addresses_with_it_and_no_others),
      RUN(a_name_with_more_addresses_than_there_is_room_for_is_cut),
      RUN(addresses_of_the_version_that_is_not_wanted_are_left_out_also_later))
