#pragma once
/* A thread with a loop. The thread that makes workers starts, stops and joins them; everything else
 * goes by mail. */
#include "net/loop.h"

struct worker;

/* Starts a thread, makes its loop there, calls init(ctx, loop) on it, and then runs the loop.
 * Returns when init has returned; its failure is returned, and the thread is gone then. `done(ctx)`
 * runs on the thread after the loop has stopped and before the loop is freed. */
int worker_start(const char *name, int (*init)(void *ctx, struct loop *loop),
                 void (*done)(void *ctx), void *ctx, struct worker **ret)
    __attribute__((warn_unused_result));
/* Its mailbox; valid until worker_join; mailbox_ref keeps it. */
struct mailbox *worker_mailbox(struct worker *w);
/* Asks the loop to stop. Any thread. */
void worker_stop(struct worker *w);
/* Waits for the thread and frees. NULL is accepted. */
void worker_join(struct worker *w);
