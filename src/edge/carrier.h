#pragma once
/* The connection that carries a connector's streams, whichever transport it is: what a session
 * needs of QUIC and of HTTP/2. Owned by one session. Loop thread. */
#include "mux/h2.h"
#include "mux/quic.h"

struct edge_worker;

struct carrier {
    struct quic_conn *quic; /* one of the two */
    struct h2_conn *h2;
    struct h2_stream *h2_control;
    bool has_control; /* the control stream was given away */
    struct addr peer;
    char why[160]; /* of its end */
    int err;       /* likewise; ERR_PROTO and ERR_LIMIT are the connector's faults */
};

void carrier_init_quic(struct carrier *c, struct quic_conn *conn, struct task *owner);
/* A TLS stream whose handshake is over; taken over, also on failure. The control stream is asked
 * for at once (docs/protocol.md §10.1). 0, ERR_NOMEM, ERR_LIMIT. */
int carrier_init_h2(struct carrier *c, struct loop *loop, struct stream *tls,
                    const struct addr *peer, struct task *owner)
    __attribute__((warn_unused_result));
/* To the edge before us (edge/stand_in.h): without a control stream; taken over, also on failure.
 */
int carrier_init_stand_in(struct carrier *c, struct loop *loop, struct stream *s,
                          struct task *owner) __attribute__((warn_unused_result));
/* Lets everything go. Safe on a zeroed one. */
void carrier_done(struct carrier *c);

/* True when it is gone; c->why then says why. */
bool carrier_is_closed(struct carrier *c);
/* The control stream, once: 0, ERR_AGAIN, ERR_PROTO. Refuses whatever else the connector opens. */
int carrier_control(struct carrier *c, struct task *owner, struct stream **ret)
    __attribute__((warn_unused_result));
/* How the connector's silence is to be read. */
struct carrier_health {
    bool is_owed;     /* nothing has come since something was sent */
    nsec silent_for;  /* since it owes us a sign of life; 0 = it owes none */
    nsec patience;    /* longer than that is suspicious */
    nsec give_up;     /* longer than that is the end */
    uint64_t written; /* bytes that were ever sent: whether there is anything new to watch */
};
/* Asks for a sign of life where the transport does not do so by itself. */
struct carrier_health carrier_health(struct carrier *c, nsec now);
/* Has the connector give a sign of life. */
void carrier_probe(struct carrier *c);
/* The round trip that was measured last; 0 = none. */
nsec carrier_rtt(const struct carrier *c);
static inline const char *carrier_name(const struct carrier *c)
{
    return c->quic != NULL ? "quic" : "http2";
}
