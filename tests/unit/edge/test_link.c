#include "edge/link.h"

#include "net/turn.h"

struct table {
    struct loop *loop;
    struct link_table *t;
    struct rng rng;
    struct uuid tunnel, other;
    nsec now;
};

/* Exchanges that have nothing to do with each other. */
static nsec later(struct table *x)
{
    return x->now += NSEC_PER_SEC;
}

static void table_open(struct table *x)
{
    memset(x, 0, sizeof *x);
    assert_int_equal(loop_new(&x->loop), 0);
    x->t = link_table_new();
    rng_init(&x->rng, 42);
    x->tunnel.bytes[0] = 1;
    x->other.bytes[0] = 2;
}

static void table_close(struct table *x)
{
    link_table_free(x->t);
    loop_free(x->loop);
}

/* The table's reference is the only one left. */
static struct link *add(struct table *x, const struct uuid *tunnel, unsigned worker,
                        uint64_t serial, unsigned in_flight)
{
    struct link *l = link_new(LINK_ID(worker, serial), worker, loop_mailbox(x->loop));
    assert_non_null(l);
    l->tunnel = *tunnel;
    atomic_store(&l->in_flight, in_flight);
    assert_int_equal(link_table_add(x->t, l), 0);
    link_unref(l);
    return l;
}

TEST(a_link_is_found_by_its_tunnel_and_by_its_id)
{
    struct table x;
    table_open(&x);
    CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), NULL) == NULL);
    CHECK(!link_table_served(x.t, &x.tunnel, 0, 0));
    struct link *l = add(&x, &x.tunnel, 3, 9, 0);
    CHECK(LINK_WORKER(l->id) == 3);
    CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), NULL) == l);
    CHECK(link_table_pick(x.t, &x.other, 0, &x.rng, later(&x), NULL) == NULL);
    CHECK(link_table_find(x.t, l->id) == l && link_table_find(x.t, 77) == NULL);
    CHECK_ERR(ERR_EXISTS, link_table_add(x.t, l));
    CHECK(link_table_served(x.t, &x.tunnel, 0, 0) && !link_table_served(x.t, &x.other, 0, 0));
    uint64_t id = l->id;
    link_table_remove(x.t, id, 0);
    link_table_remove(x.t, id, 0); /* twice is accepted */
    CHECK(!link_table_served(x.t, &x.tunnel, 0, 0));
    table_close(&x);
}

TEST(the_least_busy_link_is_taken_and_one_of_our_worker_unless_it_is_clearly_busier)
{
    static const struct {
        unsigned near_load, far_load;
        bool takes_near;
    } TABLE[] = { { 0, 0, true }, { 15, 0, true }, { 17, 0, false }, { 0, 100, true } };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct table x;
        table_open(&x);
        struct link *near = add(&x, &x.tunnel, 0, 1, TABLE[i].near_load);
        struct link *far = add(&x, &x.tunnel, 1, 1, TABLE[i].far_load);
        struct link *got = link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), NULL);
        CHECK(got == (TABLE[i].takes_near ? near : far));
        table_close(&x);
    }
}

TEST(equal_links_share_the_work)
{
    struct table x;
    unsigned counts[4] = { 0 };
    table_open(&x);
    for (uint64_t i = 0; i < 4; i++)
        (void)add(&x, &x.tunnel, 0, i, 0);
    for (int i = 0; i < 4000; i++)
        counts[link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), NULL)->id & 3]++;
    for (int i = 0; i < 4; i++)
        CHECK(counts[i] > 800 && counts[i] < 1200);
    table_close(&x);
}

TEST(exchanges_that_follow_at_once_take_the_same_link)
{
    struct table x;
    table_open(&x);
    for (uint64_t i = 0; i < 4; i++)
        (void)add(&x, &x.tunnel, 0, i, 0);
    for (int k = 0; k < 100; k++) {
        struct link *first = link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), NULL);
        for (int i = 0; i < 10; i++) {
            x.now += NSEC_PER_MSEC;
            CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, x.now, NULL) == first);
        }
        /* Not when it has more to do than the others. */
        atomic_store(&first->in_flight, 1);
        CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, x.now, NULL) != first);
        atomic_store(&first->in_flight, 0);
    }
    table_close(&x);
}

