#include <pthread.h>

#include "base/limits.h"
#include "net/turn.h"

#define SENDERS 4
#define LETTERS 5000

struct letter {
    struct mail mail;
    struct desk *desk;
    unsigned sender, number;
};

struct desk {
    struct mailbox *box;
    unsigned next[SENDERS]; /* number that must come next from each */
    unsigned delivered, misplaced;
    _Atomic unsigned dropped;
};

static void letter_deliver(struct mail *m)
{
    struct letter *l = container_of(m, struct letter, mail);
    if (l->desk->next[l->sender]++ != l->number)
        l->desk->misplaced++;
    l->desk->delivered++;
    free(l);
}

static void letter_drop(struct mail *m)
{
    struct letter *l = container_of(m, struct letter, mail);
    l->desk->dropped++;
    free(l);
}

static void post(struct desk *d, unsigned sender, unsigned number)
{
    struct letter *l = malloc(sizeof *l);
    if (l == NULL)
        abort();
    *l = (struct letter){ .desk = d, .sender = sender, .number = number };
    l->mail = (struct mail){ .deliver = letter_deliver, .drop = letter_drop };
    mailbox_post(d->box, &l->mail);
}

struct sender {
    pthread_t thread;
    struct desk *desk;
    unsigned index;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0; i < LETTERS; i++)
        post(s->desk, s->index, i);
    mailbox_unref(s->desk->box);
    return NULL;
}

static void start_senders(struct sender *senders, struct desk *d)
{
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].desk = d;
        senders[i].index = i;
        (void)mailbox_ref(d->box);
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
}

static void join_senders(struct sender *senders)
{
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
}

TEST(letters_of_several_threads_all_arrive_and_each_threads_in_order)
{
    struct loop *l;
    struct desk d = { 0 };
    struct sender senders[SENDERS];
    CHECK_OK(loop_new(&l));
    d.box = loop_mailbox(l);
    start_senders(senders, &d);
    UNTIL(l, d.delivered == SENDERS * LETTERS);
    join_senders(senders);
    CHECK(d.misplaced == 0 && d.dropped == 0);
    loop_free(l);
}

TEST(a_letter_from_the_loops_own_thread_comes_by_the_loop_too)
{
    struct loop *l;
    struct desk d = { 0 };
    CHECK_OK(loop_new(&l));
    d.box = loop_mailbox(l);
    post(&d, 0, 0);
    post(&d, 0, 1);
    CHECK(d.delivered == 0); /* posting never calls up */
    UNTIL(l, d.delivered == 2);
    CHECK(d.misplaced == 0);
    loop_free(l);
}

/* Runs again and again, and sees how many letters were delivered in between. */
struct bystander {
    struct task task;
    const struct desk *desk;
    unsigned seen, most;
};

static void bystander_run(struct task *t)
{
    struct bystander *b = container_of(t, struct bystander, task);
    unsigned since = b->desk->delivered - b->seen;
    b->seen += since;
    if (since > b->most)
        b->most = since;
    task_wake(t);
}

TEST(a_flood_leaves_room_for_other_tasks)
{
    struct loop *l;
    struct desk d = { 0 };
    struct bystander b = { .desk = &d };
    CHECK_OK(loop_new(&l));
    d.box = loop_mailbox(l);
    task_init(&b.task, l, bystander_run);
    for (unsigned i = 0; i < 3 * MAILBOX_STEP; i++)
        post(&d, 0, i);
    task_wake(&b.task);
    UNTIL(l, b.seen == 3 * MAILBOX_STEP);
    CHECK(b.most <= MAILBOX_STEP && d.misplaced == 0);
    task_done(&b.task);
    loop_free(l);
}

TEST(what_a_loop_did_not_take_is_dropped_with_it)
{
    struct loop *l;
    struct desk d = { 0 };
    CHECK_OK(loop_new(&l));
    d.box = loop_mailbox(l);
    for (unsigned i = 0; i < 10; i++)
        post(&d, 0, i);
    loop_free(l);
    CHECK(d.delivered + d.dropped == 10 && d.dropped > 0);
}

TEST(a_mailbox_outlives_its_loop_and_drops_what_arrives)
{
    struct loop *l;
    struct desk d = { 0 };
    CHECK_OK(loop_new(&l));
    d.box = mailbox_ref(loop_mailbox(l));
    loop_free(l);
    post(&d, 0, 0);
    CHECK(d.dropped == 1 && d.delivered == 0);
    mailbox_unref(d.box);
    mailbox_unref(NULL);
}

TEST(a_loop_may_go_while_threads_post_and_no_letter_is_lost)
{
    for (int round = 0; round < 20; round++) {
        struct loop *l;
        struct desk d = { 0 };
        struct sender senders[SENDERS];
        CHECK_OK(loop_new(&l));
        d.box = loop_mailbox(l);
        start_senders(senders, &d);
        UNTIL(l, d.delivered >= (unsigned)round * 20);
        loop_free(l);
        join_senders(senders);
        CHECK(d.delivered + d.dropped == SENDERS * LETTERS);
        CHECK(d.misplaced == 0);
    }
}

TESTS(RUN(letters_of_several_threads_all_arrive_and_each_threads_in_order),
      RUN(a_letter_from_the_loops_own_thread_comes_by_the_loop_too),
      RUN(a_flood_leaves_room_for_other_tasks), RUN(what_a_loop_did_not_take_is_dropped_with_it),
      RUN(a_mailbox_outlives_its_loop_and_drops_what_arrives),
      RUN(a_loop_may_go_while_threads_post_and_no_letter_is_lost))
