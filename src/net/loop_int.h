#pragma once
/* What the files of the loop share. */
#include <stdatomic.h>
#include <uv.h>

#include "net/loop.h"

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare; /* before polling: runs what timers and mail woke */
    uv_check_t check;     /* after polling: runs what events woke */
    uv_idle_t idle;       /* keeps the poll from sleeping while tasks wait */
    struct list tasks, late, reapers, lingerers;
    unsigned rounds_without_late;
    bool is_idle_on, is_stopping;
    nsec now;
    struct chunk_pool *chunks;
    uint8_t *scratch[SCRATCH_COUNT];
    struct rng rng;
    struct mailbox *mailbox;
    struct deadline **heap; /* 4-ary, [0] is the earliest */
    size_t heap_count, heap_cap;
    uv_timer_t coarse; /* for what is further away than its resolution */
    nsec coarse_at;    /* what it was set for; NSEC_NEVER = not set */
    int timer_fd;
    uv_poll_t *timer;
    struct task settle; /* tells how many lines of the log were held back */
    struct deadline settle_at;
    nsec armed; /* when the timerfd fires; NSEC_NEVER = not armed */
};

/* loop.c: tasks may be waiting. */
void loop_stir(struct loop *loop);

/* deadline.c */
int deadlines_open(struct loop *loop);
void deadlines_close(struct loop *loop);
void deadlines_done(struct loop *loop);
/* Wakes the owners of what has passed by l->now. */
void deadlines_fire(struct loop *loop);
/* Arms the timerfd for the earliest one; once before each poll. */
void deadlines_arm(struct loop *loop);

/* mailbox.c */
struct mailbox *mailbox_new(struct loop *loop);
/* The loop is going: what comes from now on is dropped. */
void mailbox_close(struct mailbox *box);
