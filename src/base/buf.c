#include "base/buf.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"

void buf_init(struct buf *b, struct chunk_pool *pool, size_t max)
{
    *b = (struct buf){ .pool = pool, .max = max, .cap = BUF_SEGS_INLINE };
    b->segs = b->few;
}

void buf_done(struct buf *b)
{
    if (b->segs == NULL)
        return;
    for (uint32_t i = 0; i < b->count; i++)
        chunk_unref(buf_seg(b, i)->chunk);
    if (b->segs != b->few)
        free(b->segs);
    *b = (struct buf){ .pool = b->pool, .max = b->max, .cap = BUF_SEGS_INLINE };
    b->segs = b->few;
}

/* Makes room for one more segment in the ring. */
static int ring_grow(struct buf *b)
{
    if (b->count < b->cap)
        return 0;
    struct seg *segs = malloc((size_t)b->cap * 2 * sizeof *segs);
    if (segs == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < b->count; i++)
        segs[i] = *buf_seg(b, i);
    if (b->segs != b->few)
        free(b->segs);
    b->segs = segs;
    b->head = 0;
    b->cap *= 2;
    return 0;
}

static void ring_shrink(struct buf *b)
{
    if (b->count > 0)
        return;
    b->head = 0;
    if (b->segs == b->few)
        return;
    free(b->segs);
    b->segs = b->few;
    b->cap = BUF_SEGS_INLINE;
}

static struct seg *last(const struct buf *b)
{
    return b->count > 0 ? buf_seg(b, b->count - 1) : NULL;
}

static size_t tail_room(const struct seg *s)
{
    if (s == NULL || atomic_load_explicit(&s->chunk->refs, memory_order_acquire) != 1)
        return 0;
    return (size_t)(s->chunk->data + s->chunk->size - (s->p + s->n));
}

/* A new, empty last segment: a large one once the buffer has outgrown a small one. */
static int open_seg(struct buf *b, size_t want)
{
    int r = ring_grow(b);
    if (r < 0)
        return r;
    if (b->len >= CHUNK_BYTES_SMALL / 2)
        want = CHUNK_BYTES;
    struct chunk *c = chunk_new(b->pool, want);
    if (c == NULL)
        return ERR_NOMEM;
    *buf_seg(b, b->count++) = (struct seg){ .chunk = c, .p = c->data };
    return 0;
}

static void close_empty_seg(struct buf *b)
{
    struct seg *s = last(b);
    if (s == NULL || s->n > 0)
        return;
    chunk_unref(s->chunk);
    b->count--;
    ring_shrink(b);
}

uint8_t *buf_reserve(struct buf *b, size_t want, size_t *ret_room)
{
    size_t room = buf_room(b);
    if (want > room)
        want = room;
    if (want == 0)
        return NULL;
    struct seg *s = last(b);
    size_t at_hand = tail_room(s);
    if (at_hand < want && at_hand < CHUNK_BYTES_SMALL / 2) {
        if (open_seg(b, want) < 0)
            return NULL;
        s = last(b);
        at_hand = tail_room(s);
    }
    assert(s != NULL);
    *ret_room = at_hand < room ? at_hand : room;
    return s->p + s->n;
}

void buf_commit(struct buf *b, size_t n)
{
    struct seg *s = last(b);
    assert(n == 0 || (s != NULL && n <= tail_room(s)));
    if (n > 0) {
        s->n += n;
        b->len += n;
    }
    close_empty_seg(b);
}

/* While they are reserved the new segments are empty ones behind the filled ones. */
size_t buf_reserve_iov(struct buf *b, size_t want, struct iovec *iov, size_t count_max)
{
    size_t count = 0;
    if (want > buf_room(b))
        want = buf_room(b);
    while (want > 0 && count < count_max && open_seg(b, CHUNK_BYTES) == 0) {
        struct chunk *c = buf_seg(b, b->count - 1)->chunk;
        size_t n = c->size < want ? c->size : want;
        iov[count++] = (struct iovec){ .iov_base = c->data, .iov_len = n };
        want -= n;
    }
    return count;
}

void buf_commit_iov(struct buf *b, size_t n)
{
    uint32_t at = b->count;
    while (at > 0 && buf_seg(b, at - 1)->n == 0)
        at--;
    b->len += n;
    for (; n > 0; at++) {
        assert(at < b->count);
        struct seg *s = buf_seg(b, at);
        s->n = n < s->chunk->size ? n : s->chunk->size;
        n -= s->n;
    }
    for (; b->count > at; b->count--)
        chunk_unref(last(b)->chunk);
    ring_shrink(b);
}

