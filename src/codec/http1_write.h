#pragma once
/* Writes the heads of HTTP/1.1 messages into a buf. Errors stick: write everything and look at the
 * result of http1_write_end, which is all or nothing: after a failure the buf is as it was. Names
 * and values that could break out of their line are refused (ERR_INVALID). One thread.
 *
 * Between http1_write_request or _status and http1_write_end nobody else may touch the buf: a head
 * is built in the space behind its last byte. http1_write_end must follow. */
#include "base/buf.h"
#include "base/slice.h"

struct http1_writer {
    struct buf *to;
    uint8_t *p; /* space in the buf, or memory of our own when that was too small */
    size_t n, cap, max;
    bool is_own;
    int err; /* 0, ERR_INVALID, ERR_LIMIT, ERR_NOMEM */
};

/* Starts a request in HTTP/1.1: the target is written as it is, visible ASCII alone. */
void http1_write_request(struct http1_writer *w, struct buf *to, struct slice method,
                         struct slice target);
/* Starts a response in HTTP/1.1; 100 ≤ status ≤ 999, the reason may be empty (RFC 9112 §4). */
void http1_write_status(struct http1_writer *w, struct buf *to, unsigned status,
                        struct slice reason);
void http1_write_field(struct http1_writer *w, struct slice name, struct slice value);
void http1_write_field_u64(struct http1_writer *w, struct slice name, uint64_t value);
/* The empty line. 0, or the error that stuck: ERR_LIMIT when the buf has no room. */
int http1_write_end(struct http1_writer *w) __attribute__((warn_unused_result));

/* Starts the last chunk of a chunked body: trailer fields and http1_write_end follow. */
void http1_write_last_chunk(struct http1_writer *w, struct buf *to);
