#include "model/balance.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/map.h"

static const char *const POLICIES[BALANCE_POLICIES] = { "least-requests", "round-robin", "random",
                                                        "hash" };
static const char *const AFFINITY_WORDS[AFFINITIES] = { "none", "cookie", "address" };

struct balance balance_preset(void)
{
    return (struct balance){ .policy = BALANCE_LEAST_REQUESTS,
                             .affinity = AFFINITY_NONE,
                             .affinity_ttl = BALANCE_TTL_PRESET };
}

bool balance_is_preset(const struct balance *b)
{
    return b->policy == BALANCE_LEAST_REQUESTS && b->affinity == AFFINITY_NONE &&
           b->weight_count == 0 && !b->has_rest && b->affinity_ttl == BALANCE_TTL_PRESET;
}

const char *balance_policy_text(enum balance_policy policy)
{
    return POLICIES[policy];
}

/* ---- labels ---- */

bool replica_label_is_valid(struct slice label)
{
    if (label.n == 0 || label.n > REPLICA_LABEL_BYTES_MAX || !slice_is_utf8(label))
        return false;
    for (size_t i = 0; i < label.n; i++) {
        bool is_c1 = label.p[i] == 0xc2 && i + 1 < label.n && label.p[i + 1] < 0xa0;
        if (label.p[i] < 0x20 || label.p[i] == 0x7f || is_c1) /* a terminal would obey it */
            return false;
    }
    return true;
}

void replica_label_of(const struct slice *features, size_t count,
                      char ret[static REPLICA_LABEL_BYTES])
{
    static const struct slice PREFIX = { (const uint8_t *)REPLICA_LABEL_PREFIX,
                                         sizeof REPLICA_LABEL_PREFIX - 1 };
    ret[0] = 0;
    for (size_t i = 0; i < count; i++) {
        struct slice label = slice_sub(features[i], PREFIX.n, SIZE_MAX);
        if (!slice_starts(features[i], PREFIX) || !replica_label_is_valid(label))
            continue;
        memcpy(ret, label.p, label.n);
        ret[label.n] = 0;
        return;
    }
}

uint64_t replica_key(struct slice name)
{
    static const uint64_t SEED[2] = { 0x61646974, 0x7265706c6963 };
    return map_hash(SEED, name);
}

/* ---- from JSON ---- */

static int read_word(const json_t *object, const char *key, const char *const *words, int count,
                     int *ret, struct fault *f)
{
    const json_t *value = json_object_get(object, key);
    struct slice text = json_member_slice(object, key);
    if (value == NULL)
        return 0;
    for (int i = 0; i < count; i++)
        if (slice_eq(text, slice_str(words[i]))) {
            *ret = i;
            return 0;
        }
    return count == AFFINITIES ? fault_set(f, ERR_INVALID, "%s must be %s, %s or %s", key, words[0],
                                           words[1], words[2])
                               : fault_set(f, ERR_INVALID, "%s must be %s, %s, %s or %s", key,
                                           words[0], words[1], words[2], words[3]);
}

static int read_weight(const char *name, const json_t *value, struct balance *b, struct fault *f)
{
    json_int_t weight = json_integer_value(value);
    struct slice replica = slice_str(name);
    if (!replica_label_is_valid(replica))
        return fault_set(f, ERR_INVALID,
                         "weights: a replica is named by its label, of 1 to %d bytes without "
                         "control characters, or by its connector id",
                         REPLICA_LABEL_BYTES_MAX);
    if (!json_is_integer(value) || weight < 0 || weight > BALANCE_WEIGHT_MAX)
        return fault_set(f, ERR_INVALID, "weights: that of %s must be a whole number from 0 to %d",
                         name, BALANCE_WEIGHT_MAX);
    if (slice_eq(replica, SLICE(BALANCE_REST))) {
        b->rest = (unsigned)weight;
        b->has_rest = true;
        return 0;
    }
    if (b->weight_count == BALANCE_WEIGHTS_MAX)
        return fault_set(f, ERR_INVALID, "weights: %d replicas may be named, not more",
                         BALANCE_WEIGHTS_MAX);
    struct balance_weight *w = &b->weights[b->weight_count++];
    *w = (struct balance_weight){ .weight = (unsigned)weight };
    memcpy(w->replica, replica.p, replica.n);
    w->is_connector = replica.n == UUID_TEXT_BYTES - 1 && uuid_parse(replica, &w->connector) == 0;
    return 0;
}

