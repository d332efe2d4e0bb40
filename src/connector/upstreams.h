#pragma once
/* The services of a rule that has several, and how they are: one that cannot be reached is out of
 * turn for a while (1 s, doubling to 60 s), then one request tries it again. So is one that takes
 * requests and does not answer them; that one is back only when it answers. Health is learnt from
 * requests alone and shared by all workers: its fields are atomic, everything else is immutable.
 * Any thread. */
#include <stdatomic.h>

#include "base/clock.h"
#include "base/rand.h"
#include "connector/ingress.h"

#define UPSTREAMS_MAX 16 /* of one rule: each may be tried by one request */

#define UPSTREAM_SILENT_LEAST  4 /* requests without an answer: fewer may well be slow ones */
#define UPSTREAM_SILENT_PRESET (30 * NSEC_PER_SEC)

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
    _Atomic unsigned waiting;  /* requests that it has as a whole, and did not answer yet */
    _Atomic uint64_t heard_at; /* its last answer, or since when some wait, if that is later */
    _Atomic bool is_silent;    /* out of turn since it did not answer: only an answer helps */
};

struct upstreams {
    struct upstream list[UPSTREAMS_MAX];
    size_t count;
    enum balance balance;
    nsec silence; /* that takes one out of turn; 0 = none does */
    _Atomic unsigned turn;
};

/* One request's way through them; zeroed but for `of`. */
struct upstream_turn {
    struct upstreams *of; /* NULL: there is one service alone, and nothing here does anything */
    struct upstream *at;  /* who is asked now; or NULL */
    uint32_t tried;       /* by index */
    unsigned failures;    /* that it had when it was chosen */
    bool is_last_resort;  /* chosen though it is out of turn, since all are */
    bool waits, was_answered;
};

/* One that many requests wait for (UPSTREAM_SILENT_LEAST) and that answered none for `silence`,
 * while there is another in turn: it goes out of turn, and is returned. NULL when there is none. */
struct upstream *upstream_fell_silent(struct upstreams *u, nsec now);
/* Chooses whom to ask next; NULL when all were. */
const struct service *upstream_next(struct upstream_turn *t, nsec now);
/* Whether some were not tried yet. */
bool upstream_has_more(const struct upstream_turn *t);
/* It has the whole request: its turn to answer. Once for each that is asked. */
void upstream_asked(struct upstream_turn *t, nsec now);
/* It answered, whatever that was. True when it is in turn again by that. */
bool upstream_answered(struct upstream_turn *t, nsec now);
/* It is not asked any more. */
void upstream_leave(struct upstream_turn *t);
/* A new connection to it stands. True when it is in turn again by that. */
bool upstream_reached(struct upstream_turn *t);
/* It could not be reached, and is left. True when it goes out of turn by that; it is then tried
 * again after *ret_wait. */
bool upstream_missed(struct upstream_turn *t, nsec now, struct rng *rng, nsec *ret_wait);
/* Likewise, of one that took the request and did not answer in the time that it had. */
bool upstream_was_silent(struct upstream_turn *t, nsec now, struct rng *rng, nsec *ret_wait);
