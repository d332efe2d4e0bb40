#pragma once
/* HTTP/1.1 with a visitor (or an API client): the left side of exchanges, one after the other on
 * each connection. Loop thread.
 *
 * Connections belong to a group, which holds what they share: where requests go, limits, who is
 * told. A connection frees itself when it is over; the group's owner is woken then. */
#include "http/exchange.h"
#include "net/addr.h"
#include "net/stream.h"

struct h1_conn;

/* Gives an exchange its right side, or a response at once (http/page.h), or fails it. The request
 * is complete but for its body. May change the request's fields. Called from the connection's run,
 * never from a callback. */
typedef void h1_route(void *ctx, struct exchange *ex, const struct h1_conn *conn);

/* Once for each exchange, when its final response is there and before its head is written: may
 * change the head's fields. Called from the connection's run. NULL = nobody. */
typedef void h1_head(void *ctx, struct exchange *ex);

/* Told once for each exchange, when nothing of it will change any more: for access logs and
 * counters. NULL = nobody. */
typedef void h1_done(void *ctx, const struct exchange *ex, const struct h1_conn *conn);

/* A head that was refused before there was an exchange. */
struct h1_refused_head {
    const char *id; /* that the visitor was told */
    unsigned status;
    enum failure failure;
    const char *why;
    size_t bytes_down; /* of the answer's body */
};
/* Told of each of them. NULL = nobody. */
typedef void h1_refused(void *ctx, const struct h1_refused_head *head, const struct h1_conn *conn);

struct h1_group {
    struct loop *loop;
    struct task *owner; /* woken when a connection ends */
    h1_route *route;
    h1_head *head_out;
    h1_done *done;
    h1_refused *refused;
    const char
        *ray; /* what follows the request's id in Cf-Ray of a refusal; NULL = no such field */
    void *ctx;
    size_t head_max;  /* bytes of a request's head; HEAD_BYTES_MAX at first */
    nsec idle;        /* kept alive without a request; 0 = VISITOR_IDLE_MS */
    nsec head;        /* first byte to end of head; 0 = VISITOR_HEAD_MS */
    nsec stall;       /* a body without progress; 0 = VISITOR_STALL_MS */
    uint64_t rate;    /* bytes a second of a body that waits, over `stall`; 0 = any byte counts */
    nsec half;        /* silence after the visitor's end; 0 = VISITOR_HALF_MS */
    bool is_draining; /* set by h1_group_drain */
    size_t count;
    struct list conns;
    struct list waiting; /* those of them without a request, who waits longest first */
};

void h1_group_init(struct h1_group *g, struct loop *loop, struct task *owner, h1_route *route,
                   void *ctx);
/* Idle connections end in a moment, unless a request is on its way; the others after their exchange
 * (Connection: close). */
void h1_group_drain(struct h1_group *g);
/* Ends in order what can (exchange_part). Returns how many were asked. */
size_t h1_group_part(struct h1_group *g, enum parting parting);
/* Makes room: aborts the connection that has been without a request for the longest. False when
 * each has one. Not from within a connection's run. */
bool h1_group_evict(struct h1_group *g);
/* Aborts every connection. They are freed at the end of the turn: turn the loop once before freeing
 * it. */
void h1_group_abort(struct h1_group *g);

/* Serves a connection; the stream is taken over. `scheme`: "http" or "https", static. ERR_NOMEM. */
int h1_serve(struct h1_group *g, struct stream *transport, const struct addr *peer,
             const char *scheme) __attribute__((warn_unused_result));

const struct addr *h1_conn_peer(const struct h1_conn *c);
const char *h1_conn_scheme(const struct h1_conn *c);
/* Number of this exchange on its connection, from 1. */
uint64_t h1_conn_requests(const struct h1_conn *c);
