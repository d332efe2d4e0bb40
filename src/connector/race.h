#pragma once
/* One dial of the edge, by the transports that are allowed: QUIC first, and HTTP/2 beside it when
 * nothing comes back for a moment or when QUIC fails; whichever opens first is taken. It has no
 * task of its own: whoever embeds it calls race_run when it is woken. Loop thread. */
#include "connector/transport.h"

/* --protocol */
enum protocol { PROTOCOL_AUTO, PROTOCOL_QUIC, PROTOCOL_H2 };

struct race {
    struct transport_dial dial;
    struct metric_set *metrics;
    enum protocol protocol;
    struct transport *tries[TRANSPORT_KINDS]; /* by kind; NULL: failed, or not begun */
    bool has_begun[TRANSPORT_KINDS];
    struct deadline rival; /* then HTTP/2 begins too */
    int err;               /* of what failed, and the reasons of both */
    char why[256];
};

/* Begins. `h2_first`: of both, HTTP/2 alone, because QUIC has just disappointed. The dial's
 * addresses are copied. */
void race_start(struct race *r, const struct transport_dial *dial, enum protocol protocol,
                bool h2_first, struct metric_set *metrics);
/* 0: *ret is open and the caller's, the other is given up; ERR_AGAIN; or everything has failed:
 * r->err, r->why. */
int race_run(struct race *r, struct transport **ret) __attribute__((warn_unused_result));
/* Gives up what is under way. Safe on a zeroed one. */
void race_done(struct race *r);

/* Closes a transport and counts it; NULL is accepted. */
void race_let_go(struct metric_set *metrics, struct transport *t);
