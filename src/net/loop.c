#include "net/loop_int.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"

#define LATE_ROUNDS_MAX 8 /* of ordinary tasks that a late one lets pass, for larger batches */

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* its presence alone keeps the poll from sleeping */
}

void loop_stir(struct loop *l)
{
    if (l->is_idle_on)
        return;
    l->is_idle_on = true;
    (void)uv_idle_start(&l->idle, on_idle);
}

static void reap_all(struct loop *l)
{
    for (struct list *node = list_pop(&l->reapers); node != NULL; node = list_pop(&l->reapers)) {
        struct reaper *r = container_of(node, struct reaper, node);
        r->reap(r);
    }
}

/* Runs what waits in a queue now, not what is woken meanwhile. Returns how many ran. */
static unsigned run_queue(struct list *queue)
{
    struct list batch;
    unsigned count = 0;
    list_init(&batch);
    list_splice(&batch, queue);
    for (struct list *node = list_pop(&batch); node != NULL; node = list_pop(&batch), count++) {
        struct task *t = container_of(node, struct task, node);
        t->run(t);
    }
    return count;
}

static unsigned run_one(struct list *queue)
{
    struct list *node = list_pop(queue);
    if (node == NULL)
        return 0;
    struct task *t = container_of(node, struct task, node);
    t->run(t);
    return 1;
}

/* Rounds of ordinary tasks, then one late task, and so on until none is left or the turn's share is
 * used up. Late tasks wait only so long for ordinary ones that keep waking themselves: what was
 * queued must go out. */
static void drain(struct loop *l)
{
    for (unsigned step = 0; step < RUN_STEP;) {
        unsigned ran = run_queue(&l->tasks);
        if (list_is_empty(&l->tasks) || ++l->rounds_without_late >= LATE_ROUNDS_MAX) {
            l->rounds_without_late = 0;
            ran += run_one(&l->late);
        }
        if (ran == 0)
            break;
        step += ran;
    }
    reap_all(l);
    bool is_empty = list_is_empty(&l->tasks) && list_is_empty(&l->late);
    if (is_empty && l->is_idle_on) {
        l->is_idle_on = false;
        (void)uv_idle_stop(&l->idle);
    } else if (!is_empty) {
        loop_stir(l);
    }
}

static void settle_run(struct task *t)
{
    log_settle(false);
    (void)deadline_take(&t->loop->settle_at);
}

/* A second behind what was held back its second is over, and no line may come that tells. */
static void watch_log(struct loop *l)
{
    if (log_is_holding() && !deadline_is_set(&l->settle_at))
        deadline_set(&l->settle_at, &l->settle, l->now + NSEC_PER_SEC);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct loop *l = handle->data;
    (void)loop_now_fresh(l);
    deadlines_fire(l);
    drain(l);
    watch_log(l);
    deadlines_arm(l);
}

static void on_check(uv_check_t *handle)
{
    struct loop *l = handle->data;
    (void)loop_now_fresh(l);
    deadlines_fire(l);
    drain(l);
}

int loop_new(struct loop **ret)
{
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    list_init(&l->tasks);
    list_init(&l->late);
    list_init(&l->reapers);
    list_init(&l->lingerers);
    if (uv_loop_init(&l->uv) < 0) {
        free(l);
        return ERR_LIMIT;
    }
    (void)uv_prepare_init(&l->uv, &l->prepare);
    (void)uv_check_init(&l->uv, &l->check);
    (void)uv_idle_init(&l->uv, &l->idle);
    l->prepare.data = l->check.data = l;
    (void)uv_prepare_start(&l->prepare, on_prepare);
    (void)uv_check_start(&l->check, on_check);
    l->now = clock_monotonic();
    l->chunks = chunk_pool_new();
    rng_init_os(&l->rng);
    task_init(&l->settle, l, settle_run);
    l->mailbox = mailbox_new(l);
    int r = l->mailbox != NULL ? deadlines_open(l) : ERR_NOMEM;
    if (r < 0)
        abort(); /* no descriptor at start: nothing could be served */
    *ret = l;
    return 0;
}

void loop_run(struct loop *l)
{
    while (!l->is_stopping)
        (void)uv_run(&l->uv, UV_RUN_ONCE);
}

/* When the time is over before the poll has begun, the poll must not begin a wait of its own. */
static void wait_is_over(struct task *t)
{
    uv_stop(&t->loop->uv);
}

void loop_turn(struct loop *l, int wait_ms)
{
    if (wait_ms <= 0) {
        (void)uv_run(&l->uv, wait_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        return;
    }
    /* Not a timer of libuv's: one that is due before the poll leaves the poll without an end. */
    struct task waiter;
    struct deadline end = { 0 };
    task_init(&waiter, l, wait_is_over);
    deadline_set(&end, &waiter, loop_now_fresh(l) + (nsec)(unsigned)wait_ms * (nsec)NSEC_PER_MSEC);
    (void)uv_run(&l->uv, UV_RUN_ONCE);
    deadline_clear(&end);
    task_done(&waiter);
}

void loop_stop(struct loop *l)
{
    l->is_stopping = true;
    uv_stop(&l->uv);
}

static void end_lingerers(struct loop *l)
{
    for (struct list *node = list_pop(&l->lingerers); node != NULL;
         node = list_pop(&l->lingerers)) {
        struct lingerer *lingerer = container_of(node, struct lingerer, node);
        lingerer->end(lingerer);
    }
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    mailbox_close(l->mailbox);
    drain(l);
    end_lingerers(l);
    reap_all(l);
    deadline_clear(&l->settle_at);
    task_done(&l->settle);
    deadlines_close(l);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    while (uv_run(&l->uv, UV_RUN_NOWAIT) != 0)
        continue;
    while (uv_loop_close(&l->uv) == UV_EBUSY)
        (void)uv_run(&l->uv, UV_RUN_ONCE);
    deadlines_done(l);
    mailbox_unref(l->mailbox);
    chunk_pool_free(l->chunks);
    for (int i = 0; i < SCRATCH_COUNT; i++)
        free(l->scratch[i]);
    free(l);
}

nsec loop_now(const struct loop *l)
{
    return l->now;
}

nsec loop_now_fresh(struct loop *l)
{
    nsec now = clock_monotonic();
    if (now > l->now)
        l->now = now;
    return l->now;
}

struct chunk_pool *loop_chunks(struct loop *l)
{
    return l->chunks;
}

uint8_t *loop_scratch(struct loop *l, enum scratch kind, size_t n)
{
    if (l->scratch[kind] == NULL)
        l->scratch[kind] = malloc(n);
    return l->scratch[kind];
}

struct rng *loop_rng(struct loop *l)
{
    return &l->rng;
}

struct uv_loop_s *loop_uv(struct loop *l)
{
    return &l->uv;
}

struct mailbox *loop_mailbox(struct loop *l)
{
    return l->mailbox;
}

void loop_linger(struct loop *l, struct lingerer *lingerer, void (*end)(struct lingerer *))
{
    lingerer->end = end;
    list_push_back(&l->lingerers, &lingerer->node);
}

void loop_reap(struct loop *l, struct reaper *r, void (*reap)(struct reaper *))
{
    r->reap = reap;
    list_push_back(&l->reapers, &r->node);
    loop_stir(l);
}
