#pragma once
/* HTTP/1.1 with an origin: carries one exchange over a connection. It has no task of its own: the
 * right side that embeds it calls h1_client_run whenever it is woken. Loop thread. */
#include "http/h1_body.h"
#include "http/h1_head.h"
#include "net/stream.h"

struct h1_client {
    struct exchange *ex;
    struct stream *s; /* borrowed: the embedding side opened it and decides what becomes of it */
    size_t head_max;  /* bytes of a head of the response */
    struct buf in, out;
    struct http1_scan scan;
    struct h1_writer up;
    struct h1_reader down;
    struct deadline patience; /* how long the body waits for a 100 */
    bool waits_for_continue;
    bool head_in, in_over;
    bool got_any;     /* some byte of a response has come */
    bool body_taken;  /* some of the request's body was written */
    bool is_reusable; /* after 0 from run: the connection may serve another exchange */
    const char *text; /* of a malformed response, static */
};

/* Writes the request's head. `task` owns the stream and is woken by it. 0, ERR_LIMIT, ERR_NOMEM. */
int h1_client_init(struct h1_client *c, struct exchange *ex, struct stream *s, struct task *task,
                   const struct h1_request_opts *opts) __attribute__((warn_unused_result));
/* Goes as far as it can: ERR_AGAIN; 0 when the exchange is complete; ERR_PROTO (malformed response,
 * c->text), ERR_CUT (it broke off), or what the stream says. */
int h1_client_run(struct h1_client *c) __attribute__((warn_unused_result));
/* Whether the whole request is out: the origin's turn. */
bool h1_client_has_sent(const struct h1_client *c);
/* Whether a failure may come from a pooled connection that the origin had closed meanwhile: nothing
 * of a response came, and nothing of the body is lost. */
bool h1_client_is_fresh(const struct h1_client *c);
/* Safe on a zeroed one. The stream stays the embedding side's. */
void h1_client_done(struct h1_client *c);
