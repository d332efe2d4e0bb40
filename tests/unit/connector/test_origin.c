/* Connections to origins: who is dialled, and how long one is kept. */
#include "connector/origin.h"

#include "net/sockets.h"

struct pool {
    struct loop *loop;
    struct task task;
    struct origin_pool *origins;
    struct origin_target target;
    int listener;
};

static void pool_open(struct pool *p, struct slice host)
{
    struct addr a;
    memset(p, 0, sizeof *p);
    assert_int_equal(loop_new(&p->loop), 0);
    task_init(&p->task, p->loop, do_nothing);
    p->origins = origin_pool_new(p->loop);
    assert_non_null(p->origins);
    p->listener = raw_listen(&a);
    p->target = (struct origin_target){ .host = host, .port = addr_port(&a), .idle_max = 10 };
}

static void pool_close(struct pool *p)
{
    origin_pool_free(p->origins);
    loop_turn(p->loop, 0);
    task_done(&p->task);
    (void)close(p->listener);
    loop_free(p->loop);
}

static struct origin_conn *open_one(struct pool *p, void **state_)
{
    struct origin_conn *c;
    int r = ERR_AGAIN;
    CHECK_OK(origin_open(p->origins, &p->target, false, &p->task, &c));
    UNTIL(p->loop, (r = origin_run(c)) != ERR_AGAIN);
    CHECK_OK(r);
    return c;
}

/* Whether a connection that is given back serves the next exchange. */
static bool is_kept(struct pool *p, void **state_)
{
    origin_keep(open_one(p, state_));
    loop_turn(p->loop, 0);
    struct origin_conn *again = open_one(p, state_);
    bool was_reused = origin_was_reused(again);
    origin_close(again);
    return was_reused;
}

TEST(a_name_with_two_families_reaches_the_one_that_answers)
{
    for (int one_by_one = 0; one_by_one < 2; one_by_one++) {
        struct pool p;
        pool_open(&p, SLICE("localhost")); /* ::1 refuses, 127.0.0.1 listens */
        p.target.no_happy_eyeballs = one_by_one;
        origin_close(open_one(&p, state_));
        pool_close(&p);
    }
}

TEST(a_connection_to_a_name_is_not_kept_past_the_names_life)
{
    struct pool p;
    pool_open(&p, SLICE("localhost"));
    CHECK(is_kept(&p, state_));  /* half a minute, by default */
    origin_pool_free(p.origins); /* and the one that it keeps */
    p.origins = origin_pool_new(p.loop);
    origin_pool_set_name_life(p.origins, 1);
    CHECK(!is_kept(&p, state_));
    pool_close(&p);
}

TEST(a_kept_connection_goes_when_the_names_life_is_over)
{
    struct pool p;
    char byte;
    pool_open(&p, SLICE("localhost"));
    origin_pool_set_name_life(p.origins, NSEC_PER_SEC / 4);
    struct origin_conn *c = open_one(&p, state_);
    int far = accept(p.listener, NULL, NULL);
    CHECK(far >= 0);
    origin_keep(c);
    UNTIL(p.loop, recv(far, &byte, 1, MSG_DONTWAIT) == 0); /* closed, by nothing else */
    (void)close(far);
    pool_close(&p);
}

TEST(a_connection_to_an_address_knows_no_such_life)
{
    struct pool p;
    pool_open(&p, SLICE("127.0.0.1"));
    origin_pool_set_name_life(p.origins, 1);
    CHECK(is_kept(&p, state_));
    pool_close(&p);
}

TEST(the_time_to_connect_covers_the_look_up)
{
    struct pool p;
    struct origin_conn *c;
    int r = ERR_AGAIN;
    pool_open(&p, SLICE("localhost"));
    p.target.connect_timeout = 1;
    CHECK_OK(origin_open(p.origins, &p.target, false, &p.task, &c));
    UNTIL(p.loop, (r = origin_run(c)) != ERR_AGAIN);
    CHECK_ERR(ERR_TIMEOUT, r);
    CHECK(origin_failed_at(c) == ORIGIN_RESOLVING);
    origin_close(c);
    pool_close(&p);
}

TESTS(RUN(a_name_with_two_families_reaches_the_one_that_answers),
      RUN(a_connection_to_a_name_is_not_kept_past_the_names_life),
      RUN(a_kept_connection_goes_when_the_names_life_is_over),
      RUN(a_connection_to_an_address_knows_no_such_life),
      RUN(the_time_to_connect_covers_the_look_up))
