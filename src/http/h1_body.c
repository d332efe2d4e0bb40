#include "http/h1_body.h"

#include "base/err.h"

#define CHUNK_FRAMING_BYTES (HTTP1_CHUNK_LINE_BYTES + 2)

void h1_reader_init(struct h1_reader *r, enum framing framing, uint64_t length)
{
    *r = (struct h1_reader){ .framing = framing, .left = length };
    r->is_over = framing == FRAMING_NONE || (framing == FRAMING_LENGTH && length == 0);
}

void h1_reader_init_until_close(struct h1_reader *r)
{
    *r = (struct h1_reader){ .framing = FRAMING_STREAM, .until_close = true };
}

static int read_length(struct h1_reader *r, struct buf *in, struct body *to)
{
    size_t max = r->left < SIZE_MAX ? (size_t)r->left : SIZE_MAX;
    size_t moved = body_put(to, in, max);
    if (moved == 0 && max > 0 && body_is_stuck(to, in))
        return ERR_NOMEM;
    r->left -= moved;
    r->is_over = r->left == 0;
    return r->is_over ? 0 : ERR_AGAIN;
}

/* Trailer fields of the decoder, in the form that exchanges have. */
static int take_trailers(struct h1_reader *r, struct arena *arena, struct fields **ret)
{
    if (r->chunked.trailers_count == 0)
        return 0;
    struct fields *f = arena_alloc(arena, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    fields_init(f, arena);
    for (size_t i = 0; i < r->chunked.trailers_count; i++) {
        int e = fields_add(f, r->chunked.trailers[i].name, r->chunked.trailers[i].value);
        if (e < 0)
            return e;
    }
    *ret = f;
    return 0;
}

static int read_chunked(struct h1_reader *r, struct buf *in, struct body *to, struct arena *arena,
                        struct fields **trailers)
{
    if (r->chunked.arena == NULL)
        http1_chunked_init(&r->chunked, arena);
    while (!buf_is_empty(in)) {
        size_t framing;
        int e = http1_chunked_next(&r->chunked, buf_front(in), &framing);
        buf_drop(in, framing);
        if (e == ERR_EOF) {
            r->is_over = true;
            return take_trailers(r, arena, trailers);
        }
        if (e == ERR_AGAIN)
            continue; /* the front piece is used up; the next may be there */
        if (e < 0)
            return e;
        size_t max = r->chunked.left < SIZE_MAX ? (size_t)r->chunked.left : SIZE_MAX;
        size_t moved = body_put(to, in, max);
        http1_chunked_took(&r->chunked, moved);
        if (moved == 0)
            return max > 0 && body_is_stuck(to, in) ? ERR_NOMEM : ERR_AGAIN;
    }
    return ERR_AGAIN;
}

int h1_reader_run(struct h1_reader *r, struct buf *in, struct body *to, struct arena *arena,
                  struct fields **trailers)
{
    if (r->is_over)
        return 0;
    if (r->framing == FRAMING_LENGTH)
        return read_length(r, in, to);
    if (!r->until_close)
        return read_chunked(r, in, to, arena, trailers);
    if (body_put(to, in, SIZE_MAX) == 0 && body_is_stuck(to, in))
        return ERR_NOMEM;
    return ERR_AGAIN;
}

int h1_reader_closed(struct h1_reader *r)
{
    if (!r->is_over && !r->until_close)
        return ERR_CUT;
    r->is_over = true;
    return 0;
}

void h1_writer_init(struct h1_writer *w, enum framing framing)
{
    *w = (struct h1_writer){ .framing = framing };
}

static int write_end(const struct fields *trailers, struct buf *out)
{
    int r = buf_put(out, SLICE("0\r\n"));
    for (size_t i = 0; trailers != NULL && i < trailers->count && r == 0; i++) {
        const struct slice parts[] = { trailers->lines[i].name, SLICE(": "),
                                       trailers->lines[i].value, SLICE("\r\n") };
        for (size_t k = 0; k < 4 && r == 0; k++)
            r = buf_put(out, parts[k]);
    }
    return r == 0 ? buf_put(out, SLICE("\r\n")) : r;
}

/* One chunk of what is held, as large as fits. */
static int write_chunk(struct body *from, struct buf *out)
{
    uint8_t line[HTTP1_CHUNK_LINE_BYTES];
    size_t room = buf_room(out), n = buf_len(&from->held);
    if (room <= CHUNK_FRAMING_BYTES)
        return ERR_AGAIN;
    if (n > room - CHUNK_FRAMING_BYTES)
        n = room - CHUNK_FRAMING_BYTES;
    int r = buf_put(out, slice_of(line, http1_chunk_line(n, line)));
    if (r == 0 && buf_move(out, &from->held, n) != n)
        r = ERR_NOMEM;
    return r == 0 ? buf_put(out, SLICE("\r\n")) : r;
}

int h1_writer_run(struct h1_writer *w, struct body *from, const struct fields *trailers,
                  struct buf *out)
{
    if (w->is_over)
        return 0;
    if (w->framing == FRAMING_STREAM) {
        while (!buf_is_empty(&from->held)) {
            int r = write_chunk(from, out);
            if (r < 0)
                return r == ERR_AGAIN ? 0 : r;
        }
        if (!from->ended || buf_room(out) < TRAILER_BYTES_MAX + 8)
            return 0;
        w->is_over = true;
        return write_end(trailers, out);
    }
    if (buf_move(out, &from->held, SIZE_MAX) == 0 && buf_is_stuck(out, &from->held))
        return ERR_NOMEM;
    w->is_over = body_is_over(from);
    return 0;
}
