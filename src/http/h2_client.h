#pragma once
/* HTTP/2 with an origin, or at the edge with a connector: carries one exchange over a stream of a
 * connection that others share. It has no task of its own: the right side that embeds it calls
 * h2_client_run whenever it is woken. Loop thread. */
#include "http/exchange.h"
#include "mux/h2.h"

struct h2_client;

/* How a hop with words of its own (the tunnel, tunnel/h2_client.h) has its heads; HTTP otherwise.
 */
struct h2_client_dialect {
    /* The head of the request, and whether nothing follows it; what it views is in the arena.
     * ERR_NOMEM. */
    int (*request)(struct exchange *ex, struct h2_send_head *ret, bool *ret_ends);
    /* A response that came, interim ones too. ERR_ORIGIN: there is none, c->failure and c->text say
     * why. ERR_PROTO, ERR_LIMIT, ERR_NOMEM. */
    int (*response)(struct h2_client *c, const struct h2_head *h, struct response **ret);
};

struct h2_client {
    struct exchange *ex;
    const struct h2_client_dialect *dialect; /* or NULL */
    struct h2_stream *s;
    struct buf in;
    struct deadline patience; /* how long the body waits for a 100 */
    bool waits_for_continue;
    bool is_up_over, is_head_in;
    bool got_any;         /* something of a response has come */
    bool body_taken;      /* some of the request's body was written */
    bool was_refused;     /* the origin says that it did nothing with the request */
    uint64_t down_left;   /* of a body whose length the head told; else UINT64_MAX */
    enum failure failure; /* of ERR_ORIGIN */
    const char *text;     /* of a failure, static or in the exchange's arena */
};

/* Sends the request's head. `task` is woken by the stream; `dialect` is static, or NULL. 0;
 * ERR_AGAIN: the connection has as many streams as it takes; ERR_CLOSED: it takes no new ones;
 * ERR_LIMIT, ERR_NOMEM. */
int h2_client_init(struct h2_client *c, struct exchange *ex, struct h2_conn *conn,
                   struct task *task, const struct h2_client_dialect *dialect)
    __attribute__((warn_unused_result));
/* Goes as far as it can: ERR_AGAIN; 0 when the exchange is complete; ERR_PROTO, ERR_CUT, or what
 * the stream says, with c->text. */
int h2_client_run(struct h2_client *c) __attribute__((warn_unused_result));
/* Whether the exchange may be tried again from its start: nothing of a response came, and nothing
 * of the body is lost. */
bool h2_client_is_fresh(const struct h2_client *c);
/* Lets the stream go. Safe on a zeroed one. */
void h2_client_done(struct h2_client *c);
