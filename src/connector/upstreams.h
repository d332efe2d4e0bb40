#pragma once
/* The services of a rule that has several, and how they are: one that cannot be reached is out of
 * turn for a while (1 s, doubling to 60 s), then one request tries it again. Health is learnt from
 * requests alone and shared by all workers: its fields are atomic, everything else is immutable.
 * Any thread. */
#include <stdatomic.h>

#include "base/clock.h"
#include "base/rand.h"
#include "connector/ingress.h"

#define UPSTREAMS_MAX 16 /* of one rule: each may be tried by one request */

enum balance {
    BALANCE_FAILOVER,       /* the first that can be reached */
    BALANCE_ROUND_ROBIN,    /* each in turn */
    BALANCE_LEAST_REQUESTS, /* the one with the fewest under way */
};

struct upstream {
    struct service service;
    _Atomic unsigned open;     /* requests that ask it now */
    _Atomic unsigned failures; /* in a row; 0: it is in turn */
    _Atomic uint64_t retry_at; /* of one that is not: when it is tried again */
};

struct upstreams {
    struct upstream list[UPSTREAMS_MAX];
    size_t count;
    enum balance balance;
    _Atomic unsigned turn;
};

/* One request's way through them; zeroed but for `of`. */
struct upstream_turn {
    struct upstreams *of; /* NULL: there is one service alone, and nothing here does anything */
    struct upstream *at;  /* who is asked now; or NULL */
    uint32_t tried;       /* by index */
    unsigned failures;    /* that it had when it was chosen */
    bool is_last_resort;  /* chosen though it is out of turn, since all are */
};

/* Chooses whom to ask next; NULL when all were. */
const struct service *upstream_next(struct upstream_turn *t, nsec now);
/* Whether some were not tried yet. */
bool upstream_has_more(const struct upstream_turn *t);
/* It is not asked any more. */
void upstream_leave(struct upstream_turn *t);
/* A new connection to it stands. True when it is in turn again by that. */
bool upstream_reached(struct upstream_turn *t);
/* It could not be reached, and is left. True when it goes out of turn by that; it is then tried
 * again after *ret_wait. */
bool upstream_missed(struct upstream_turn *t, nsec now, struct rng *rng, nsec *ret_wait);
