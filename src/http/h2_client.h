#pragma once
/* HTTP/2 with an origin: carries one exchange over a stream of a connection that others share. It
 * has no task of its own: the right side that embeds it calls h2_client_run whenever it is woken.
 * Loop thread. */
#include "http/exchange.h"
#include "mux/h2.h"

struct h2_client {
    struct exchange *ex;
    struct h2_stream *s;
    struct buf in;
    struct deadline patience; /* how long the body waits for a 100 */
    bool waits_for_continue;
    bool is_up_over, is_head_in;
    bool got_any;     /* something of a response has come */
    bool body_taken;  /* some of the request's body was written */
    bool was_refused; /* the origin says that it did nothing with the request */
    const char *text; /* of a failure, static */
};

/* Sends the request's head. `task` is woken by the stream. 0; ERR_AGAIN: the connection has as many
 * streams as it takes; ERR_CLOSED: it takes no new ones; ERR_LIMIT, ERR_NOMEM. */
int h2_client_init(struct h2_client *c, struct exchange *ex, struct h2_conn *conn,
                   struct task *task) __attribute__((warn_unused_result));
/* Goes as far as it can: ERR_AGAIN; 0 when the exchange is complete; ERR_PROTO, ERR_CUT, or what
 * the stream says, with c->text. */
int h2_client_run(struct h2_client *c) __attribute__((warn_unused_result));
/* Whether the exchange may be tried again from its start: nothing of a response came, and nothing
 * of the body is lost. */
bool h2_client_is_fresh(const struct h2_client *c);
/* Lets the stream go. Safe on a zeroed one. */
void h2_client_done(struct h2_client *c);
