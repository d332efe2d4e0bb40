/* Bodies in pieces, read from a stream that gives a few bytes at a time: the first byte says how
 * many. However they are cut, the body and its trailers are the same, and what is over may be sent
 * again and reads the same. */
#include <stdlib.h>

#include "base/err.h"
#include "tunnel/pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

struct source {
    struct stream base;
    struct slice rest;
    size_t step;
};

static int source_read(struct stream *s, struct buf *to, size_t max)
{
    struct source *from = container_of(s, struct source, base);
    size_t n = from->rest.n < from->step ? from->rest.n : from->step;
    n = n < max ? n : max;
    n = n < buf_room(to) ? n : buf_room(to);
    if (from->rest.n == 0)
        return ERR_EOF;
    if (n == 0)
        return ERR_AGAIN;
    must(buf_put(to, slice_sub(from->rest, 0, n)) == 0);
    from->rest = slice_sub(from->rest, n, SIZE_MAX);
    return 0;
}

static const struct stream_ops SOURCE = { .kind = "source", .read = source_read };

struct result {
    int err;
    size_t bytes, trailers, left;
};

static struct result read_all(struct chunk_pool *pool, struct slice bytes, size_t step,
                              struct buf *again)
{
    struct source from = { .base.ops = &SOURCE, .rest = bytes, .step = step };
    struct piece_reader reader = { 0 };
    struct piece_writer writer = { 0 };
    struct fields *trailers = NULL;
    struct arena arena;
    struct buf in;
    struct body body = { 0 };
    struct result ret;
    arena_init(&arena, EXCHANGE_ARENA_BYTES_MAX);
    buf_init(&in, pool, TUNNEL_HEAD_BYTES_MAX + READ_STEP_BYTES);
    buf_init(&body.held, pool, 1 << 24);
    ret.err = pieces_read(&reader, &from.base, &in, &body, &arena, &trailers);
    must(ret.err != ERR_AGAIN && ret.err != ERR_EOF);
    ret.bytes = buf_len(&body.held);
    ret.trailers = trailers != NULL ? trailers->count : 0;
    ret.left = from.rest.n + buf_len(&in);
    body.ended = ret.err == 0;
    for (int i = 0; i < 3 && again != NULL && ret.err == 0 && !writer.is_over; i++) {
        struct buf out;
        buf_init(&out, pool, 1 << 24);
        must(pieces_write(&writer, &body, trailers, &arena, &out) == 0);
        (void)buf_move(again, &out, SIZE_MAX);
        buf_done(&out);
    }
    must(again == NULL || ret.err != 0 || writer.is_over);
    buf_done(&in);
    buf_done(&body.held);
    arena_done(&arena);
    return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice bytes = slice_of(data + 1, size - 1);
    struct chunk_pool *pool = chunk_pool_new();
    struct buf again;
    buf_init(&again, pool, 1 << 25);
    struct result whole = read_all(pool, bytes, SIZE_MAX, &again);
    struct result parts = read_all(pool, bytes, data[0] % 16 + 1, NULL);
    must(whole.err == parts.err && whole.bytes == parts.bytes && whole.trailers == parts.trailers);
    if (whole.err == 0) {
        size_t n = buf_len(&again);
        uint8_t *copy = malloc(n);
        must(copy != NULL && buf_copy(&again, 0, copy, n) == n);
        struct result second = read_all(pool, slice_of(copy, n), SIZE_MAX, NULL);
        must(second.err == 0 && second.bytes == whole.bytes && second.left == 0 &&
             second.trailers == whole.trailers);
        free(copy);
    }
    buf_done(&again);
    chunk_pool_free(pool);
    return 0;
}
