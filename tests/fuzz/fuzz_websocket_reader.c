/* A websocket's bytes read at once and read in pieces (the first byte says how large), into much
 * room and into little: the same payload, the same pings and the same end. */
#include <stdlib.h>

#include "base/err.h"
#include "codec/websocket_reader.h"

#define OUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

struct outcome {
    uint8_t *bytes;
    size_t n, pings;
    bool is_over, is_breach, is_within;
};

static void drain(struct buf *to, struct outcome *o)
{
    size_t n = buf_len(to);
    must(buf_copy(to, 0, o->bytes + o->n, n) == n);
    o->n += n;
    buf_drop(to, n);
}

/* Reads what there is; a full buffer is drained. */
static void read_all(struct websocket_reader *r, struct buf *from, struct buf *to,
                     struct outcome *o)
{
    while (!o->is_over && !o->is_breach) {
        int news = websocket_read(r, from, to);
        must(news != ERR_AGAIN && news != ERR_NOMEM);
        must(news != WEBSOCKET_FULL || !buf_is_empty(to));
        drain(to, o);
        o->pings += news == WEBSOCKET_PINGED;
        o->is_over = news == WEBSOCKET_OVER;
        o->is_breach = news < 0;
        if (news == WEBSOCKET_HUNGRY)
            break;
    }
    o->is_within = websocket_is_within(r);
}

static struct outcome play(struct chunk_pool *pool, struct slice bytes, size_t step, size_t room)
{
    struct websocket_reader r;
    struct outcome o = { .bytes = malloc(bytes.n + 1) };
    struct buf from, to;
    must(o.bytes != NULL);
    buf_init(&from, pool, OUT_MAX);
    buf_init(&to, pool, room);
    websocket_reader_init(&r);
    for (size_t at = 0; at < bytes.n; at += step) {
        must(buf_put(&from, slice_sub(bytes, at, step)) == 0);
        read_all(&r, &from, &to, &o);
        must(o.is_over || o.is_breach || buf_len(&from) < WEBSOCKET_HEAD_BYTES);
    }
    buf_done(&from);
    buf_done(&to);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > OUT_MAX)
        return 0;
    struct chunk_pool *pool = chunk_pool_new();
    struct slice bytes = slice_of(data + 1, size - 1);
    struct outcome whole = play(pool, bytes, bytes.n, OUT_MAX),
                   pieces = play(pool, bytes, 1 + data[0] % 16, 1 + data[0] / 16);
    must(whole.n <= bytes.n && whole.n == pieces.n && whole.pings == pieces.pings);
    must(memcmp(whole.bytes, pieces.bytes, whole.n) == 0);
    must(whole.is_over == pieces.is_over && whole.is_breach == pieces.is_breach);
    must(whole.is_within == pieces.is_within);
    free(whole.bytes);
    free(pieces.bytes);
    chunk_pool_free(pool);
    return 0;
}