static int read_weights(const json_t *object, struct balance *b, struct fault *f)
{
    json_t *weights = json_object_get(object, "weights"), *value;
    const char *name;
    uint64_t sum = 0;
    if (weights == NULL)
        return 0;
    if (!json_is_object(weights))
        return fault_set(f, ERR_INVALID,
                         "weights must be an object, such as {\"canary\": 5, \"stable\": 95}");
    json_object_foreach(weights, name, value)
    {
        int r = read_weight(name, value, b, f);
        if (r < 0)
            return r;
        sum += (uint64_t)json_integer_value(value);
    }
    if (b->has_rest && b->weight_count == 0)
        return fault_set(f, ERR_INVALID,
                         "weights: " BALANCE_REST " is what no other weight names, and there is no "
                         "other");
    if (b->weight_count > 0 && !b->has_rest)
        b->rest = sum < 100 ? (unsigned)(100 - sum) : 0;
    return 0;
}

static int read_ttl(const json_t *object, struct balance *b, struct fault *f)
{
    const json_t *value = json_object_get(object, "affinity_ttl");
    json_int_t ttl = json_integer_value(value);
    if (value == NULL)
        return 0;
    if (!json_is_integer(value) || ttl < 1 || ttl > BALANCE_TTL_MAX)
        return fault_set(f, ERR_INVALID, "affinity_ttl must be a number of seconds from 1 to %d",
                         BALANCE_TTL_MAX);
    if (b->affinity != AFFINITY_COOKIE)
        return fault_set(f, ERR_INVALID,
                         "affinity_ttl is the life of the cookie: it wants affinity to be cookie");
    b->affinity_ttl = (uint32_t)ttl;
    return 0;
}

/* A member that nobody reads is a mistyped one. */
static int check_members(const json_t *object, struct fault *f)
{
    static const char *const KNOWN[] = { "policy", "weights", "affinity", "affinity_ttl" };
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        bool is_known = false;
        for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++)
            is_known |= strcmp(name, KNOWN[i]) == 0;
        if (!is_known)
            return fault_set(
                f, ERR_INVALID,
                "there is no member %s; policy, weights, affinity and affinity_ttl are "
                "known",
                replica_label_is_valid(slice_str(name)) ? name : "of that name");
    }
    return 0;
}

int balance_read(const json_t *object, struct balance *ret, struct fault *fault)
{
    struct balance b = balance_preset();
    int policy = BALANCE_LEAST_REQUESTS, affinity = AFFINITY_NONE;
    if (!json_is_object(object))
        return fault_set(fault, ERR_INVALID, "a JSON object is wanted");
    int r = check_members(object, fault);
    if (r == 0)
        r = read_word(object, "policy", POLICIES, BALANCE_POLICIES, &policy, fault);
    if (r == 0)
        r = read_word(object, "affinity", AFFINITY_WORDS, AFFINITIES, &affinity, fault);
    b.policy = (enum balance_policy)policy;
    b.affinity = (enum balance_affinity)affinity;
    if (r == 0)
        r = read_weights(object, &b, fault);
    if (r == 0)
        r = read_ttl(object, &b, fault);
    if (r == 0)
        *ret = b;
    return r;
}

json_t *balance_json(const struct balance *b)
{
    json_t *weights = json_object();
    for (size_t i = 0; i < b->weight_count; i++)
        (void)json_object_set_new(weights, b->weights[i].replica,
                                  json_integer(b->weights[i].weight));
    if (b->weight_count > 0)
        (void)json_object_set_new(weights, BALANCE_REST, json_integer(b->rest));
    json_t *o = json_pack("{s:s,s:o,s:s}", "policy", POLICIES[b->policy], "weights", weights,
                          "affinity", AFFINITY_WORDS[b->affinity]);
    if (b->affinity == AFFINITY_COOKIE)
        (void)json_object_set_new(o, "affinity_ttl", json_integer(b->affinity_ttl));
    return o;
}

/* ---- in use ---- */

struct balance_rule *balance_rule_new(const struct balance *b)
{
    struct balance_rule *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    atomic_init(&r->refs, 1);
    r->balance = *b;
    return r;
}

struct balance_rule *balance_rule_ref(struct balance_rule *r)
{
    if (r != NULL)
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void balance_rule_unref(struct balance_rule *r)
{
    if (r != NULL && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1)
        free(r);
}
