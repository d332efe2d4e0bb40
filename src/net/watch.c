#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "net/loop_int.h"

struct watch {
    uv_poll_t poll;
    struct loop *loop;
    struct task *owner;
    unsigned ready;  /* bits that were reported and not yet waited for */
    unsigned polled; /* bits that libuv polls for */
    int fd;
};

static void on_event(uv_poll_t *poll, int status, int events);

static unsigned to_uv(unsigned bits)
{
    return ((bits & WATCH_READ) != 0 ? UV_READABLE : 0U) |
           ((bits & WATCH_WRITE) != 0 ? UV_WRITABLE : 0U);
}

static void poll_for(struct watch *w, unsigned bits)
{
    if (bits == w->polled)
        return;
    w->polled = bits;
    /* With nothing wanted an error is still news, which the kernel tells whoever polls for
     * anything: here for urgent data, which nobody sends. One that is known already would be told
     * again and again. */
    int events = (int)to_uv(bits);
    bool is_watched = events != 0 || ((w->ready & WATCH_ERROR) == 0);
    if (is_watched)
        (void)uv_poll_start(&w->poll, events != 0 ? events : UV_PRIORITIZED, on_event);
    else
        (void)uv_poll_stop(&w->poll);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct watch *w = container_of(poll, struct watch, poll);
    unsigned bits = 0;
    if ((events & UV_READABLE) != 0)
        bits |= WATCH_READ;
    if ((events & UV_WRITABLE) != 0)
        bits |= WATCH_WRITE;
    if (status < 0) {
        /* POLLERR: libuv has stopped the handle. The next call on the descriptor says what it is,
         * and whoever waits again afterwards polls anew. */
        bits = WATCH_READ | WATCH_WRITE | WATCH_ERROR;
        w->polled = 0;
    } else if (bits == 0) {
        /* Urgent data, or a hang-up, while nothing is wanted. */
        (void)uv_poll_stop(&w->poll);
    }
    /* What was reported before and has not been looked at since would be reported again and again:
     * leave it. Writability is asked for once at a time, or it would always be there. */
    unsigned again = bits & w->ready;
    w->ready |= bits;
    poll_for(w, w->polled & ~again & ~(bits & WATCH_WRITE));
    task_wake(w->owner);
}

int watch_open(struct loop *loop, int fd, struct task *owner, struct watch **ret)
{
    struct watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    int r = uv_poll_init(&loop->uv, &w->poll, fd);
    if (r < 0) {
        free(w);
        return err_from_errno(-r);
    }
    w->loop = loop;
    w->owner = owner;
    w->fd = fd;
    *ret = w;
    return 0;
}

void watch_wait(struct watch *w, unsigned bits)
{
    w->ready &= ~bits;
    poll_for(w, w->polled | (bits & (WATCH_READ | WATCH_WRITE))); /* errors are told unasked */
}

void watch_ignore(struct watch *w, unsigned bits)
{
    poll_for(w, w->polled & ~bits);
}

unsigned watch_ready(const struct watch *w)
{
    return w->ready;
}

int watch_fd(const struct watch *w)
{
    return w->fd;
}

void watch_set_owner(struct watch *w, struct task *owner)
{
    w->owner = owner;
}

static void on_closed(uv_handle_t *handle)
{
    free(container_of((uv_poll_t *)handle, struct watch, poll));
}

void watch_close(struct watch *w)
{
    if (w == NULL)
        return;
    w->owner = NULL;
    (void)uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_closed);
    (void)close(w->fd);
}
