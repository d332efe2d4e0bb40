/* Deadlines in a 4-ary heap. The earliest one bounds the poll: by a timer of libuv's, which costs
 * no system call, while it is further away than COARSE_NSEC; and by a timerfd when it is nearer,
 * because libuv's timers are not finer than a millisecond, which is too coarse for QUIC's pacing.
 * The timerfd is armed lazily: only an earlier deadline moves it, and a firing that comes too soon
 * because its deadline was cleared arms it anew. */
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/err.h"
#include "net/loop_int.h"

#define HEAP_FIRST  64 /* deadlines that there is room for from the beginning */
#define ARITY       4
#define COARSE_NSEC ((nsec)NSEC_PER_MSEC / 2)

static void put(struct loop *l, size_t index, struct deadline *d)
{
    l->heap[index] = d;
    d->index = index + 1;
}

static void rise(struct loop *l, size_t at, struct deadline *d)
{
    while (at > 0 && l->heap[(at - 1) / ARITY]->at > d->at) {
        put(l, at, l->heap[(at - 1) / ARITY]);
        at = (at - 1) / ARITY;
    }
    put(l, at, d);
}

static void sink(struct loop *l, size_t at, struct deadline *d)
{
    for (;;) {
        size_t first = at * ARITY + 1, best = at;
        nsec least = d->at;
        for (size_t i = first; i < first + ARITY && i < l->heap_count; i++)
            if (l->heap[i]->at < least) {
                best = i;
                least = l->heap[i]->at;
            }
        if (best == at)
            break;
        put(l, at, l->heap[best]);
        at = best;
    }
    put(l, at, d);
}

static void take_out(struct loop *l, struct deadline *d)
{
    size_t at = d->index - 1;
    d->index = 0;
    struct deadline *last = l->heap[--l->heap_count];
    if (last == d)
        return;
    if (at > 0 && l->heap[(at - 1) / ARITY]->at > last->at)
        rise(l, at, last);
    else
        sink(l, at, last);
}

/* Room for twice as many, or for the first. False when memory is short. */
static bool grow(struct loop *l)
{
    size_t cap = l->heap_cap > 0 ? l->heap_cap * 2 : HEAP_FIRST;
    struct deadline **heap = realloc(l->heap, cap * sizeof(struct deadline *));
    if (heap == NULL)
        return false;
    l->heap = heap;
    l->heap_cap = cap;
    return true;
}

/* Setting a deadline cannot fail, so that room is made ahead of the need, once a turn, where it
 * does no harm that memory is short for the moment. */
static void keep_room(struct loop *l)
{
    if (l->heap_count > l->heap_cap / 2)
        (void)grow(l);
}

void deadline_set(struct deadline *d, struct task *owner, nsec at)
{
    struct loop *l = owner->loop;
    if (d->index != 0) {
        bool is_sooner = at < d->at;
        d->at = at;
        d->owner = owner;
        d->passed = false;
        if (is_sooner)
            rise(l, d->index - 1, d);
        else
            sink(l, d->index - 1, d);
        return;
    }
    /* Only who sets half as many in one turn as there were before comes to this. */
    if (l->heap_count == l->heap_cap && !grow(l))
        abort();
    d->at = at;
    d->owner = owner;
    d->passed = false;
    rise(l, l->heap_count++, d);
}

void deadline_clear(struct deadline *d)
{
    d->passed = false;
    if (d->index != 0)
        take_out(d->owner->loop, d);
}

void deadlines_fire(struct loop *l)
{
    while (l->heap_count > 0 && l->heap[0]->at <= l->now) {
        struct deadline *d = l->heap[0];
        take_out(l, d);
        d->passed = true;
        task_wake(d->owner);
    }
}

static void on_timer(uv_poll_t *handle, int status, int events)
{
    struct loop *l = handle->data;
    uint64_t count;
    (void)status;
    (void)events;
    ssize_t n = read(l->timer_fd, &count, sizeof count);
    (void)n; /* EAGAIN: it was armed anew meanwhile */
    l->armed = NSEC_NEVER;
    (void)loop_now_fresh(l);
    deadlines_fire(l);
}

static void on_coarse(uv_timer_t *handle)
{
    struct loop *l = handle->data;
    l->coarse_at = NSEC_NEVER;
    (void)loop_now_fresh(l);
    deadlines_fire(l);
}

static void arm_coarse(struct loop *l, nsec at)
{
    l->coarse_at = at;
    /* Rounded up: too early would be a turn for nothing. libuv counts on the same clock as we. */
    uint64_t due = (at + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
    uv_update_time(&l->uv);
    uint64_t now = uv_now(&l->uv);
    (void)uv_timer_start(&l->coarse, on_coarse, due > now ? due - now : 0, 0);
}

void deadlines_arm(struct loop *l)
{
    keep_room(l);
    /* What the coarse timer was set for stays with it when it comes near. */
    if (l->heap_count == 0 || l->heap[0]->at >= l->armed || l->heap[0]->at == l->coarse_at)
        return;
    if (l->heap[0]->at > l->now + COARSE_NSEC) {
        arm_coarse(l, l->heap[0]->at);
        return;
    }
    nsec at = l->heap[0]->at > 0 ? l->heap[0]->at : 1; /* zero would disarm */
    struct itimerspec when = {
        .it_value = { .tv_sec = (time_t)(at / NSEC_PER_SEC), .tv_nsec = (long)(at % NSEC_PER_SEC) },
    };
    if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        l->armed = l->heap[0]->at;
}

int deadlines_open(struct loop *l)
{
    l->armed = l->coarse_at = NSEC_NEVER;
    (void)uv_timer_init(&l->uv, &l->coarse);
    l->coarse.data = l;
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    l->timer = malloc(sizeof *l->timer);
    if (l->timer_fd < 0 || l->timer == NULL || !grow(l) ||
        uv_poll_init(&l->uv, l->timer, l->timer_fd) < 0)
        return ERR_LIMIT;
    l->timer->data = l;
    return uv_poll_start(l->timer, UV_READABLE, on_timer) < 0 ? ERR_LIMIT : 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void deadlines_close(struct loop *l)
{
    uv_close((uv_handle_t *)&l->coarse, NULL);
    uv_close((uv_handle_t *)l->timer, on_closed);
}

void deadlines_done(struct loop *l)
{
    (void)close(l->timer_fd);
    free(l->heap);
}