TEST(links_that_drain_or_were_tried_are_left_out)
{
    struct table x;
    struct link_tried tried = { 0 };
    table_open(&x);
    struct link *a = add(&x, &x.tunnel, 0, 1, 0), *b = add(&x, &x.tunnel, 0, 2, 5);
    atomic_store(&a->is_draining, true);
    CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), NULL) == b);
    tried.ids[tried.count++] = b->id;
    CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), &tried) == NULL);
    atomic_store(&a->is_draining, false);
    CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), &tried) == a);
    CHECK(link_table_served(x.t, &x.tunnel, 0, 0));
    table_close(&x);
}

TEST(a_link_lives_as_long_as_somebody_holds_it)
{
    struct table x;
    table_open(&x);
    struct link *l = link_ref(add(&x, &x.tunnel, 0, 1, 0));
    link_table_remove(x.t, l->id, 0);
    CHECK(l->worker == 0); /* the sanitizer looks on */
    link_unref(l);
    link_unref(NULL);
    table_close(&x);
}

TEST(the_last_link_of_a_connector_that_takes_exchanges_has_no_sibling)
{
    struct table x;
    table_open(&x);
    struct link *first = add(&x, &x.tunnel, 0, 1, 0), *second = add(&x, &x.tunnel, 1, 2, 0);
    struct link *of_another = link_new(LINK_ID(0, 3), 0, loop_mailbox(x.loop));
    of_another->tunnel = x.tunnel;
    of_another->connector.bytes[0] = 7;
    CHECK_OK(link_table_add(x.t, of_another));
    link_unref(of_another);
    CHECK(link_table_has_sibling(x.t, first) && !link_table_has_sibling(x.t, of_another));
    atomic_store(&second->is_draining, true);
    CHECK(!link_table_has_sibling(x.t, first) && link_table_has_sibling(x.t, second));
    table_close(&x);
}

TEST(a_link_that_stands_in_is_better_than_none_and_than_one_that_is_suspect)
{
    struct table x;
    struct link_tried tried = { 0 };
    table_open(&x);
    struct link *stand_in = add(&x, &x.tunnel, 0, 1, 0);
    stand_in->is_stand_in = true;
    CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), &tried) == stand_in);
    struct link *direct = add(&x, &x.tunnel, 1, 2, 1000);
    direct->connector.bytes[0] = 1;
    for (int i = 0; i < 20; i++)
        CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), &tried) == direct);
    atomic_store(&direct->is_suspect, true);
    CHECK(link_table_pick(x.t, &x.tunnel, 0, &x.rng, later(&x), &tried) == stand_in);
    table_close(&x);
}

TEST(kin_siblings_and_others_are_told_apart)
{
    struct table x;
    table_open(&x);
    struct link *a = add(&x, &x.tunnel, 0, 1, 0);
    CHECK(!(link_table_has_kin(x.t, a) || link_table_has_sibling(x.t, a) ||
            link_table_has_other(x.t, a)));
    struct link *b = add(&x, &x.tunnel, 0, 2, 0);
    CHECK(link_table_has_kin(x.t, a) && link_table_has_sibling(x.t, a) &&
          link_table_has_other(x.t, a));
    atomic_store(&b->is_draining, true);
    CHECK(link_table_has_kin(x.t, a));
    CHECK(!(link_table_has_sibling(x.t, a) || link_table_has_other(x.t, a)));
    struct link *c = add(&x, &x.tunnel, 0, 3, 0);
    c->connector.bytes[0] = 1;
    CHECK(link_table_has_other(x.t, a));
    CHECK(!(link_table_has_sibling(x.t, a)));
    table_close(&x);
}

TESTS(RUN(a_link_is_found_by_its_tunnel_and_by_its_id),
      RUN(the_least_busy_link_is_taken_and_one_of_our_worker_unless_it_is_clearly_busier),
      RUN(equal_links_share_the_work), RUN(exchanges_that_follow_at_once_take_the_same_link),
      RUN(links_that_drain_or_were_tried_are_left_out),
      RUN(the_last_link_of_a_connector_that_takes_exchanges_has_no_sibling),
      RUN(a_link_lives_as_long_as_somebody_holds_it),
      RUN(a_link_that_stands_in_is_better_than_none_and_than_one_that_is_suspect),
      RUN(kin_siblings_and_others_are_told_apart))
