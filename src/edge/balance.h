#pragma once
/* Which replica of its tunnel an exchange goes to, by what the operator said of the hostname
 * (model/balance.h), and the cookie that brings a visitor back to a replica. Health comes first:
 * what does not answer is avoided whatever the policy says. Without a rule it is link_table_pick.
 *
 * A choice walks the tunnel's links a few times and allocates nothing. Loop thread. */
#include "edge/link.h"
#include "http/exchange.h"
#include "net/addr.h"

#define AFFINITY_COOKIE_NAME "adit_replica"
#define AFFINITY_VALUE_BYTES 33

enum affinity_result {
    AFFINITY_UNUSED,
    AFFINITY_FOUND, /* the replica of the cookie takes it */
    AFFINITY_LOST,  /* it is gone: another is chosen, for good */
    AFFINITY_AWAY,  /* it does not answer now: another is chosen, for once */
    AFFINITY_NEW,   /* there was no cookie */
};

/* What the choices for one exchange depend on beside the links. Zeroed: nothing. */
struct balance_ask {
    struct balance_rule *rule; /* counted; NULL = the preset */
    uint64_t visitor;          /* of its address */
    uint64_t secret[2];        /* of the edge, for the cookie */
    bool has_cookie, is_https;
    uint64_t connector_tag, label_tag; /* of the cookie; label_tag 0 = the replica had none */
    enum affinity_result result;       /* of the last choice */
};

/* Takes a reference of the rule, and the edge's cookie out of the request: it is nobody else's
 * business. `rule` NULL is accepted. ERR_NOMEM. */
int balance_ask_init(struct balance_ask *a, struct balance_rule *rule, const uint64_t secret[2],
                     struct exchange *ex, const struct addr *visitor, bool is_https)
    __attribute__((warn_unused_result));
/* Gives the reference back. Safe on a zeroed one. */
void balance_ask_done(struct balance_ask *a);
/* The link for one attempt; NULL when there is none. Borrowed. */
struct link *balance_pick(struct link_table *t, const struct uuid *tunnel, struct balance_ask *a,
                          unsigned near, struct rng *rng, nsec now, const struct link_tried *tried);
/* The value of Set-Cookie after a choice, in the arena; NULL when none is to be set, and when
 * memory is short. */
const char *balance_cookie(const struct balance_ask *a, const struct link *l, struct arena *arena);
/* What the cookie of a link's replica says: of its connector, and of its label (0 = it has none).
 */
uint64_t affinity_connector_tag(const struct balance_ask *a, const struct link *l);
uint64_t affinity_label_tag(const struct balance_ask *a, const struct link *l);
/* "hit", for logs; static. */
const char *affinity_result_text(enum affinity_result r);
