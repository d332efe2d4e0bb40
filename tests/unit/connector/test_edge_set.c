#include "connector/edge_set.h"
#include "test.h"

#define NOW (1000 * NSEC_PER_SEC)

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
    CHECK(edge_set_rotate(&s, 0, NOW) == 2);
    /* Of the others one has just failed and one is shared; a minute later it is as good as any. */
    size_t shared = edge_set_rotate(&s, 1, NOW + 1);
    CHECK(shared == 2 && s.users[2] == 2);
    CHECK(edge_set_rotate(&s, shared, NOW + 61 * NSEC_PER_SEC) == 0);
    edge_set_give(&s, 2);
    CHECK(s.users[0] == 1 && s.users[1] == 0 && s.users[2] == 0);
    edge_set_done(&s);
}

TEST(a_rotation_shares_another_edge_rather_than_stay_with_a_dead_one)
{
    static const char *const ADDRS[] = { "10.0.0.1:7844", "10.0.0.2:7844", "10.0.0.1:7844",
                                         "10.0.0.2:7844", NULL };
    struct edge_set s;
    fill(&s, ADDRS);
    for (size_t i = 0; i < 4; i++)
        CHECK(edge_set_take(&s, i) == i);
    CHECK(edge_set_rotate(&s, 0, NOW) == 1);
    CHECK(s.users[0] == 0 && s.users[1] == 2);
    /* The same address a second time is no other edge. */
    CHECK(edge_set_rotate(&s, 3, NOW) == 0);
}

TEST(with_one_edge_a_rotation_comes_back_to_it)
{
    static const char *const ADDRS[] = { "10.0.0.1:7844", "10.0.0.1:7844", NULL };
    struct edge_set s;
    fill(&s, ADDRS);
    CHECK(edge_set_take(&s, 0) == 0);
    CHECK(edge_set_rotate(&s, 0, NOW) == 0);
    CHECK(s.users[0] == 1);
}

/* ---- names ---- */

static struct edge_found found_of(const char *const *texts)
{
    struct edge_found found = { 0 };
    for (; texts[found.count] != NULL; found.count++)
        assert_int_equal(addr_parse(slice_str(texts[found.count]), &found.addrs[found.count]), 0);
    found.preferred = found.count;
    return found;
}

static void fill_named(struct edge_set *s, const char *const *texts)
{
    static const struct edge_name NAME = { .host = "edge.test", .port = 7844 };
    struct edge_list list = { 0 };
    struct edge_found found = found_of(texts);
    struct addr given;
    assert_int_equal(addr_parse_ip(SLICE("10.9.9.9"), 7844, &given), 0);
    edge_list_add_addr(&list, &given);
    edge_list_add(&list, &NAME, &found);
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
        fill_named(&s, FOUND);
        size_t mine = edge_set_take(&s, 2);
        CHECK(mine == 2);
        struct edge_found now = found_of(TABLE[i].now);
        edge_set_refresh(&s, mine, &now);
        check_places(&s, TABLE[i].places, state_);
        CHECK(s.users[2] == 1);
        edge_set_done(&s);
    }
}

TEST(a_name_with_more_addresses_than_there_is_room_for_is_cut)
{
    static const char *const FOUND[] = { "10.0.0.1:7844", NULL };
    struct edge_set s;
    struct edge_found now = { .count = EDGE_ADDRS_MAX, .preferred = EDGE_ADDRS_MAX };
    fill_named(&s, FOUND);
    for (size_t i = 0; i < EDGE_ADDRS_MAX; i++)
        CHECK_OK(addr_parse_ip(SLICE("10.1.1.1"), (uint16_t)(i + 1), &now.addrs[i]));
    edge_set_refresh(&s, 1, &now);
    CHECK(s.list.count == EDGE_ADDRS_MAX);
    edge_set_done(&s);
}

TEST(addresses_of_the_version_that_is_not_wanted_are_left_out_also_later)
{
    static const struct edge_name NAME = { .host = "edge.test", .port = 7844 };
    static const char *const FIRST[] = { "10.0.0.1:7844", "[fd00::1]:7844", "10.0.0.2:7844", NULL };
    static const char *const SECOND[] = { "[fd00::2]:7844", "10.0.0.3:7844", NULL };
    static const char *const THIRD[] = { "10.0.0.3:7844", NULL };
    struct edge_list list = { .family = AF_INET6 };
    struct edge_set s;
    struct edge_found found = found_of(FIRST);
    edge_list_add(&list, &NAME, &found);
    CHECK(list.count == 1 && list.addrs[0].addr.sa.ss_family == AF_INET6);
    edge_set_init(&s, &list);
    found = found_of(SECOND);
    edge_set_refresh(&s, 0, &found);
    CHECK(s.list.count == 1 && s.list.addrs[0].addr.sa.ss_family == AF_INET6);
    found = found_of(THIRD); /* nothing that is wanted: what is known stays */
    edge_set_refresh(&s, 0, &found);
    CHECK(s.list.count == 1 && s.list.addrs[0].addr.sa.ss_family == AF_INET6);
    edge_set_done(&s);
}

