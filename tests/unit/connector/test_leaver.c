/* A transport that another one has replaced: how long it stays, and what it still does. */
#include "connector/leaver.h"
#include "dialled.h"
#include "net/pipe.h"

#define NEVER (3600 * NSEC_PER_SEC)

struct leave {
    struct loop *loop;
    struct task owner;
    unsigned woken;
    struct serve serve;
    struct control_client control;
    struct stream *edge; /* the other end of the control stream */
    struct buf heard;
    struct dialled *t;
    struct leaver *l;
    nsec began;
};

static void note(struct task *t)
{
    container_of(t, struct leave, owner)->woken++;
}

static void leave_open(struct leave *v, nsec grace)
{
    struct stream *ours;
    *v = (struct leave){ .t = &by_kind[TRANSPORT_H2] };
    *v->t = (struct dialled){ .state = TRANSPORT_OPEN };
    assert_int_equal(loop_new(&v->loop), 0);
    task_init(&v->owner, v->loop, note);
    v->serve.loop = v->loop;
    v->serve.metrics = serve_metrics_new();
    assert_non_null(v->serve.metrics);
    assert_int_equal(pipe_new(v->loop, 65536, &ours, &v->edge), 0);
    buf_init(&v->heard, loop_chunks(v->loop), 65536);
    assert_int_equal(control_client_init(&v->control, v->loop, ours, &v->owner), 0);
    v->t->base = (struct transport){ .ops = &DIALLED[TRANSPORT_H2], .loop = v->loop };
    v->began = clock_monotonic();
    v->l = leaver_new(&v->t->base, &v->control, &v->serve, 1, grace, &v->owner);
    assert_non_null(v->l);
}

static void leave_close(struct leave *v, void **state_)
{
    leaver_free(v->l);
    CHECK(v->t->closed == 1);
    stream_release(v->edge);
    buf_done(&v->heard);
    free(v->serve.metrics);
    task_done(&v->owner);
    for (int i = 0; i < 4; i++)
        loop_turn(v->loop, 0);
    loop_free(v->loop);
}

static bool has_control_ended(struct leave *v)
{
    int r;
    while ((r = stream_read(v->edge, &v->heard, 65536)) == 0)
        buf_drop(&v->heard, buf_len(&v->heard));
    return r == ERR_EOF;
}

TEST(what_was_under_way_is_served_until_nothing_is_left)
{
    struct leave v;
    leave_open(&v, NEVER);
    CHECK(v.t->drained == 1 && v.t->owner != NULL && v.t->owner != &v.owner);
    CHECK(v.control.s == NULL); /* moved */
    UNTIL(v.loop, v.t->served > 0);
    task_wake(v.t->owner); /* news of the transport are its own */
    unsigned before = v.t->served;
    UNTIL(v.loop, v.t->served > before);
    CHECK(!leaver_is_over(v.l) && v.t->closed == 0);
    v.t->is_idle = true;
    UNTIL(v.loop, leaver_is_over(v.l));
    CHECK(v.t->closed == 1);
    UNTIL(v.loop, v.woken > 0);
    leave_close(&v, state_);
}

TEST(requests_that_were_on_their_way_are_waited_for_though_nothing_is_open)
{
    struct leave v;
    leave_open(&v, NEVER);
    v.t->is_idle = true;
    task_wake(v.t->owner);
    for (int i = 0; i < 4; i++)
        loop_turn(v.loop, 0);
    CHECK(!leaver_is_over(v.l));
    UNTIL(v.loop, leaver_is_over(v.l));
    CHECK(clock_monotonic() - v.began >= NSEC_PER_SEC / 5);
    leave_close(&v, state_);
}

TEST(the_grace_period_is_the_end_of_what_never_ends)
{
    struct leave v;
    leave_open(&v, NSEC_PER_SEC / 2);
    UNTIL(v.loop, leaver_is_over(v.l));
    CHECK(v.t->closed == 1 && !v.t->is_idle);
    CHECK(clock_monotonic() - v.began >= NSEC_PER_SEC / 2 - 10 * NSEC_PER_MSEC);
    leave_close(&v, state_);
}

TEST(a_transport_that_is_lost_is_let_go_at_once)
{
    struct leave v;
    leave_open(&v, NEVER);
    loop_turn(v.loop, 0);
    v.t->state = TRANSPORT_CLOSED;
    unsigned before = v.t->served;
    task_wake(v.t->owner);
    for (int i = 0; i < 4; i++)
        loop_turn(v.loop, 0);
    CHECK(leaver_is_over(v.l) && v.t->served == before);
    leave_close(&v, state_);
}

TEST(its_conversation_with_the_edge_ends_with_the_last_word)
{
    struct leave v;
    leave_open(&v, NEVER);
    UNTIL(v.loop, has_control_ended(&v));
    CHECK(!leaver_is_over(v.l));
    leave_close(&v, state_);
}

TEST(one_that_is_freed_early_closes_what_is_left)
{
    struct leave v;
    leave_open(&v, NEVER);
    CHECK(v.t->closed == 0);
    leave_close(&v, state_);
    leaver_free(NULL);
}

TESTS(RUN(what_was_under_way_is_served_until_nothing_is_left),
      RUN(requests_that_were_on_their_way_are_waited_for_though_nothing_is_open),
      RUN(the_grace_period_is_the_end_of_what_never_ends),
      RUN(a_transport_that_is_lost_is_let_go_at_once),
      RUN(its_conversation_with_the_edge_ends_with_the_last_word),
      RUN(one_that_is_freed_early_closes_what_is_left))
