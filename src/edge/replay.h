#pragma once
/* A request's body, kept while it may have to be sent once more: its first REPLAY_BYTES_MAX bytes,
 * by reference. Embedded; zeroed is "nothing is kept". Loop thread. */
#include "http/exchange.h"

struct replay {
    struct buf kept;
    uint64_t seen;       /* bytes of the body that are in `kept` */
    bool is_on, is_lost; /* lost: the body is longer, or memory was short */
};

/* Keeps the body of this exchange from now on; nothing of it may have been taken. */
void replay_init(struct replay *r, struct exchange *ex);
/* To be called before anything of the body is taken: keeps what has come since. */
void replay_keep(struct replay *r, const struct exchange *ex);
/* Whether the body can begin anew. */
static inline bool replay_can(const struct replay *r)
{
    return r->is_on && !r->is_lost;
}
/* The body begins anew: what was taken is there again. ERR_NOMEM. */
int replay_again(struct replay *r, struct exchange *ex) __attribute__((warn_unused_result));
/* Lets go. Safe on a zeroed one. */
void replay_done(struct replay *r);
