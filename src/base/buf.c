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

/* An empty segment at the end for each vector, while they are reserved. */
static bool reserve_vector(struct buf *b, struct iovec *iov, size_t want)
{
    struct seg *s = last(b);
    size_t room = (size_t)(s->chunk->data + s->chunk->size - s->p);
    *iov = (struct iovec){ .iov_base = s->p, .iov_len = room < want ? room : want };
    return iov->iov_len < want;
}

/* The rest of what another read left, as a segment. */
static bool open_rest(struct buf *b)
{
    struct chunk *c;
    uint8_t *p;
    if (ring_grow(b) < 0 || (c = chunk_rest(b->pool, &p)) == NULL)
        return false;
    *buf_seg(b, b->count++) = (struct seg){ .chunk = c, .p = p };
    return true;
}

size_t buf_reserve_iov(struct buf *b, size_t want, bool is_little, struct iovec *iov,
                       size_t count_max)
{
    size_t count = 0, at_hand = tail_room(last(b));
    bool is_rest_used = false;
    if (want > buf_room(b))
        want = buf_room(b);
    b->is_tail_reserved = want > 0 && count_max > 0 && at_hand > 0;
    if (b->is_tail_reserved) {
        struct seg *s = last(b);
        at_hand = at_hand < want ? at_hand : want;
        iov[count++] = (struct iovec){ .iov_base = s->p + s->n, .iov_len = at_hand };
        want -= at_hand;
    }
    for (bool more = want > 0; more && count < count_max; count++) {
        bool is_small = is_little && count == 0 && b->len < CHUNK_BYTES_SMALL / 2;
        if (!is_small && !is_rest_used) {
            is_rest_used = true;
            if (!open_rest(b) && open_seg(b, CHUNK_BYTES) < 0)
                break;
        } else if (open_seg(b, is_small ? 1 : CHUNK_BYTES) < 0) {
            break;
        }
        more = reserve_vector(b, &iov[count], want);
        want -= iov[count].iov_len;
    }
    return count;
}

void buf_commit_iov(struct buf *b, size_t n)
{
    uint32_t at = b->count;
    while (at > 0 && buf_seg(b, at - 1)->n == 0)
        at--;
    /* The one before them had its room filled first. Whether it has room is not asked anew: another
     * thread may have let go of its chunk meanwhile. */
    if (b->is_tail_reserved)
        at--;
    b->len += n;
    for (; n > 0; at++) {
        assert(at < b->count);
        struct seg *s = buf_seg(b, at);
        size_t room = (size_t)(s->chunk->data + s->chunk->size - (s->p + s->n));
        size_t step = n < room ? n : room;
        s->n += step;
        n -= step;
        chunk_leave_rest(b->pool, s->chunk, s->p + s->n);
    }
    while (b->count > 0 && last(b)->n == 0) {
        chunk_unref(last(b)->chunk);
        b->count--;
    }
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

static int share_piece(struct buf *to, const struct seg *s, size_t at, size_t n)
{
    struct seg piece = { .chunk = chunk_ref(s->chunk), .p = s->p + at, .n = n };
    int r = push_seg(to, piece);
    if (r < 0)
        chunk_unref(piece.chunk);
    return r;
}

int buf_share(struct buf *to, const struct buf *from, struct slice part)
{
    if (part.n > buf_room(to))
        return ERR_LIMIT;
    if (part.n == 0)
        return 0;
    const struct seg *s = buf_seg(from, 0);
    assert(part.p >= s->p && part.p + part.n <= s->p + s->n);
    return share_piece(to, s, (size_t)(part.p - s->p), part.n);
}

int buf_share_tail(struct buf *to, const struct buf *from, size_t skip)
{
    if (skip >= from->len)
        return 0;
    if (from->len - skip > buf_room(to))
        return ERR_LIMIT;
    for (uint32_t i = 0; i < from->count; i++) {
        const struct seg *s = buf_seg(from, i);
        size_t passed = skip < s->n ? skip : s->n;
        skip -= passed;
        int r = passed < s->n ? share_piece(to, s, passed, s->n - passed) : 0;
        if (r < 0)
            return r;
    }
    return 0;
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

void buf_drop_tail(struct buf *b, size_t n)
{
    if (n > b->len)
        n = b->len;
    b->len -= n;
    while (n > 0) {
        struct seg *s = last(b);
        if (n < s->n) {
            s->n -= n;
            return;
        }
        n -= s->n;
        chunk_unref(s->chunk);
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
