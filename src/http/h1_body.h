#pragma once
/* Bodies of HTTP/1.1 messages between received or outgoing bytes and an exchange: by reference,
 * with the framing put on or taken off. Used by both codecs. Loop thread. */
#include "codec/http1_chunked.h"
#include "http/exchange.h"

struct h1_reader {
    enum framing framing;
    bool until_close; /* FRAMING_STREAM without chunks: to the end of the connection */
    bool is_over;
    uint64_t left; /* of FRAMING_LENGTH */
    struct http1_chunked chunked;
};

/* A body of FRAMING_NONE is over at once. */
void h1_reader_init(struct h1_reader *r, enum framing framing, uint64_t length);
/* A body that ends with the connection: the caller says so with h1_reader_closed. */
void h1_reader_init_until_close(struct h1_reader *r);
/* Moves what fits. 0 when the body is over (then *trailers may have been set, in the arena);
 * ERR_AGAIN: more bytes or more room are needed; ERR_PARSE, ERR_TOOLARGE, ERR_NOMEM. */
int h1_reader_run(struct h1_reader *r, struct buf *in, struct body *to, struct arena *arena,
                  struct fields **trailers) __attribute__((warn_unused_result));
/* The connection ended in order and `in` is used up: 0 when that is the body's end, ERR_CUT. */
int h1_reader_closed(struct h1_reader *r);

struct h1_writer {
    enum framing framing;
    bool is_over; /* the last byte of framing is in `out` */
};

/* FRAMING_STREAM writes chunks; the others write the bytes as they are. */
void h1_writer_init(struct h1_writer *w, enum framing framing);
/* Moves what fits into *out, and the end once the body is over. 0, or ERR_NOMEM. */
int h1_writer_run(struct h1_writer *w, struct body *from, const struct fields *trailers,
                  struct buf *out) __attribute__((warn_unused_result));
