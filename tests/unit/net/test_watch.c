#include <netinet/in.h>

#include "net/sockets.h"

struct counter {
    struct task task;
    unsigned wakes;
};

static void counter_run(struct task *t)
{
    container_of(t, struct counter, task)->wakes++;
}

struct view {
    struct loop *loop;
    struct counter owner;
    struct watch *watch;
    int theirs;
};

static void view_open(struct view *v)
{
    int ours;
    *v = (struct view){ 0 };
    assert_int_equal(loop_new(&v->loop), 0);
    task_init(&v->owner.task, v->loop, counter_run);
    raw_pair(&ours, &v->theirs);
    assert_int_equal(watch_open(v->loop, ours, &v->owner.task, &v->watch), 0);
    assert_int_equal(watch_fd(v->watch), ours);
}

static void view_close(struct view *v)
{
    watch_close(v->watch);
    if (v->theirs >= 0)
        (void)close(v->theirs);
    task_done(&v->owner.task);
    loop_free(v->loop);
}

TEST(nothing_is_told_before_somebody_waits)
{
    struct view v;
    view_open(&v);
    raw_send(v.theirs, "x");
    for (int i = 0; i < 5; i++)
        loop_turn(v.loop, 1);
    CHECK(v.owner.wakes == 0 && watch_ready(v.watch) == 0);
    watch_wait(v.watch, WATCH_READ);
    UNTIL(v.loop, v.owner.wakes > 0);
    CHECK(watch_ready(v.watch) == WATCH_READ);
    view_close(&v);
}

TEST(a_bit_that_stays_set_is_not_told_again_and_again)
{
    struct view v;
    view_open(&v);
    watch_wait(v.watch, WATCH_READ | WATCH_WRITE);
    raw_send(v.theirs, "x");
    UNTIL(v.loop, watch_ready(v.watch) == (WATCH_READ | WATCH_WRITE));
    for (int i = 0; i < 10; i++)
        loop_turn(v.loop, 1);
    CHECK(v.owner.wakes <= 3);
    unsigned wakes = v.owner.wakes;
    watch_wait(v.watch, WATCH_READ); /* nobody read: it is ready at once */
    CHECK(watch_ready(v.watch) == WATCH_WRITE);
    UNTIL(v.loop, v.owner.wakes > wakes);
    CHECK(watch_ready(v.watch) == (WATCH_READ | WATCH_WRITE));
    view_close(&v);
}

TEST(who_ignores_is_not_woken)
{
    struct view v;
    view_open(&v);
    watch_wait(v.watch, WATCH_READ);
    watch_ignore(v.watch, WATCH_READ);
    raw_send(v.theirs, "x");
    for (int i = 0; i < 5; i++)
        loop_turn(v.loop, 1);
    CHECK(v.owner.wakes == 0);
    view_close(&v);
}

TEST(a_reset_is_news_each_time_that_somebody_waits_for_it)
{
    struct view v;
    view_open(&v);
    watch_wait(v.watch, WATCH_READ);
    raw_reset(v.theirs);
    v.theirs = -1;
    for (unsigned i = 1; i <= 3; i++) {
        UNTIL(v.loop, v.owner.wakes >= i);
        CHECK((watch_ready(v.watch) & WATCH_READ) != 0);
        watch_wait(v.watch, WATCH_READ);
    }
    view_close(&v);
}

TEST(a_reset_is_news_although_nothing_is_wanted)
{
    struct view v;
    view_open(&v);
    watch_wait(v.watch, WATCH_READ);
    raw_send(v.theirs, "x");
    UNTIL(v.loop, watch_ready(v.watch) == WATCH_READ); /* and nobody reads it */
    for (int i = 0; i < 3; i++)
        loop_turn(v.loop, 1);
    unsigned wakes = v.owner.wakes;
    raw_reset(v.theirs);
    v.theirs = -1;
    UNTIL(v.loop, (watch_ready(v.watch) & WATCH_ERROR) != 0);
    CHECK(v.owner.wakes > wakes);
    wakes = v.owner.wakes;
    for (int i = 0; i < 5; i++)
        loop_turn(v.loop, 1);
    CHECK(v.owner.wakes == wakes); /* once is enough */
    view_close(&v);
}

TEST(urgent_data_and_hang_ups_do_not_keep_the_loop_busy)
{
    for (int is_hang_up = 0; is_hang_up < 2; is_hang_up++) {
        struct view v;
        view_open(&v);
        watch_wait(v.watch, WATCH_READ);
        watch_ignore(v.watch, WATCH_READ);
        if (is_hang_up != 0)
            CHECK(shutdown(watch_fd(v.watch), SHUT_WR) == 0 && shutdown(v.theirs, SHUT_WR) == 0);
        else
            CHECK(send(v.theirs, "!", 1, MSG_OOB) == 1);
        for (int i = 0; i < 20; i++)
            loop_turn(v.loop, 1);
        CHECK(v.owner.wakes <= 2);
        view_close(&v);
    }
}

TEST(news_goes_to_the_owner_of_the_day)
{
    struct view v;
    struct counter other = { 0 };
    view_open(&v);
    task_init(&other.task, v.loop, counter_run);
    watch_wait(v.watch, WATCH_READ);
    watch_set_owner(v.watch, &other.task);
    raw_send(v.theirs, "x");
    UNTIL(v.loop, other.wakes > 0);
    CHECK(v.owner.wakes == 0);
    view_close(&v);
}

TEST(closing_closes_the_descriptor_and_tells_nothing_more)
{
    struct view v;
    char byte;
    view_open(&v);
    watch_wait(v.watch, WATCH_READ);
    raw_send(v.theirs, "x");
    watch_close(v.watch);
    watch_close(NULL);
    v.watch = NULL;
    loop_turn(v.loop, 0);
    CHECK(v.owner.wakes == 0);
    CHECK(recv(v.theirs, &byte, 1, 0) <= 0);
    view_close(&v);
}

TEST(a_descriptor_that_cannot_be_polled_is_refused)
{
    struct loop *l;
    struct watch *w;
    CHECK_OK(loop_new(&l));
    CHECK(watch_open(l, -1, NULL, &w) < 0);
    loop_free(l);
}

TESTS(RUN(nothing_is_told_before_somebody_waits),
      RUN(a_bit_that_stays_set_is_not_told_again_and_again), RUN(who_ignores_is_not_woken),
      RUN(a_reset_is_news_each_time_that_somebody_waits_for_it),
      RUN(a_reset_is_news_although_nothing_is_wanted),
      RUN(urgent_data_and_hang_ups_do_not_keep_the_loop_busy),
      RUN(news_goes_to_the_owner_of_the_day),
      RUN(closing_closes_the_descriptor_and_tells_nothing_more),
      RUN(a_descriptor_that_cannot_be_polled_is_refused))
