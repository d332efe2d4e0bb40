#include "tunnel/pieces.h"

#include "base/err.h"
#include "tunnel/metadata.h"

/* ---- sending ---- */

static int put_length(struct buf *out, size_t n)
{
    const uint8_t bytes[PIECE_LENGTH_BYTES] = { (uint8_t)(n >> 24), (uint8_t)(n >> 16),
                                                (uint8_t)(n >> 8), (uint8_t)n };
    return buf_put(out, slice_of(bytes, sizeof bytes));
}

static int put_trailers(struct buf *out, const struct fields *trailers, struct arena *arena)
{
    int r = put_length(out, 0);
    return r == 0 ? metadata_write_trailers(out, arena, trailers) : r;
}

int pieces_write(struct piece_writer *w, struct body *from, const struct fields *trailers,
                 struct arena *arena, struct buf *out)
{
    size_t n = buf_len(&from->held), room = buf_room(out);
    if (n > 0 && room > PIECE_LENGTH_BYTES) {
        n = n < room - PIECE_LENGTH_BYTES ? n : room - PIECE_LENGTH_BYTES;
        int r = put_length(out, n);
        if (r == 0 && buf_move(out, &from->held, n) != n)
            r = ERR_NOMEM;
        if (r < 0)
            return r;
    }
    /* Behind an empty buffer there is room for the largest head. */
    if (w->is_over || !body_is_over(from) || !buf_is_empty(out))
        return 0;
    w->is_over = true;
    return put_trailers(out, trailers, arena);
}

/* ---- receiving ---- */

/* At least `n` bytes in *in. */
static int gather(struct stream *s, struct buf *in, size_t n)
{
    int r = 0;
    while (r == 0 && buf_len(in) < n)
        r = stream_read(s, in, n - buf_len(in));
    return r;
}

static int read_length(struct piece_reader *r, struct stream *s, struct buf *in)
{
    uint8_t bytes[PIECE_LENGTH_BYTES];
    int e = gather(s, in, sizeof bytes);
    if (e < 0)
        return e;
    (void)buf_copy(in, 0, bytes, sizeof bytes);
    buf_drop(in, sizeof bytes);
    r->left =
        (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    r->state = r->left > 0 ? PIECE_BYTES : PIECE_TRAILERS;
    return 0;
}

static int read_bytes(struct piece_reader *r, struct stream *s, struct buf *in, struct body *to)
{
    size_t max = r->left < READ_STEP_BYTES ? r->left : READ_STEP_BYTES;
    uint64_t before = to->total;
    int e = ERR_AGAIN;
    if (!buf_is_empty(in)) {
        e = body_put(to, in, max) > 0 ? 0 : body_is_stuck(to, in) ? ERR_NOMEM : ERR_AGAIN;
    } else if (body_room(to) > 0) {
        size_t held = buf_len(&to->held);
        e = stream_read(s, &to->held, max);
        to->total += buf_len(&to->held) - held;
    }
    r->left -= (uint32_t)(to->total - before);
    if (r->left == 0)
        r->state = PIECE_LENGTH;
    return e;
}

static int read_trailers(struct piece_reader *r, struct stream *s, struct buf *in,
                         struct arena *arena, struct fields **ret)
{
    for (;;) {
        int e = buf_is_empty(in) ? ERR_AGAIN : metadata_read_trailers(in, arena, ret);
        if (e == 0)
            r->state = PIECES_OVER;
        if (e != ERR_AGAIN)
            return e;
        e = stream_read(s, in, READ_STEP_BYTES);
        if (e < 0)
            return e;
    }
}

int pieces_read(struct piece_reader *r, struct stream *s, struct buf *in, struct body *to,
                struct arena *arena, struct fields **trailers)
{
    int e = 0;
    while (e == 0) {
        switch (r->state) {
        case PIECE_LENGTH:
            e = read_length(r, s, in);
            break;
        case PIECE_BYTES:
            e = read_bytes(r, s, in, to);
            break;
        case PIECE_TRAILERS:
            e = read_trailers(r, s, in, arena, trailers);
            break;
        case PIECES_OVER:
            return 0;
        }
    }
    return e == ERR_EOF ? ERR_CUT : e;
}
