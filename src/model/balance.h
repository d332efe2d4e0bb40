#pragma once
/* How the requests of a hostname are shared among the replicas (connectors) of its tunnel: what an
 * operator says, as a value, and as the JSON of the API and of the store. */
#include <stdatomic.h>

#include "base/fault.h"
#include "base/text.h"
#include "codec/json.h"

enum balance_policy {
    BALANCE_LEAST_REQUESTS,
    BALANCE_ROUND_ROBIN,
    BALANCE_RANDOM,
    BALANCE_HASH, /* of the visitor's address */
    BALANCE_POLICIES
};
enum balance_affinity { AFFINITY_NONE, AFFINITY_COOKIE, AFFINITY_ADDRESS, AFFINITIES };

#define REPLICA_LABEL_BYTES_MAX 56 /* with its prefix it fits the features of a registration */
#define REPLICA_LABEL_BYTES     (REPLICA_LABEL_BYTES_MAX + 1)
#define REPLICA_LABEL_PREFIX    "label:"

#define BALANCE_WEIGHTS_MAX 32 /* each choice looks through them for each replica */
#define BALANCE_WEIGHT_MAX  1000
#define BALANCE_TTL_MAX     (30 * 86400) /* seconds: a visitor who comes back later is a new one */
#define BALANCE_TTL_PRESET  86400
#define BALANCE_REST        "*" /* names the replicas that no other weight names */
#define BALANCE_TEXT_BYTES  8192

struct balance_weight {
    char replica[REPLICA_LABEL_BYTES]; /* a label, or the id of a connector */
    bool is_connector;
    struct uuid connector; /* then */
    unsigned weight;
};

struct balance {
    enum balance_policy policy;
    enum balance_affinity affinity;
    uint32_t affinity_ttl; /* seconds */
    struct balance_weight weights[BALANCE_WEIGHTS_MAX];
    size_t weight_count;
    unsigned rest; /* weight of the replicas that none names; counts where there are weights */
    bool has_rest; /* it was said; otherwise it is what is missing to 100 */
};

/* What a route without a word of its own does. */
struct balance balance_preset(void);
bool balance_is_preset(const struct balance *b);
/* The object of the API: policy, weights, affinity, affinity_ttl; what is absent is preset. The
 * fault says which member is wrong and what it may be. ERR_INVALID. */
int balance_read(const json_t *object, struct balance *ret, struct fault *fault)
    __attribute__((warn_unused_result));
/* That object, every member of it; NULL when memory is short. */
json_t *balance_json(const struct balance *b);
/* "round-robin"; static. */
const char *balance_policy_text(enum balance_policy policy);

/* A label that may be shown: valid UTF-8 without control characters, not empty, not too long. */
bool replica_label_is_valid(struct slice label);
/* The label that a list of features has, as "label:NAME"; "" when there is none that is valid. */
void replica_label_of(const struct slice *features, size_t count,
                      char ret[static REPLICA_LABEL_BYTES]);
/* A replica as the hash policy knows it: the same at each edge and after each restart. */
uint64_t replica_key(struct slice name);

/* The same in use: counted, read by every worker. */
struct balance_rule {
    _Atomic unsigned refs;
    struct balance balance;
    /* Round-robin: whose turn it is among the weights, and among the replicas of each. */
    _Atomic uint64_t turn, turns[BALANCE_WEIGHTS_MAX + 1];
};
struct balance_rule *balance_rule_new(const struct balance *b); /* NULL when memory is short */
struct balance_rule *balance_rule_ref(struct balance_rule *r);  /* NULL is accepted, and given */
void balance_rule_unref(struct balance_rule *r);                /* NULL is accepted; any thread */
