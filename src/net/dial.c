#include "net/dial.h"

#include <assert.h>

#include "base/err.h"
#include "base/limits.h"

void dial_interleave(struct addr *addrs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        size_t at = i;
        while (at < count && addrs[at].sa.ss_family == addrs[i - 1].sa.ss_family)
            at++;
        if (at == count)
            return; /* the rest is of one family */
        struct addr moved = addrs[at];
        memmove(&addrs[i + 1], &addrs[i], (at - i) * sizeof addrs[0]);
        addrs[i] = moved;
    }
}

void dial_init(struct dial *d, struct loop *loop, const struct addr *addrs, size_t count,
               const struct dial_opts *opts, struct task *owner)
{
    assert(count > 0);
    *d = (struct dial){ .loop = loop, .owner = owner, .opts = *opts, .err = ERR_UNREACH };
    d->count = count < RESOLVE_ADDRS_MAX ? count : RESOLVE_ADDRS_MAX;
    memcpy(d->addrs, addrs, d->count * sizeof addrs[0]);
    if (d->opts.stagger == 0)
        d->opts.stagger = DIAL_STAGGER_MS * NSEC_PER_MSEC;
    if (!d->opts.one_by_one)
        dial_interleave(d->addrs, d->count);
}

static void note_failure(struct dial *d, int err)
{
    if (err != ERR_UNREACH)
        d->err = err;
}

/* Nothing is read: reading nothing tells whether the stream lives. */
static int state_of(const struct dial *d, struct stream *s)
{
    struct buf none;
    if (!tcp_is_connected(s))
        return ERR_AGAIN;
    buf_init(&none, loop_chunks(d->loop), 0);
    int r = stream_read(s, &none, 0);
    buf_done(&none);
    return r == ERR_AGAIN ? 0 : r;
}

/* How many attempts are under way; *ret_at is the index of one that is connected, or d->count. */
static size_t look(struct dial *d, size_t *ret_at, bool *ret_failed)
{
    size_t open = 0;
    *ret_at = d->count;
    for (size_t i = 0; i < d->begun; i++) {
        int r = d->tries[i] != NULL ? state_of(d, d->tries[i]) : ERR_CLOSED;
        if (r == 0 && *ret_at == d->count)
            *ret_at = i;
        open += r == ERR_AGAIN;
        if (d->tries[i] == NULL || r == 0 || r == ERR_AGAIN)
            continue;
        note_failure(d, r);
        stream_release(d->tries[i]);
        d->tries[i] = NULL;
        *ret_failed = true;
    }
    return open;
}

/* Begins with the next address that can be dialled at all: whether there was one. */
static bool begin(struct dial *d)
{
    struct tcp_dial_opts opts = { .keepalive = d->opts.keepalive };
    while (d->begun < d->count) {
        size_t at = d->begun++;
        int r = tcp_dial(d->loop, &d->addrs[at], &opts, d->owner, &d->tries[at]);
        if (r == 0)
            return true;
        d->tries[at] = NULL;
        note_failure(d, r);
    }
    return false;
}

int dial_run(struct dial *d, struct stream **ret)
{
    size_t at;
    bool is_due = deadline_take(&d->next) || d->begun == 0;
    size_t open = look(d, &at, &is_due);
    if (at < d->count) {
        *ret = d->tries[at];
        d->tries[at] = NULL;
        dial_done(d);
        return 0;
    }
    if (open == 0 || (is_due && !d->opts.one_by_one)) {
        open += begin(d);
        if (d->begun < d->count && !d->opts.one_by_one)
            deadline_set(&d->next, d->owner, loop_now_fresh(d->loop) + d->opts.stagger);
    }
    if (open > 0)
        return ERR_AGAIN;
    dial_done(d);
    return d->err;
}

void dial_done(struct dial *d)
{
    deadline_clear(&d->next);
    for (size_t i = 0; i < d->begun; i++) {
        stream_release(d->tries[i]);
        d->tries[i] = NULL;
    }
}
