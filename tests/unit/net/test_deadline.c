#include "base/rand.h"
#include "net/turn.h"

#define MANY 2000

struct clock_face {
    struct task task;
    struct deadline deadline;
    nsec at, fired;
    unsigned rank;
};

static unsigned fired_count;

static void face_run(struct task *t)
{
    struct clock_face *f = container_of(t, struct clock_face, task);
    if (!deadline_take(&f->deadline))
        return;
    f->fired = loop_now(t->loop);
    f->rank = ++fired_count;
}

static struct loop *open_loop(void)
{
    struct loop *l;
    fired_count = 0;
    assert_int_equal(loop_new(&l), 0);
    return l;
}

static void face_init(struct clock_face *f, struct loop *l)
{
    *f = (struct clock_face){ 0 };
    task_init(&f->task, l, face_run);
}

TEST(deadlines_fire_in_the_order_of_their_times_and_never_early)
{
    struct loop *l = open_loop();
    struct clock_face faces[5];
    static const unsigned USEC[5] = { 3000, 500, 4000, 1000, 500 };
    nsec now = loop_now_fresh(l);
    for (int i = 0; i < 5; i++) {
        face_init(&faces[i], l);
        faces[i].at = now + USEC[i] * NSEC_PER_USEC;
        deadline_set(&faces[i].deadline, &faces[i].task, faces[i].at);
        CHECK(deadline_is_set(&faces[i].deadline));
    }
    UNTIL(l, fired_count == 5);
    CHECK(faces[1].rank <= 2 && faces[4].rank <= 2);
    CHECK(faces[3].rank == 3 && faces[0].rank == 4 && faces[2].rank == 5);
    for (int i = 0; i < 5; i++) {
        CHECK(faces[i].fired >= faces[i].at);
        CHECK(!deadline_is_set(&faces[i].deadline));
    }
    loop_free(l);
}

TEST(a_cleared_deadline_does_not_fire)
{
    struct loop *l = open_loop();
    struct clock_face a, b;
    face_init(&a, l);
    face_init(&b, l);
    nsec now = loop_now_fresh(l);
    deadline_clear(&a.deadline); /* a zeroed one is accepted */
    deadline_set(&a.deadline, &a.task, now + NSEC_PER_MSEC);
    deadline_set(&b.deadline, &b.task, now + 2 * NSEC_PER_MSEC);
    deadline_clear(&a.deadline);
    deadline_clear(&a.deadline);
    CHECK(!deadline_is_set(&a.deadline) && deadline_is_set(&b.deadline));
    UNTIL(l, b.rank != 0);
    CHECK(a.rank == 0 && b.rank == 1);
    loop_free(l);
}

TEST(clearing_takes_back_a_firing_that_was_not_looked_at)
{
    struct loop *l = open_loop();
    struct task task;
    struct deadline d = { 0 };
    task_init(&task, l, do_nothing);
    deadline_set(&d, &task, 0); /* long ago */
    loop_turn(l, 0);
    CHECK(d.passed);
    deadline_clear(&d);
    CHECK(!deadline_take(&d));
    deadline_set(&d, &task, 1);
    loop_turn(l, 0);
    CHECK(deadline_take(&d) && !deadline_take(&d));
    loop_free(l);
}

TEST(a_deadline_moves_both_ways_and_to_another_owner)
{
    struct loop *l = open_loop();
    struct clock_face a, b, c;
    struct task other;
    face_init(&a, l);
    face_init(&b, l);
    face_init(&c, l);
    task_init(&other, l, do_nothing);
    nsec now = loop_now_fresh(l);
    deadline_set(&a.deadline, &a.task, now + 1000 * NSEC_PER_SEC);
    deadline_set(&b.deadline, &other, now + NSEC_PER_MSEC);
    deadline_set(&c.deadline, &c.task, now + 2 * NSEC_PER_MSEC);
    deadline_set(&a.deadline, &a.task, now + 1 * NSEC_PER_MSEC); /* sooner */
    deadline_set(&b.deadline, &b.task, now + 3 * NSEC_PER_MSEC); /* later, and its own task */
    UNTIL(l, fired_count == 3);
    CHECK(a.rank == 1 && c.rank == 2 && b.rank == 3);
    CHECK(b.fired >= now + 3 * NSEC_PER_MSEC);
    loop_free(l);
}

TEST(many_are_kept_in_order_while_others_are_cleared_and_moved)
{
    static struct clock_face faces[MANY];
    struct loop *l = open_loop();
    struct rng rng;
    unsigned wanted = 0;
    rng_init(&rng, 7);
    nsec base = loop_now_fresh(l);
    for (int i = 0; i < MANY; i++) {
        face_init(&faces[i], l);
        faces[i].at = base + rng_below(&rng, 5 * NSEC_PER_MSEC);
        deadline_set(&faces[i].deadline, &faces[i].task, faces[i].at);
    }
    for (int i = 0; i < MANY; i++) {
        uint64_t choice = rng_below(&rng, 3);
        if (choice == 0) {
            deadline_clear(&faces[i].deadline);
            continue;
        }
        wanted++;
        if (choice == 1) {
            faces[i].at = base + rng_below(&rng, 5 * NSEC_PER_MSEC);
            deadline_set(&faces[i].deadline, &faces[i].task, faces[i].at);
        }
    }
    UNTIL(l, fired_count == wanted);
    loop_turn(l, 0);
    CHECK(fired_count == wanted);
    static nsec at_rank[MANY + 1];
    for (int i = 0; i < MANY; i++) {
        if (faces[i].rank == 0)
            continue;
        CHECK(faces[i].fired >= faces[i].at);
        at_rank[faces[i].rank] = faces[i].at;
    }
    for (unsigned i = 2; i <= wanted; i++)
        CHECK(at_rank[i - 1] <= at_rank[i]);
    loop_free(l);
}

TEST(a_turn_sleeps_until_the_deadline_and_not_for_a_cleared_one)
{
    struct loop *l = open_loop();
    struct clock_face near, far;
    face_init(&near, l);
    face_init(&far, l);
    nsec start = loop_now_fresh(l);
    deadline_set(&near.deadline, &near.task, start + NSEC_PER_MSEC);
    deadline_set(&far.deadline, &far.task, start + 3 * NSEC_PER_MSEC);
    loop_turn(l, 0); /* arms for the near one */
    deadline_clear(&near.deadline);
    unsigned turns = 0;
    while (far.rank == 0 && turns < 100) {
        loop_turn(l, -1);
        turns++;
    }
    CHECK(far.rank == 1 && near.rank == 0 && turns <= 4);
    CHECK(far.fired >= far.at && far.fired < start + 10 * NSEC_PER_SEC);
    loop_free(l);
}

TESTS(RUN(deadlines_fire_in_the_order_of_their_times_and_never_early),
      RUN(a_cleared_deadline_does_not_fire),
      RUN(clearing_takes_back_a_firing_that_was_not_looked_at),
      RUN(a_deadline_moves_both_ways_and_to_another_owner),
      RUN(many_are_kept_in_order_while_others_are_cleared_and_moved),
      RUN(a_turn_sleeps_until_the_deadline_and_not_for_a_cleared_one))