/* Takes the last n bytes back. */
static void unput(struct buf *b, size_t n)
{
    while (n > 0) {
        struct seg *s = buf_seg(b, b->count - 1);
        size_t step = s->n < n ? s->n : n;
        s->n -= step;
        b->len -= step;
        n -= step;
        close_empty_seg(b);
    }
}

int buf_put(struct buf *b, struct slice s)
{
    if (s.n > buf_room(b))
        return ERR_LIMIT;
    size_t put = 0;
    while (put < s.n) {
        size_t room;
        uint8_t *p = buf_reserve(b, s.n - put, &room);
        if (p == NULL) {
            unput(b, put);
            return ERR_NOMEM;
        }
        size_t n = room < s.n - put ? room : s.n - put;
        memcpy(p, s.p + put, n);
        buf_commit(b, n);
        put += n;
    }
    return 0;
}

/* Appends a piece, taking over the caller's reference. Grows the last segment when the piece
 * continues it. */
static int push_seg(struct buf *b, struct seg piece)
{
    struct seg *s = last(b);
    if (s != NULL && s->chunk == piece.chunk && s->p + s->n == piece.p) {
        s->n += piece.n;
        chunk_unref(piece.chunk);
    } else {
        int r = ring_grow(b);
        if (r < 0)
            return r;
        *buf_seg(b, b->count++) = piece;
    }
    b->len += piece.n;
    return 0;
}

size_t buf_move(struct buf *to, struct buf *from, size_t max)
{
    size_t moved = 0;
    if (max > buf_room(to))
        max = buf_room(to);
    while (moved < max && from->count > 0) {
        struct seg *s = buf_seg(from, 0);
        size_t n = s->n < max - moved ? s->n : max - moved;
        struct seg piece = { .chunk = n < s->n ? chunk_ref(s->chunk) : s->chunk,
                             .p = s->p,
                             .n = n };
        if (push_seg(to, piece) < 0) {
            if (n < s->n)
                chunk_unref(piece.chunk);
            break;
        }
        from->len -= n;
        moved += n;
        if (n < s->n) {
            s->p += n;
            s->n -= n;
        } else {
            from->head = (from->head + 1) & (from->cap - 1);
            from->count--;
        }
    }
    ring_shrink(from);
    return moved;
}

void buf_drop(struct buf *b, size_t n)
{
    if (n > b->len)
        n = b->len;
    b->len -= n;
    while (n > 0) {
        struct seg *s = buf_seg(b, 0);
        if (n < s->n) {
            s->p += n;
            s->n -= n;
            return;
        }
        n -= s->n;
        chunk_unref(s->chunk);
        b->head = (b->head + 1) & (b->cap - 1);
        b->count--;
    }
    ring_shrink(b);
}

struct slice buf_front(const struct buf *b)
{
    if (b->count == 0)
        return (struct slice){ 0 };
    struct seg *s = buf_seg(b, 0);
    return slice_of(s->p, s->n);
}

size_t buf_copy(const struct buf *b, size_t at, void *to, size_t n)
{
    uint8_t *out = to;
    size_t copied = 0;
    for (uint32_t i = 0; i < b->count && copied < n; i++) {
        struct seg *s = buf_seg(b, i);
        if (at >= s->n) {
            at -= s->n;
            continue;
        }
        size_t take = s->n - at < n - copied ? s->n - at : n - copied;
        memcpy(out + copied, s->p + at, take);
        copied += take;
        at = 0;
    }
    return copied;
}

int buf_peek(struct buf *b, size_t n, struct slice *ret)
{
    if (n > b->len)
        return ERR_AGAIN;
    struct slice front = buf_front(b);
    if (front.n >= n) {
        *ret = slice_of(front.p, n);
        return 0;
    }
    struct chunk *c = chunk_new(b->pool, n);
    if (c == NULL)
        return ERR_NOMEM;
    if (n > c->size) {
        chunk_unref(c);
        return ERR_LIMIT;
    }
    (void)buf_copy(b, 0, c->data, n);
    size_t len = b->len;
    buf_drop(b, n);
    if (ring_grow(b) < 0) {
        chunk_unref(c); /* the bytes are lost: the caller ends the connection */
        return ERR_NOMEM;
    }
    b->head = (b->head - 1) & (b->cap - 1);
    b->count++;
    *buf_seg(b, 0) = (struct seg){ .chunk = c, .p = c->data, .n = n };
    b->len = len;
    *ret = slice_of(c->data, n);
    return 0;
}

size_t buf_iov(const struct buf *b, struct iovec *iov, size_t count_max)
{
    size_t count = b->count < count_max ? b->count : count_max;
    for (uint32_t i = 0; i < count; i++) {
        struct seg *s = buf_seg(b, i);
        iov[i] = (struct iovec){ .iov_base = s->p, .iov_len = s->n };
    }
    return count;
}
