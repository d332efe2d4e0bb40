#pragma once
/* How an edge that stops, or that another has taken over from, sends connectors away: one
 * connection's part in it, embedded in its session. Loop thread. */
#include "base/clock.h"
#include "edge/link.h"

struct edge_worker;

struct leaving {
    bool is_leaving; /* it takes no more exchanges, and goes when it has none */
    bool had_kin;    /* its connector had other connections */
    nsec last_call;  /* the edge behind us was told that nothing may come any more; 0 = not */
    nsec not_before; /* that is not told again before */
};

/* To be called again and again; true when the connection is to be closed. */
bool leaving_step(struct leaving *x, struct edge_worker *w, struct link *l);
