/* A stack that many push to and one takes whole, turned round by the taker: lock-free, without an
 * allocation for a message. */
#include <pthread.h>
#include <stdlib.h>

#include "base/limits.h"
#include "net/loop_int.h"

/* What a closed mailbox's head points at: pushes are refused from then on. */
static struct mail closed_mark;

struct mailbox {
    _Atomic(struct mail *) head;
    _Atomic unsigned refs;
    _Atomic bool is_signalled;
    uv_async_t async;
    pthread_mutex_t
        closing; /* uv_async_send must not meet uv_close: taken at wake-ups only, one for a burst */
    struct task task;
    struct mail *waiting; /* taken, in order, not yet delivered */
};

static struct mail *reversed(struct mail *m)
{
    struct mail *out = NULL;
    for (struct mail *next; m != NULL; m = next) {
        next = m->next;
        m->next = out;
        out = m;
    }
    return out;
}

static void deliver_run(struct task *t)
{
    struct mailbox *box = container_of(t, struct mailbox, task);
    for (unsigned step = 0; step < MAILBOX_STEP; step++) {
        if (box->waiting == NULL)
            box->waiting =
                reversed(atomic_exchange_explicit(&box->head, NULL, memory_order_acquire));
        struct mail *m = box->waiting;
        if (m == NULL)
            return;
        box->waiting = m->next;
        m->deliver(m);
    }
    task_wake(t);
}

static void on_async(uv_async_t *async)
{
    struct mailbox *box = container_of(async, struct mailbox, async);
    atomic_store_explicit(&box->is_signalled, false, memory_order_seq_cst);
    task_wake(&box->task);
}

struct mailbox *mailbox_new(struct loop *loop)
{
    struct mailbox *box = calloc(1, sizeof *box);
    if (box == NULL)
        return NULL;
    atomic_init(&box->refs, 1);
    task_init(&box->task, loop, deliver_run);
    (void)pthread_mutex_init(&box->closing, NULL);
    if (uv_async_init(&loop->uv, &box->async, on_async) < 0) {
        free(box);
        return NULL;
    }
    return box;
}

struct mailbox *mailbox_ref(struct mailbox *box)
{
    atomic_fetch_add_explicit(&box->refs, 1, memory_order_relaxed);
    return box;
}

void mailbox_unref(struct mailbox *box)
{
    if (box == NULL || atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) != 1)
        return;
    (void)pthread_mutex_destroy(&box->closing);
    free(box);
}

void mailbox_post(struct mailbox *box, struct mail *m)
{
    struct mail *head = atomic_load_explicit(&box->head, memory_order_acquire);
    do {
        if (head == &closed_mark) {
            m->drop(m);
            return;
        }
        m->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, m, memory_order_acq_rel,
                                                    memory_order_acquire));
    if (atomic_exchange_explicit(&box->is_signalled, true, memory_order_seq_cst))
        return;
    (void)pthread_mutex_lock(&box->closing);
    if (atomic_load_explicit(&box->head, memory_order_relaxed) != &closed_mark)
        (void)uv_async_send(&box->async);
    (void)pthread_mutex_unlock(&box->closing);
}

static void drop_all(struct mail *m)
{
    for (struct mail *next; m != NULL; m = next) {
        next = m->next;
        m->drop(m);
    }
}

void mailbox_close(struct mailbox *box)
{
    (void)pthread_mutex_lock(&box->closing);
    struct mail *rest = atomic_exchange_explicit(&box->head, &closed_mark, memory_order_acq_rel);
    (void)pthread_mutex_unlock(&box->closing);
    struct mail *waiting = box->waiting;
    box->waiting = NULL;
    task_done(&box->task);
    drop_all(waiting);
    drop_all(reversed(rest));
    uv_close((uv_handle_t *)&box->async, NULL);
}
