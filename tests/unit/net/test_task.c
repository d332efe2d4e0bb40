#include "net/turn.h"

/* A task that writes its letter when it runs. */
struct scribe {
    struct task task;
    char letter;
    unsigned again; /* wakes itself so many times more */
    struct scribe *wakes;
};

static char script[64];

static void scribe_run(struct task *t)
{
    struct scribe *s = container_of(t, struct scribe, task);
    size_t n = strlen(script);
    assert_true(n + 1 < sizeof script);
    script[n] = s->letter;
    script[n + 1] = 0;
    if (s->again > 0) {
        s->again--;
        task_wake(t);
    }
    if (s->wakes != NULL)
        task_wake(&s->wakes->task);
}

static struct loop *open_loop(void)
{
    struct loop *l;
    script[0] = 0;
    assert_int_equal(loop_new(&l), 0);
    return l;
}

TEST(a_task_that_is_woken_twice_runs_once)
{
    struct loop *l = open_loop();
    struct scribe a = { .letter = 'a' }, b = { .letter = 'b' };
    task_init(&a.task, l, scribe_run);
    task_init(&b.task, l, scribe_run);
    task_wake(&a.task);
    task_wake(&b.task);
    task_wake(&a.task);
    task_wake(NULL);
    CHECK(script[0] == 0); /* waking alone does no work */
    loop_turn(l, 0);
    assert_string_equal(script, "ab");
    loop_turn(l, 0);
    assert_string_equal(script, "ab");
    task_wake(&a.task);
    loop_turn(l, 0);
    assert_string_equal(script, "aba");
    loop_free(l);
}

TEST(a_task_that_wakes_itself_goes_to_the_end_of_the_queue)
{
    struct loop *l = open_loop();
    struct scribe a = { .letter = 'a', .again = 2 }, b = { .letter = 'b', .again = 1 };
    task_init(&a.task, l, scribe_run);
    task_init(&b.task, l, scribe_run);
    task_wake(&a.task);
    task_wake(&b.task);
    loop_turn(l, 0);
    assert_string_equal(script, "ababa");
    CHECK(a.again == 0);
    loop_free(l);
}

TEST(late_tasks_run_after_all_the_others)
{
    struct loop *l = open_loop();
    struct scribe late = { .letter = 'L' }, a = { .letter = 'a', .again = 1 },
                  b = { .letter = 'b' };
    task_init_late(&late.task, l, scribe_run);
    task_init(&a.task, l, scribe_run);
    task_init(&b.task, l, scribe_run);
    a.wakes = &late; /* queued twice over: it still runs once */
    task_wake(&late.task);
    task_wake(&a.task);
    task_wake(&b.task);
    loop_turn(l, 0);
    assert_string_equal(script, "abaL");
    CHECK(!list_has_neighbours(&late.task.node));
    loop_free(l);
}

TEST(what_a_late_task_wakes_runs_before_the_next_late_one)
{
    struct loop *l = open_loop();
    struct scribe first = { .letter = 'L' }, second = { .letter = 'M' }, a = { .letter = 'a' };
    task_init_late(&first.task, l, scribe_run);
    task_init_late(&second.task, l, scribe_run);
    task_init(&a.task, l, scribe_run);
    first.wakes = &a;
    task_wake(&first.task);
    task_wake(&second.task);
    loop_turn(l, 0);
    CHECK(a.letter == 'a');
    assert_string_equal(script, "LaM");
    loop_free(l);
}

TEST(tasks_that_keep_waking_themselves_hold_late_ones_back_for_a_while_only)
{
    struct loop *l = open_loop();
    struct scribe late = { .letter = 'L' }, busy = { .letter = 'x', .again = 30 };
    task_init_late(&late.task, l, scribe_run);
    task_init(&busy.task, l, scribe_run);
    task_wake(&late.task);
    task_wake(&busy.task);
    loop_turn(l, 0);
    const char *at = strchr(script, 'L');
    CHECK(at != NULL && at - script > 1 && at - script < 30);
    loop_free(l);
}

TEST(a_task_that_is_done_does_not_run_and_may_be_freed)
{
    struct loop *l = open_loop();
    struct scribe *a = malloc(sizeof *a), b = { .letter = 'b' };
    struct task never = { 0 };
    CHECK(a != NULL);
    *a = (struct scribe){ .letter = 'a' };
    task_init(&a->task, l, scribe_run);
    task_init(&b.task, l, scribe_run);
    task_wake(&a->task);
    task_wake(&b.task);
    task_done(&a->task);
    free(a);
    task_done(&never); /* a zeroed one is accepted */
    loop_turn(l, 0);
    assert_string_equal(script, "b");
    task_done(&b.task);
    task_done(&b.task);
    loop_free(l);
}

TESTS(RUN(a_task_that_is_woken_twice_runs_once),
      RUN(a_task_that_wakes_itself_goes_to_the_end_of_the_queue),
      RUN(late_tasks_run_after_all_the_others),
      RUN(what_a_late_task_wakes_runs_before_the_next_late_one),
      RUN(tasks_that_keep_waking_themselves_hold_late_ones_back_for_a_while_only),
      RUN(a_task_that_is_done_does_not_run_and_may_be_freed))
