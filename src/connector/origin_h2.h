#pragma once
/* Connections to origins over HTTP/2 (http2Origin): one carries the exchanges of all that ask the
 * same origin, as many at once as the origin takes; another is dialled beyond. While one is dialled
 * others wait for it. One that is silent while requests wait on it is asked for a sign
 * of life: never an idle one, since origins hang up on who pings for nothing. One pool for each
 * worker. Loop thread. */
#include "connector/origin.h"
#include "mux/h2.h"

struct origin_h2_pool;
/* `head_max`: bytes of a response's head; 0 = HEAD_BYTES_MAX. */
struct origin_h2_pool *origin_h2_pool_new(struct loop *loop, size_t head_max);
/* Closes every connection: their streams end. NULL is accepted. */
void origin_h2_pool_free(struct origin_h2_pool *p);

/* Who dials such a connection says so, once for each; NULL when somebody does already, or memory is
 * short. The end wakes who waits: the connection is there (adopted before), or there is none. */
struct origin_h2_dial;
struct origin_h2_dial *origin_h2_dial_begin(struct origin_h2_pool *p,
                                            const struct origin_target *target);
void origin_h2_dial_end(struct origin_h2_dial *d); /* NULL is accepted */

/* Embedded; zeroed is "does not wait". */
struct origin_h2_wait {
    struct list node;
    struct origin_h2_dial *dial; /* waited for */
    struct task *task;
};
/* Waits for whoever dials that target now. False: nobody does, or too many wait already. */
bool origin_h2_wait_begin(struct origin_h2_pool *p, const struct origin_target *target,
                          struct origin_h2_wait *w, struct task *task);
static inline bool origin_h2_is_waiting(const struct origin_h2_wait *w)
{
    return w->dial != NULL;
}
void origin_h2_wait_end(struct origin_h2_wait *w);

/* A connection to that target which takes another stream, or NULL. Borrowed, for this turn. */
struct h2_conn *origin_h2_find(struct origin_h2_pool *p, const struct origin_target *target);
/* Makes one of a connection whose TLS chose h2, and takes that over also when it fails. ERR_NOMEM.
 * Borrowed, for this turn. */
int origin_h2_adopt(struct origin_h2_pool *p, struct origin_conn *conn,
                    const struct origin_target *target, struct h2_conn **ret)
    __attribute__((warn_unused_result));
