#pragma once
/* Connections to origins over HTTP/2 (http2Origin): one carries the exchanges of all that ask the
 * same origin, as many at once as the origin takes; another is dialled beyond. One pool for each
 * worker. Loop thread. */
#include "connector/origin.h"
#include "mux/h2.h"

struct origin_h2_pool;
/* `head_max`: bytes of a response's head; 0 = HEAD_BYTES_MAX. */
struct origin_h2_pool *origin_h2_pool_new(struct loop *loop, size_t head_max);
/* Closes every connection: their streams end. NULL is accepted. */
void origin_h2_pool_free(struct origin_h2_pool *p);

/* A connection to that target which takes another stream, or NULL. Borrowed, for this turn. */
struct h2_conn *origin_h2_find(struct origin_h2_pool *p, const struct origin_target *target);
/* Makes one of a connection whose TLS chose h2, and takes that over also when it fails. ERR_NOMEM.
 * Borrowed, for this turn. */
int origin_h2_adopt(struct origin_h2_pool *p, struct origin_conn *conn,
                    const struct origin_target *target, struct h2_conn **ret)
    __attribute__((warn_unused_result));
