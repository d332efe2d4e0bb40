#pragma once
/* A queue of bytes, made of pieces of counted chunks, with a bound that it is born with. Moving
 * bytes between two buffers moves references. One thread. An empty buffer holds no chunk. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/chunk.h"
#include "base/slice.h"

struct seg {
    struct chunk *chunk;
    uint8_t *p;
    size_t n;
};

#define BUF_SEGS_INLINE 2

struct buf {
    struct seg *segs; /* ring of `cap` (a power of two); points at `few` while that is enough */
    uint32_t head, count, cap;
    bool is_tail_reserved; /* the first vector of buf_reserve_iov is the last segment's room */
    size_t len, max;
    struct chunk_pool *pool;
    struct seg few[BUF_SEGS_INLINE];
};

/* `max`: bytes that the buffer will ever hold. The struct must not be copied or moved afterwards.
 */
void buf_init(struct buf *b, struct chunk_pool *pool, size_t max);

/* Drops every byte and all memory. Safe on a zeroed or finished buffer. */
void buf_done(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->len;
}

static inline bool buf_is_empty(const struct buf *b)
{
    return b->len == 0;
}

/* Bytes that still fit. */
static inline size_t buf_room(const struct buf *b)
{
    return b->max > b->len ? b->max - b->len : 0;
}

/* Appends a copy: all or nothing. 0, ERR_LIMIT past the bound, ERR_NOMEM. */
int buf_put(struct buf *b, struct slice s) __attribute__((warn_unused_result));

/* Contiguous space behind the last byte to read(2) into: at least one byte and about `want` (one
 * chunk at most), never past the bound. NULL when there is no room or memory. Follow with
 * buf_commit. */
uint8_t *buf_reserve(struct buf *b, size_t want, size_t *ret_room);

/* The first n bytes of the reserved space have been filled. n = 0 gives the space back. */
void buf_commit(struct buf *b, size_t n);

/* As buf_reserve, for readv(2): the rest of the chunk that the last such read left, then new
 * chunks; `is_little`: a small chunk before them, where little is expected. Sets up to `count_max`
 * vectors, `want` bytes together or as many as fit, and returns how many were set. Follow with
 * buf_commit_iov; no other buffer of the loop may reserve in between. */
size_t buf_reserve_iov(struct buf *b, size_t want, bool is_little, struct iovec *iov,
                       size_t count_max);

/* The first n bytes of the reserved vectors have been filled; the rest is given back. */
void buf_commit_iov(struct buf *b, size_t n);

/* Moves up to `max` bytes from the front of `from` behind `to`, by reference, no more than fit.
 * Returns how many: fewer than could be when memory is short for another segment. Who would then
 * wait for room that is there already asks buf_is_stuck. */
size_t buf_move(struct buf *to, struct buf *from, size_t max);
/* Behind a buf_move of nothing, with a max that is not 0: whether memory was short. */
static inline bool buf_is_stuck(const struct buf *to, const struct buf *from)
{
    return !buf_is_empty(from) && buf_room(to) > 0;
}

/* Appends a part of the first segment of `from` by reference; `from` keeps it. The caller sees to
 * it that few bytes do not hold on to many chunks. 0, ERR_LIMIT past the bound, ERR_NOMEM. */
int buf_share(struct buf *to, const struct buf *from, struct slice part)
    __attribute__((warn_unused_result));

/* Appends what is behind the first `skip` bytes of `from` likewise. ERR_LIMIT past the bound (then
 * nothing was appended), ERR_NOMEM (then perhaps a part). */
int buf_share_tail(struct buf *to, const struct buf *from, size_t skip)
    __attribute__((warn_unused_result));

/* Drops n bytes (at most all) from the front. */
void buf_drop(struct buf *b, size_t n);

/* Drops n bytes (at most all) from the end. */
void buf_drop_tail(struct buf *b, size_t n);

/* The longest contiguous run at the front; empty when the buffer is. */
struct slice buf_front(const struct buf *b);

/* Makes the first n bytes contiguous and views them. 0, ERR_AGAIN when there are fewer, ERR_LIMIT
 * when n is more than a chunk holds, ERR_NOMEM. */
int buf_peek(struct buf *b, size_t n, struct slice *ret) __attribute__((warn_unused_result));

/* Copies up to n bytes from offset `at`, leaving them there. Returns how many. */
size_t buf_copy(const struct buf *b, size_t at, void *to, size_t n);

/* Fills up to `count_max` vectors with the pieces from the front on. Returns how many were set. */
size_t buf_iov(const struct buf *b, struct iovec *iov, size_t count_max);

/* Segment number `index` from the front (0 ≤ index < b->count), for transports that keep their own
 * references. */
static inline struct seg *buf_seg(const struct buf *b, uint32_t index)
{
    return &b->segs[(b->head + index) & (b->cap - 1)];
}
