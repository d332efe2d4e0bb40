#include "net/worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

struct worker {
    pthread_t thread;
    char name[16];
    int (*init)(void *, struct loop *);
    void (*done)(void *);
    void *ctx;
    struct loop *loop;
    struct mailbox *mailbox;
    struct mail stop;
    _Atomic bool is_stop_sent;
    int result;
    sem_t started;
};

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    /* Of another thread it would be written to /proc, which Landlock forbids. */
    (void)pthread_setname_np(pthread_self(), w->name);
    w->result = loop_new(&w->loop);
    if (w->result == 0) {
        w->mailbox = mailbox_ref(loop_mailbox(w->loop));
        w->result = w->init(w->ctx, w->loop);
    }
    struct loop *loop = w->loop;
    bool is_ok = w->result == 0;
    (void)sem_post(&w->started);
    if (is_ok) {
        loop_run(loop);
        w->done(w->ctx);
    }
    loop_free(loop);
    return NULL;
}

static void worker_free(struct worker *w)
{
    mailbox_unref(w->mailbox);
    (void)sem_destroy(&w->started);
    free(w);
}

int worker_start(const char *name, int (*init)(void *ctx, struct loop *loop),
                 void (*done)(void *ctx), void *ctx, struct worker **ret)
{
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    (void)snprintf(w->name, sizeof w->name, "%s", name);
    w->init = init;
    w->done = done;
    w->ctx = ctx;
    (void)sem_init(&w->started, 0, 0);
    int r = pthread_create(&w->thread, NULL, worker_main, w);
    if (r != 0) {
        worker_free(w);
        return err_from_errno(r);
    }
    while (sem_wait(&w->started) < 0)
        continue; /* interrupted by a signal */
    if (w->result < 0) {
        r = w->result;
        (void)pthread_join(w->thread, NULL);
        worker_free(w);
        return r;
    }
    *ret = w;
    return 0;
}

struct mailbox *worker_mailbox(struct worker *w)
{
    return w->mailbox;
}

static void stop_deliver(struct mail *m)
{
    loop_stop(container_of(m, struct worker, stop)->loop);
}

static void stop_drop(struct mail *m)
{
    (void)m; /* it has stopped already */
}

void worker_stop(struct worker *w)
{
    if (atomic_exchange(&w->is_stop_sent, true))
        return;
    w->stop = (struct mail){ .deliver = stop_deliver, .drop = stop_drop };
    mailbox_post(w->mailbox, &w->stop);
}

void worker_join(struct worker *w)
{
    if (w == NULL)
        return;
    (void)pthread_join(w->thread, NULL);
    worker_free(w);
}