TEST(a_name_that_could_not_be_resolved_has_its_address_later)
{
    static const struct edge_name NAME = { .host = "edge.test", .port = 7844 };
    static const char *const FOUND[] = { "10.0.0.1:7844", "10.0.0.2:7844", NULL };
    static const char *const PLACES[] = { "10.0.0.1:7844", "10.0.0.2:7844", "10.0.0.1:7844", NULL };
    struct edge_list list = { 0 };
    struct edge_set s;
    edge_list_add(&list, &NAME, NULL);
    edge_list_fill(&list, 3);
    CHECK(list.count == 3 && list.addrs[2].addr.size == 0 && list.addrs[2].name == 1);
    edge_set_init(&s, &list);
    struct edge_found found = found_of(FOUND);
    edge_set_refresh(&s, 0, &found);
    check_places(&s, PLACES, state_);
    edge_set_done(&s);
}

/* ---- spare addresses ---- */

/* Two that are preferred, each twice, and a spare one between them. */
static void fill_spare(struct edge_set *s)
{
    static const struct edge_name NAME = { .host = "_edge._tcp.test", .is_srv = true };
    static const char *const FOUND[] = { "10.0.0.1:7844", "10.0.0.2:7844", "10.0.0.3:7844", NULL };
    struct edge_list list = { 0 };
    struct edge_found found = found_of(FOUND);
    found.preferred = 2;
    edge_list_add(&list, &NAME, &found);
    edge_list_fill(&list, 4);
    edge_set_init(s, &list);
}

TEST(a_spare_address_serves_only_while_no_other_can_be_dialled)
{
    struct edge_set s;
    fill_spare(&s);
    CHECK(s.list.count == 5);
    size_t at[4];
    for (size_t i = 0; i < 4; i++) {
        at[i] = edge_set_take(&s, i);
        CHECK(!s.list.addrs[at[i]].is_spare);
    }
    at[0] = edge_set_rotate(&s, at[0], NOW); /* the first fails: the second is shared */
    CHECK(addr_port(&s.list.addrs[at[0]].addr) == 7844 && at[0] == 1);
    at[0] = edge_set_rotate(&s, at[0], NOW + 1); /* both have failed */
    CHECK(s.list.addrs[at[0]].is_spare);
    CHECK(edge_set_stay(&s, at[0], NOW + NSEC_PER_SEC) == at[0]);
    size_t back = edge_set_stay(&s, at[0], NOW + 61 * NSEC_PER_SEC);
    CHECK(!s.list.addrs[back].is_spare && s.users[at[0]] == 0 && s.users[back] > 0);
    edge_set_done(&s);
}

TEST(when_every_address_has_failed_the_preferred_ones_are_tried_again)
{
    struct edge_set s;
    fill_spare(&s);
    size_t at = edge_set_take(&s, 0);
    at = edge_set_rotate(&s, at, NOW);
    at = edge_set_rotate(&s, at, NOW);
    CHECK(s.list.addrs[at].is_spare);
    at = edge_set_rotate(&s, at, NOW);
    CHECK(!s.list.addrs[at].is_spare);
    edge_set_done(&s);
}

TEST(records_that_changed_make_other_addresses_spare)
{
    static const char *const NOW_FOUND[] = { "10.0.0.3:7844", "10.0.0.1:7844", NULL };
    static const char *const PLACES[] = { "10.0.0.1:7844", "10.0.0.3:7844", "10.0.0.3:7844",
                                          "10.0.0.1:7844", "10.0.0.3:7844", NULL };
    struct edge_set s;
    fill_spare(&s);
    struct edge_found found = found_of(NOW_FOUND);
    found.preferred = 1;
    edge_set_refresh(&s, 0, &found);
    check_places(&s, PLACES, state_);
    for (size_t i = 0; i < s.list.count; i++)
        CHECK(s.list.addrs[i].is_spare == (i == 0 || i == 3));
    edge_set_done(&s);
}

TESTS(RUN(no_two_connections_share_an_address_while_there_is_another),
      RUN(a_rotation_takes_an_unused_address_and_gives_the_old_one_back),
      RUN(a_rotation_shares_another_edge_rather_than_stay_with_a_dead_one),
      RUN(with_one_edge_a_rotation_comes_back_to_it),
      RUN(a_name_that_moved_takes_its_addresses_with_it_and_no_others),
      RUN(a_name_with_more_addresses_than_there_is_room_for_is_cut),
      RUN(addresses_of_the_version_that_is_not_wanted_are_left_out_also_later),
      RUN(a_name_that_could_not_be_resolved_has_its_address_later),
      RUN(a_spare_address_serves_only_while_no_other_can_be_dialled),
      RUN(when_every_address_has_failed_the_preferred_ones_are_tried_again),
      RUN(records_that_changed_make_other_addresses_spare))
