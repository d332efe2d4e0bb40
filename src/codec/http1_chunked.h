#pragma once
/* Chunked transfer coding (RFC 9112 §7.1), one direction. Pure; any thread. The decoder keeps no
 * data: it says how many of the bytes at hand are framing and how many that follow are data, so
 * data can be moved by reference. Resumable at any byte.
 *
 *     for (;;) {
 *         int r = http1_chunked_next(&c, buf_front(in), &framing);
 *         buf_drop(in, framing);
 *         if (r == 0) http1_chunked_took(&c, buf_move(out, in, room < c.left ? room : c.left));
 *         else ERR_AGAIN: more bytes; ERR_EOF: the body is over, what follows is not of it
 *     }
 */
#include "base/arena.h"
#include "codec/http1.h"

enum http1_chunked_state {
    HTTP1_CHUNKED_SIZE, /* at the first digit */
    HTTP1_CHUNKED_DIGITS,
    HTTP1_CHUNKED_BEFORE_SEMICOLON, /* optional space (RFC 9112 §7.1.1) */
    HTTP1_CHUNKED_BEFORE_NAME,
    HTTP1_CHUNKED_NAME,
    HTTP1_CHUNKED_BEFORE_EQUALS,
    HTTP1_CHUNKED_BEFORE_VALUE,
    HTTP1_CHUNKED_VALUE,
    HTTP1_CHUNKED_QUOTED,
    HTTP1_CHUNKED_ESCAPED,
    HTTP1_CHUNKED_AFTER_QUOTED,
    HTTP1_CHUNKED_SIZE_LF,
    HTTP1_CHUNKED_DATA,
    HTTP1_CHUNKED_DATA_CR,
    HTTP1_CHUNKED_DATA_LF,
    HTTP1_CHUNKED_TRAILER,
    HTTP1_CHUNKED_OVER,
    HTTP1_CHUNKED_BROKEN,
};

struct http1_chunked {
    enum http1_chunked_state state;
    uint64_t left;       /* data bytes of this chunk still to come */
    unsigned digits;     /* of the size */
    unsigned line_bytes; /* of the size's line, bounded by CHUNK_LINE_BYTES_MAX */
    int err;             /* of HTTP1_CHUNKED_BROKEN */
    enum http1_why why;
    struct arena *arena;
    uint8_t *trailer; /* the trailer section's bytes, in the arena, bounded by TRAILER_BYTES_MAX */
    size_t trailer_bytes, trailer_cap;
    struct http1_field *trailers; /* after ERR_EOF; without those that may not be trailers */
    size_t trailers_count;
};

/* `arena` holds the trailers, if any come, and nothing else. */
void http1_chunked_init(struct http1_chunked *c, struct arena *arena);

/* Reads framing from the front of `bytes`. *ret_framing, set on every return, is what it took; 0:
 * c->left (> 0) bytes of data follow, of which `bytes` may hold none yet; ERR_AGAIN: all was taken;
 * ERR_EOF: all of the body has been. Errors stick: ERR_PARSE, ERR_TOOLARGE with c->why, ERR_NOMEM.
 */
int http1_chunked_next(struct http1_chunked *c, struct slice bytes, size_t *ret_framing)
    __attribute__((warn_unused_result));

/* n ≤ c->left bytes of data were taken. */
void http1_chunked_took(struct http1_chunked *c, uint64_t n);

/* Both in one, for whole slices: takes framing and one run of data off the front of *bytes. 0: *ret
 * is data, never empty; else as http1_chunked_next. */
int http1_chunked_feed(struct http1_chunked *c, struct slice *bytes, struct slice *ret)
    __attribute__((warn_unused_result));

/* The line before a chunk's data: "1a\r\n". Its data is followed by "\r\n", the last chunk is
 * "0\r\n", trailers and an empty line. Returns the bytes written; size > 0. */
#define HTTP1_CHUNK_LINE_BYTES 18
size_t http1_chunk_line(uint64_t size, uint8_t out[static HTTP1_CHUNK_LINE_BYTES]);
