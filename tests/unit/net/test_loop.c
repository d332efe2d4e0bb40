#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "net/turn.h"

/* Something that is given to loop_reap: it notes the order. */
struct grave {
    struct reaper reaper;
    unsigned *count;
    unsigned rank;
};

static void grave_reap(struct reaper *r)
{
    struct grave *g = container_of(r, struct grave, reaper);
    g->rank = ++*g->count;
}

struct digger {
    struct task task;
    struct loop *loop;
    struct grave *grave;
    unsigned runs, rank_seen;
};

static void digger_run(struct task *t)
{
    struct digger *d = container_of(t, struct digger, task);
    if (d->runs++ == 0)
        loop_reap(d->loop, &d->grave->reaper, grave_reap);
    d->rank_seen = d->grave->rank;
    if (d->runs < 3)
        task_wake(t);
}

TEST(nothing_is_reaped_while_tasks_of_the_turn_run_and_then_in_order)
{
    struct loop *l;
    unsigned count = 0;
    CHECK_OK(loop_new(&l));
    struct grave first = { .count = &count }, second = { .count = &count };
    struct digger d = { .loop = l, .grave = &second };
    task_init(&d.task, l, digger_run);
    loop_reap(l, &first.reaper, grave_reap);
    CHECK(count == 0);
    task_wake(&d.task);
    loop_turn(l, 0);
    CHECK(d.runs == 3 && d.rank_seen == 0); /* even the last run still had it */
    CHECK(first.rank == 1 && second.rank == 2);
    loop_free(l);
}

TEST(freeing_the_loop_reaps_what_is_left)
{
    struct loop *l;
    unsigned count = 0;
    struct grave g = { .count = &count };
    CHECK_OK(loop_new(&l));
    loop_reap(l, &g.reaper, grave_reap);
    loop_free(l);
    CHECK(g.rank == 1);
    loop_free(NULL);
}

struct runner {
    struct task task;
    unsigned runs, stop_after;
};

static void runner_run(struct task *t)
{
    struct runner *r = container_of(t, struct runner, task);
    if (++r->runs == r->stop_after)
        loop_stop(t->loop);
    task_wake(t);
}

TEST(a_task_without_end_leaves_each_turn_its_bound_and_events_their_turn)
{
    struct loop *l;
    struct task owner;
    struct watch *w;
    struct runner r = { 0 };
    int fds[2];
    CHECK_OK(loop_new(&l));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    task_init(&owner, l, do_nothing);
    task_init(&r.task, l, runner_run);
    CHECK_OK(watch_open(l, fds[0], &owner, &w));
    watch_wait(w, WATCH_READ);
    task_wake(&r.task);
    CHECK(write(fds[1], "x", 1) == 1);
    loop_turn(l, -1); /* does not sleep while a task waits */
    CHECK(r.runs > 0 && r.runs <= 2 * RUN_STEP);
    CHECK(watch_ready(w) == WATCH_READ);
    task_done(&r.task);
    watch_close(w);
    (void)close(fds[1]);
    loop_free(l);
}

TEST(run_goes_on_until_it_is_stopped)
{
    struct loop *l;
    struct runner r = { .stop_after = 5 * RUN_STEP };
    CHECK_OK(loop_new(&l));
    task_init(&r.task, l, runner_run);
    task_wake(&r.task);
    loop_run(l);
    CHECK(r.runs >= 5 * RUN_STEP);
    task_done(&r.task);
    loop_free(l);
}

TEST(time_does_not_go_back_and_a_turn_waits_no_longer_than_told)
{
    struct loop *l;
    CHECK_OK(loop_new(&l));
    nsec before = loop_now(l), outside = clock_monotonic();
    CHECK(before <= outside && before > 0);
    loop_turn(l, 2);
    CHECK(loop_now(l) >= outside + 2 * NSEC_PER_MSEC);
    CHECK(clock_monotonic() < outside + 10 * NSEC_PER_SEC);
    nsec now = loop_now(l);
    CHECK(loop_now_fresh(l) >= now && loop_now(l) >= now);
    loop_free(l);
}

static bool has_told(int fd)
{
    char text[8192];
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    return strstr(text, "repeats_held_back=") != NULL;
}

/* Nothing else happens: the loop sees to it by itself. */
TEST(a_loop_that_sleeps_tells_what_the_log_has_held_back)
{
    struct loop *l;
    int fds[2];
    CHECK_OK(loop_new(&l));
    CHECK(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    log_setup(LOG_INFO, LOG_LOGFMT, fds[1]);
    for (int round = 0; round < 2; round++) {
        while (!log_is_holding())
            log_info("often");
        (void)has_told(fds[0]);
        while (log_is_holding())
            loop_turn(l, 30000);
        CHECK(has_told(fds[0]));
    }
    log_setup(LOG_INFO, LOG_LOGFMT, STDERR_FILENO);
    (void)close(fds[0]);
    (void)close(fds[1]);
    loop_free(l);
}

TESTS(RUN(nothing_is_reaped_while_tasks_of_the_turn_run_and_then_in_order),
      RUN(freeing_the_loop_reaps_what_is_left),
      RUN(a_task_without_end_leaves_each_turn_its_bound_and_events_their_turn),
      RUN(run_goes_on_until_it_is_stopped),
      RUN(a_loop_that_sleeps_tells_what_the_log_has_held_back),
      RUN(time_does_not_go_back_and_a_turn_waits_no_longer_than_told))
