/* A chunked body, whole and byte by byte: both must end alike and give the same data. What is taken
 * is encoded again and must decode to itself. */
#include <stdlib.h>

#include "codec/http1_chunked.h"

#define BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    uint8_t data[BYTES_MAX];
    size_t n, used, trailers;
    int r;
    enum http1_why why;
};

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void decode(struct slice bytes, size_t step, struct outcome *ret)
{
    struct arena arena;
    struct http1_chunked c;
    arena_init(&arena, 1 << 17);
    http1_chunked_init(&c, &arena);
    ret->n = ret->used = 0;
    ret->r = ERR_AGAIN;
    for (size_t at = 0; at < bytes.n && ret->r == ERR_AGAIN;) {
        struct slice rest = slice_sub(bytes, at, step), piece;
        at += rest.n;
        while ((ret->r = http1_chunked_feed(&c, &rest, &piece)) == 0) {
            must(piece.n > 0 && ret->n + piece.n <= BYTES_MAX);
            memcpy(ret->data + ret->n, piece.p, piece.n);
            ret->n += piece.n;
        }
        ret->used = at - rest.n;
    }
    ret->why = c.why;
    ret->trailers = c.trailers_count;
    for (size_t i = 0; i < c.trailers_count; i++)
        must(http1_is_token(c.trailers[i].name) && http1_is_value(c.trailers[i].value));
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, slow;
    static uint8_t again[BYTES_MAX + 64];
    if (size > BYTES_MAX)
        return 0;
    decode(slice_of(data, size), SIZE_MAX, &whole);
    decode(slice_of(data, size), 1, &slow);
    must(whole.r == slow.r && whole.why == slow.why && whole.used == slow.used);
    must(whole.n == slow.n && memcmp(whole.data, slow.data, whole.n) == 0);
    must(whole.trailers == slow.trailers);
    if (whole.r != ERR_EOF || whole.n == 0)
        return 0;
    size_t n = http1_chunk_line(whole.n, again);
    memcpy(again + n, whole.data, whole.n);
    n += whole.n;
    memcpy(again + n, "\r\n0\r\n\r\n", 7);
    n += 7;
    decode(slice_of(again, n), SIZE_MAX, &slow);
    must(slow.r == ERR_EOF && slow.used == n && slow.n == whole.n);
    must(memcmp(whole.data, slow.data, whole.n) == 0);
    return 0;
}
