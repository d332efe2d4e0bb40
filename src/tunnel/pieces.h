#pragma once
/* A body with trailers on a data stream, where both ends can (EXTENSION_TRAILERS, docs/protocol.md
 * §17): pieces with their length in front, after the last one a length of zero and the trailers as
 * a head. A body without trailers stays the stream's bytes as they are. Loop thread. */
#include "http/exchange.h"
#include "net/stream.h"

#define PIECE_LENGTH_BYTES 4 /* the most significant first */

struct piece_writer {
    bool is_over; /* the trailers are in `out` */
};

/* Moves what fits into *out, and the trailers (or NULL) behind a body that is over. 0; ERR_LIMIT,
 * ERR_NOMEM. */
int pieces_write(struct piece_writer *w, struct body *from, const struct fields *trailers,
                 struct arena *arena, struct buf *out) __attribute__((warn_unused_result));

enum piece_state { PIECE_LENGTH, PIECE_BYTES, PIECE_TRAILERS, PIECES_OVER };

struct piece_reader {
    enum piece_state state;
    uint32_t left; /* of this piece */
};

/* Moves what came: from *in first, which holds what was read before and what is not data, then from
 * the stream. 0 when the body is over (*trailers may have been set, in the arena); ERR_AGAIN: more
 * bytes or more room are needed; ERR_CUT: the stream ended before; ERR_PROTO, ERR_PARSE,
 * ERR_LIMIT; or what the stream says. */
int pieces_read(struct piece_reader *r, struct stream *s, struct buf *in, struct body *to,
                struct arena *arena, struct fields **trailers) __attribute__((warn_unused_result));
