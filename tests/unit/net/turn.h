#pragma once
/* What the tests over loops share: turning until something holds, and a pattern of bytes that tells
 * when one is missing, doubled or out of order. */
#include "base/clock.h"
#include "net/stream.h"
#include "test.h"

#define TURN_NSEC_MAX (30 * NSEC_PER_SEC) /* only a failing test waits so long */

/* Turns the loop until the condition holds. */
#define UNTIL(loop, condition)                                                                     \
    do {                                                                                           \
        nsec end_ = clock_monotonic() + TURN_NSEC_MAX;                                             \
        bool held_;                                                                                \
        while (!(held_ = (condition)) && clock_monotonic() < end_)                                 \
            loop_turn((loop), 10);                                                                 \
        if (!held_)                                                                                \
            fail_msg("never: %s", #condition);                                                     \
        (void)state_;                                                                              \
    } while (0)

/* Turns two loops of one thread, one after the other, until the condition holds. */
#define UNTIL_BOTH(one, other, condition)                                                          \
    do {                                                                                           \
        nsec end_ = clock_monotonic() + TURN_NSEC_MAX;                                             \
        bool held_;                                                                                \
        while (!(held_ = (condition)) && clock_monotonic() < end_) {                               \
            loop_turn((one), 0);                                                                   \
            loop_turn((other), 0);                                                                 \
        }                                                                                          \
        if (!held_)                                                                                \
            fail_msg("never: %s", #condition);                                                     \
        (void)state_;                                                                              \
    } while (0)

static inline void do_nothing(struct task *t)
{
    (void)t;
}

static inline uint8_t pattern_byte(size_t at)
{
    return (uint8_t)(at * 31 >> 3);
}

/* Appends what fits of the pattern from *at up to `total`. */
static inline void pattern_put(struct buf *out, size_t *at, size_t total)
{
    uint8_t block[4096];
    while (*at < total && buf_room(out) > 0) {
        size_t n = total - *at < sizeof block ? total - *at : sizeof block;
        if (n > buf_room(out))
            n = buf_room(out);
        for (size_t i = 0; i < n; i++)
            block[i] = pattern_byte(*at + i);
        assert_int_equal(buf_put(out, slice_of(block, n)), 0);
        *at += n;
    }
}

/* Takes everything, and checks that it is the pattern from *at on. */
static inline void pattern_take(struct buf *in, size_t *at)
{
    while (!buf_is_empty(in)) {
        struct slice front = buf_front(in);
        for (size_t i = 0; i < front.n; i++)
            if (front.p[i] != pattern_byte(*at + i))
                fail_msg("byte %zu differs", *at + i);
        *at += front.n;
        buf_drop(in, front.n);
    }
}

/* One direction of a transfer: step() goes as far as it can without turning a loop. */
struct transfer {
    struct stream *from, *to;
    struct buf out, in;
    size_t total, put, seen;
    bool is_finished;
    int end; /* what the last read said */
};

static inline void transfer_init(struct transfer *t, struct chunk_pool *pool, struct stream *from,
                                 struct stream *to, size_t total)
{
    *t = (struct transfer){ .from = from, .to = to, .total = total };
    buf_init(&t->out, pool, 1 << 16);
    buf_init(&t->in, pool, 1 << 16);
}

static inline void transfer_write(struct transfer *t)
{
    int r = 0;
    while (r == 0 && !t->is_finished) {
        pattern_put(&t->out, &t->put, t->total);
        r = buf_is_empty(&t->out) ? 0 : stream_write(t->from, &t->out);
        if (r != 0 && r != ERR_AGAIN)
            fail_msg("write: %s", err_text(r));
        if (r == 0 && t->put == t->total) {
            stream_finish(t->from);
            t->is_finished = true;
        }
    }
}

static inline void transfer_read(struct transfer *t)
{
    while ((t->end = stream_read(t->to, &t->in, 1 << 16)) == 0)
        pattern_take(&t->in, &t->seen);
}

/* True when the far side has seen everything and the end. */
static inline bool transfer_step(struct transfer *t)
{
    transfer_write(t);
    transfer_read(t);
    if (t->end != ERR_AGAIN && t->end != ERR_EOF)
        fail_msg("read: %s", err_text(t->end));
    return t->end == ERR_EOF && t->seen == t->total;
}

static inline void transfer_done(struct transfer *t)
{
    buf_done(&t->out);
    buf_done(&t->in);
}
