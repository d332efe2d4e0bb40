/* What connectors say of the rules of their own, in the table of who is connected. */
#include "base/limits.h"
#include "control/live.h"
#include "test.h"

static struct uuid tunnel(uint8_t n)
{
    return (struct uuid){ { n } };
}

static void connect_one(struct live *l, uint8_t n)
{
    struct live_conn c = { .link = n, .tunnel = tunnel(n), .connector = { { n } } };
    assert_int_equal(live_add(l, &c), 0);
}

TEST(the_last_word_of_a_tunnel_is_kept)
{
    struct live *l = live_new();
    struct uuid one = tunnel(1), two = tunnel(2);
    CHECK_ERR(ERR_NOTFOUND, live_report(l, &one, SLICE("{}")));
    connect_one(l, 1);
    CHECK(live_reported(l, &one).n == 0);
    CHECK_OK(live_report(l, &one, SLICE("{\"a\":1}")));
    CHECK_OK(live_report(l, &one, SLICE("{\"a\":2}")));
    CHECK_SLICE(live_reported(l, &one), SLICE("{\"a\":2}"));
    CHECK(live_reported(l, &two).n == 0);
    struct uuid gone;
    CHECK(live_remove(l, 1, &gone)); /* and while nobody is there */
    CHECK_SLICE(live_reported(l, &one), SLICE("{\"a\":2}"));
    CHECK_ERR(ERR_NOTFOUND, live_report(l, &one, SLICE("{}")));
    live_forget(l, &one);
    CHECK(live_reported(l, &one).n == 0);
    live_free(l);
}

TEST(the_oldest_words_go_when_there_are_too_many)
{
    struct live *l = live_new();
    size_t n = LOCAL_REPORTS_BYTES_MAX / 4;
    uint8_t *text = calloc(1, n);
    struct uuid id;
    for (uint8_t i = 1; i <= 6; i++)
        connect_one(l, i);
    for (uint8_t i = 1; i <= 4; i++) {
        id = tunnel(i);
        CHECK_OK(live_report(l, &id, slice_of(text, n)));
    }
    id = tunnel(1);
    CHECK_OK(live_report(l, &id, slice_of(text, n))); /* the youngest now, and counted once */
    CHECK(live_reported(l, &id).n == n);
    id = tunnel(5);
    CHECK_OK(live_report(l, &id, SLICE("x")));
    for (uint8_t i = 1; i <= 5; i++) {
        id = tunnel(i);
        CHECK((live_reported(l, &id).n == 0) == (i == 2));
    }
    free(text);
    live_free(l);
}

static uint64_t join(struct live *l, uint64_t link, uint8_t connector, const char *label)
{
    struct live_conn c = {
        .link = link, .tunnel = tunnel(1), .connector = { { connector } }, .index = (uint8_t)link
    };
    (void)snprintf(c.label, sizeof c.label, "%s", label);
    c.replica = live_replica(l, &c);
    assert_int_equal(live_add(l, &c), 0);
    return c.replica;
}

TEST(a_replica_is_known_by_its_label_unless_another_that_stays_goes_by_it)
{
    struct live *l = live_new();
    struct uuid gone;
    uint64_t a = join(l, 1, 1, "a");
    CHECK(a == replica_key(SLICE("a")));
    CHECK(join(l, 2, 1, "a") == a); /* its other connections too */
    uint64_t second = join(l, 3, 2, "a");
    CHECK(second != a);
    CHECK(join(l, 4, 3, "") != join(l, 5, 4, ""));
    live_drain(l, 1);
    live_drain(l, 2);
    CHECK(join(l, 6, 2, "a") == second); /* never another one while it is here */
    CHECK(live_remove(l, 3, &gone) && live_remove(l, 6, &gone));
    CHECK(join(l, 7, 5, "a") == a); /* the one that is restarted */
    live_free(l);
}

TEST(a_gauge_lives_as_long_as_its_connection_is_shown)
{
    struct live *l = live_new();
    struct uuid gone;
    struct live_conn c = { .link = 1, .tunnel = tunnel(1), .gauge = link_gauge_new() };
    link_gauge_set_rtt(c.gauge, 5);
    CHECK_OK(live_add(l, &c));
    c.link = 2, c.index = 1;
    CHECK_OK(live_add(l, &c));
    link_gauge_unref(c.gauge);
    CHECK(link_gauge_rtt(live_find(l, 1)->gauge) == 5);
    CHECK(live_remove(l, 1, &gone));
    CHECK(link_gauge_rtt(live_find(l, 2)->gauge) == 5);
    live_free(l);
}

TESTS(RUN(a_replica_is_known_by_its_label_unless_another_that_stays_goes_by_it),
      RUN(a_gauge_lives_as_long_as_its_connection_is_shown), RUN(the_last_word_of_a_tunnel_is_kept),
      RUN(the_oldest_words_go_when_there_are_too_many))
