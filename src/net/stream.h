#pragma once
/* One bidirectional byte stream: TCP, TLS, unix socket, QUIC stream, in-process pipe, pipe between
 * workers. Nobody above net/ asks which. Loop thread only.
 *
 * No call here ever calls back into the caller: news (readable, end, room to write again, failure)
 * wakes s->owner, whose run() happens later, from the loop. Reading is what grants credit to the
 * far side: bytes that are not read stay in the transport, which is the whole of back-pressure. */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"

struct stream;

struct stream_ops {
    const char *kind; /* for logs: "tcp", "tls", "quic", "pipe" */
    /* Appends at most `max` bytes (and no more than fit) to *to. 0 when at least one byte came;
     * ERR_AGAIN; ERR_EOF after the far side's orderly end (again and again); another error when the
     * stream is dead. With `max` 0 nothing is read: a reset shows itself although bytes wait that
     * nobody has room for; 0, ERR_AGAIN and ERR_EOF say that there was none. */
    int (*read)(struct stream *, struct buf *to, size_t max);
    /* Takes what fits from the front of *from, by reference. 0 when all was taken; ERR_AGAIN when
     * some is left (the owner is woken when there is room); another error when the stream is dead.
     * The transport sends at the end of the turn. */
    int (*write)(struct stream *, struct buf *from);
    /* Orderly end of our direction, once what was written is out. Nothing may be written
     * afterwards. Idempotent. */
    void (*finish)(struct stream *);
    /* Both directions end at once; what is queued is dropped; the far side sees a reset.
     * Idempotent. */
    void (*abort)(struct stream *, int why);
    /* The owner lets go: the last call ever. What was written and finished is still delivered;
     * without finish it is an abort. */
    void (*release)(struct stream *);
    /* Bytes that were written and have not reached the far side's system, as they travel. NULL:
     * what was written counts as arrived. */
    uint64_t (*waiting)(struct stream *);
};

struct stream {
    const struct stream_ops *ops;
    struct task *owner; /* woken by news; may be changed at any time; NULL = nobody listens */
};

static inline int stream_read(struct stream *s, struct buf *to, size_t max)
{
    return s->ops->read(s, to, max);
}

static inline int stream_write(struct stream *s, struct buf *from)
{
    return s->ops->write(s, from);
}

static inline void stream_finish(struct stream *s)
{
    s->ops->finish(s);
}

static inline void stream_abort(struct stream *s, int why)
{
    s->ops->abort(s, why);
}

/* NULL is accepted. */
static inline void stream_release(struct stream *s)
{
    if (s != NULL)
        s->ops->release(s);
}

/* How much of what was written the far side has not acknowledged. It may cost a system call: for
 * whoever wonders whether a reader reads, not for each write. */
static inline uint64_t stream_waiting(struct stream *s)
{
    return s->ops->waiting != NULL ? s->ops->waiting(s) : 0;
}

#define PUMP_YIELD 1 /* went its share of steps; the caller wakes itself again */

/* Moves bytes from src to dst until one side blocks. `held` is everything in between: nothing is
 * read while it is not empty, so a slow reader stops its sender. ERR_AGAIN when one side blocks,
 * ERR_EOF after finishing dst, PUMP_YIELD, or an error. */
int pump(struct stream *src, struct buf *held, struct stream *dst)
    __attribute__((warn_unused_result));
