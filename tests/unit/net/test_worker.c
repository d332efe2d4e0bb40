#include <pthread.h>

#include "net/turn.h"
#include "net/worker.h"

struct shop {
    int init_result;
    struct loop *loop;
    pthread_t opener, closer;
    unsigned inits, dones;
    char name[16];
    bool was_own_loop; /* in `done`, the loop still worked */
};

static int shop_init(void *ctx, struct loop *loop)
{
    struct shop *s = ctx;
    s->inits++;
    s->loop = loop;
    s->opener = pthread_self();
    return s->init_result;
}

static void shop_done(void *ctx)
{
    struct shop *s = ctx;
    s->dones++;
    s->closer = pthread_self();
    (void)pthread_getname_np(pthread_self(), s->name, sizeof s->name);
    s->was_own_loop = loop_now_fresh(s->loop) > 0;
}

TEST(a_worker_begins_and_ends_on_its_own_thread)
{
    struct worker *w;
    struct shop s = { 0 };
    CHECK_OK(worker_start("worker-7", shop_init, shop_done, &s, &w));
    CHECK(s.inits == 1 && s.dones == 0); /* init has returned by now */
    CHECK(!pthread_equal(s.opener, pthread_self()));
    CHECK(worker_mailbox(w) == loop_mailbox(s.loop));
    worker_stop(w);
    worker_stop(w); /* once is enough; twice is accepted */
    worker_join(w);
    CHECK(s.dones == 1 && pthread_equal(s.opener, s.closer) && s.was_own_loop);
    assert_string_equal(s.name, "worker-7");
    worker_join(NULL);
}

TEST(a_failure_of_init_is_told_and_the_thread_is_gone)
{
    struct worker *w = NULL;
    struct shop s = { .init_result = ERR_DENIED };
    CHECK_ERR(ERR_DENIED, worker_start("short", shop_init, shop_done, &s, &w));
    CHECK(w == NULL && s.inits == 1 && s.dones == 0);
}

struct errand {
    struct mail mail;
    struct mailbox *back;
    pthread_t ran_on;
    unsigned hops, dropped;
    bool is_back; /* written on the thread that waits for it */
};

static void errand_deliver(struct mail *m)
{
    struct errand *e = container_of(m, struct errand, mail);
    struct mailbox *back = e->back;
    e->ran_on = pthread_self();
    e->hops++;
    e->back = NULL;
    if (back != NULL)
        mailbox_post(back, m);
    else
        e->is_back = true;
}

static void errand_drop(struct mail *m)
{
    container_of(m, struct errand, mail)->dropped++;
}

TEST(mail_goes_to_a_worker_and_comes_back)
{
    struct loop *l;
    struct worker *w;
    struct shop s = { 0 };
    CHECK_OK(loop_new(&l));
    CHECK_OK(worker_start("post", shop_init, shop_done, &s, &w));
    struct errand e = { .back = loop_mailbox(l) };
    e.mail = (struct mail){ .deliver = errand_deliver, .drop = errand_drop };
    mailbox_post(worker_mailbox(w), &e.mail);
    UNTIL(l, e.is_back);
    CHECK(e.hops == 2 && pthread_equal(e.ran_on, pthread_self()));
    worker_stop(w);
    worker_join(w);
    CHECK(e.dropped == 0);
    loop_free(l);
}

TEST(mail_to_a_worker_that_has_gone_is_dropped)
{
    struct worker *w;
    struct shop s = { 0 };
    struct errand e = { 0 };
    e.mail = (struct mail){ .deliver = errand_deliver, .drop = errand_drop };
    CHECK_OK(worker_start("gone", shop_init, shop_done, &s, &w));
    struct mailbox *box = mailbox_ref(worker_mailbox(w));
    worker_stop(w);
    worker_join(w);
    mailbox_post(box, &e.mail);
    CHECK(e.dropped == 1 && e.hops == 0);
    mailbox_unref(box);
}

TESTS(RUN(a_worker_begins_and_ends_on_its_own_thread),
      RUN(a_failure_of_init_is_told_and_the_thread_is_gone),
      RUN(mail_goes_to_a_worker_and_comes_back), RUN(mail_to_a_worker_that_has_gone_is_dropped))
