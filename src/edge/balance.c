#include "edge/balance.h"

#include "edge/link_int.h"

#define GROUPS_MAX (BALANCE_WEIGHTS_MAX + 1) /* one for each weight, and the rest */

/* ---- chance and order ---- */

/* The finaliser of SplitMix64: every bit of the result depends on every bit of x. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static uint64_t joined(uint64_t key, uint64_t name)
{
    return mix(key + mix(name) * 0x9e3779b97f4a7c15);
}

#define FRACTION_BITS 26

/* -log2(x / 2^64) with FRACTION_BITS bits behind the point: one of squaring gives one bit. At least
 * 1. */
static uint64_t distance(uint64_t x)
{
    unsigned zeros = (unsigned)__builtin_clzll(x | 1);
    uint64_t y = ((x | 1) << zeros) >> 32, fraction = 0; /* y is in [1, 2), times 2^31 */
    for (unsigned i = 0; i < FRACTION_BITS; i++) {
        y = (y * y) >> 31;
        fraction <<= 1;
        if (y >> 32 != 0) {
            y >>= 1;
            fraction |= 1;
        }
    }
    return ((uint64_t)(zeros + 1) << FRACTION_BITS) - fraction;
}

/* Weighted rendezvous: among names whose distances are -log of something uniform, the least of
 * distance / weight is each name with a chance of its share of the weights. With a key of chance
 * that is a draw; with a visitor's it is the same for the visitor each time, and a name that goes
 * changes nothing for those who had another. */
struct race {
    uint64_t best_distance, best_weight;
    bool has_any;
};

static bool race_leads(struct race *r, uint64_t key, uint64_t name, uint64_t weight)
{
    uint64_t d = distance(joined(key, name));
    if (r->has_any && d * r->best_weight >= r->best_distance * weight)
        return false;
    *r = (struct race){ .best_distance = d, .best_weight = weight, .has_any = true };
    return true;
}

/* ---- groups: the replicas that one weight names ---- */

static unsigned group_of(const struct balance *b, const struct link *l)
{
    size_t found = b->weight_count;
    for (size_t i = 0; i < b->weight_count; i++) {
        const struct balance_weight *w = &b->weights[i];
        if (w->is_connector && uuid_eq(&w->connector, &l->connector))
            return (unsigned)i; /* the narrower name wins */
        if (found == b->weight_count && l->label[0] != 0 && strcmp(w->replica, l->label) == 0)
            found = i;
    }
    return (unsigned)found;
}

static unsigned weight_of(const struct balance *b, unsigned group)
{
    if (b->weight_count == 0)
        return 1;
    return group < b->weight_count ? b->weights[group].weight : b->rest;
}

/* ---- which replicas may be taken at all ---- */

#define RANK_HEALTH(rank) ((rank) >> 2)
#define RANK_NONE         UINT32_MAX

static bool was_connector_tried(const struct link_tried *tried, const struct uuid *connector)
{
    for (unsigned i = 0; tried != NULL && i < tried->count; i++)
        if (uuid_eq(&tried->connectors[i], connector))
            return true;
    return false;
}

/* The less, the better: first whether it answers, then whether it has failed this very exchange,
 * then whether it is only there for need. */
static unsigned rank_of(const struct replica *r, unsigned weight, const struct link_tried *tried)
{
    bool is_open = false, is_healthy = false;
    for (const struct list *it = r->links.next; it != &r->links; it = it->next) {
        const struct link *l = container_of(it, struct link_entry, in_replica)->link;
        bool takes = link_is_open_to(l, tried);
        is_open |= takes;
        is_healthy |= takes && !link_is_suspect(l);
    }
    if (!is_open)
        return RANK_NONE;
    unsigned health = !is_healthy ? 2 : replica_is_suspect(r) || r->first->is_stand_in ? 1 : 0;
    return health << 2 | (was_connector_tried(tried, &r->first->connector) ? 2U : 0) |
           (weight == 0 ? 1U : 0);
}

/* Ranks them all and marks the best. Gives the best rank. */
static unsigned mark_best(struct tunnel_links *tl, const struct balance *b,
                          const struct link_tried *tried)
{
    unsigned best = RANK_NONE;
    list_each(it, &tl->replicas)
    {
        struct replica *r = container_of(it, struct replica, in_tunnel);
        r->group = group_of(b, r->first);
        r->rank = rank_of(r, weight_of(b, r->group), tried);
        if (r->rank < best)
            best = r->rank;
    }
    list_each(at, &tl->replicas)
    {
        struct replica *r = container_of(at, struct replica, in_tunnel);
        r->is_chosen = r->rank == best && best != RANK_NONE;
    }
    return best;
}

static void choose_alone(struct tunnel_links *tl, const struct replica *alone)
{
    list_each(it, &tl->replicas)
    {
        struct replica *r = container_of(it, struct replica, in_tunnel);
        r->is_chosen = r == alone;
    }
}

/* ---- the cookie ---- */

/* Where the cookie leads: to its replica alone, when that is as healthy as any. Else to those of
 * its label: whoever was shown the canary stays with it. */
static enum affinity_result stick(struct tunnel_links *tl, const struct balance_ask *a,
                                  unsigned best)
{
    enum affinity_result result = AFFINITY_LOST;
    bool has_label = false;
    if (!a->has_cookie)
        return AFFINITY_NEW;
    list_each(it, &tl->replicas)
    {
        struct replica *r = container_of(it, struct replica, in_tunnel);
        if (affinity_connector_tag(a, r->first) == a->connector_tag) {
            bool is_draining = true;
            list_each(at, &r->links)
            {
                is_draining &= atomic_load_explicit(
                    &container_of(at, struct link_entry, in_replica)->link->is_draining,
                    memory_order_relaxed);
            }
            /* One of weight 0 keeps the visitors that it has. */
            if (r->rank != RANK_NONE && (r->rank | 1) <= (best | 1)) {
                choose_alone(tl, r);
                return AFFINITY_FOUND;
            }
            result = is_draining ? AFFINITY_LOST : AFFINITY_AWAY;
        }
        has_label |=
            r->is_chosen && a->label_tag != 0 && affinity_label_tag(a, r->first) == a->label_tag;
    }
    list_each(again, &tl->replicas)
    {
        struct replica *r = container_of(again, struct replica, in_tunnel);
        r->is_chosen &= !has_label || affinity_label_tag(a, r->first) == a->label_tag;
    }
    return result;
}

/* ---- policies ---- */

/* A sequence in which each of `total` has its share of any stretch, as even as can be: multiples of
 * the golden ratio, of which the fraction is taken. */
static uint64_t spread(uint64_t turn, uint64_t total)
{
    return (uint64_t)(((unsigned __int128)(turn * 0x9e3779b97f4a7c15) * total) >> 64);
}

struct groups {
    unsigned counts[GROUPS_MAX]; /* chosen replicas of each */
    unsigned count, first;       /* how many have any */
    uint64_t weights;            /* theirs together */
    bool are_equal;
};

static unsigned group_weight(const struct balance *b, unsigned group)
{
    unsigned w = weight_of(b, group);
    return w > 0 ? w : 1; /* they are all of weight 0, or they would not be chosen */
}

static struct groups count_groups(const struct tunnel_links *tl, const struct balance *b)
{
    struct groups g = { .are_equal = true };
    for (const struct list *it = tl->replicas.next; it != &tl->replicas; it = it->next) {
        const struct replica *r = container_of(it, struct replica, in_tunnel);
        if (r->is_chosen && g.counts[r->group]++ == 0) {
            unsigned weight = group_weight(b, r->group);
            g.first = g.count == 0 ? r->group : g.first;
            g.are_equal &= weight == group_weight(b, g.first);
            g.weights += weight;
            g.count++;
        }
    }
    return g;
}

/* Whose turn it is, in the order of the weights. */
static unsigned group_by_turn(const struct groups *g, struct balance_rule *rule)
{
    uint64_t turn = atomic_fetch_add_explicit(&rule->turn, 1, memory_order_relaxed);
    uint64_t at = g->are_equal ? turn % g->count : spread(turn, g->weights);
    for (unsigned i = 0; i < GROUPS_MAX; i++) {
        uint64_t share = g->are_equal ? 1 : group_weight(&rule->balance, i);
        if (g->counts[i] == 0)
            continue;
        if (at < share)
            return i;
        at -= share;
    }
    return g->first;
}

/* By its name, not its place: the order of weights means nothing. */
static uint64_t group_name(const struct balance *b, unsigned group)
{
    return group < b->weight_count ? replica_key(slice_str(b->weights[group].replica)) : 1;
}

static unsigned group_by_race(const struct groups *g, const struct balance *b, uint64_t key)
{
    struct race race = { 0 };
    unsigned found = g->first;
    for (unsigned i = 0; i < GROUPS_MAX; i++)
        if (g->counts[i] > 0 && race_leads(&race, key, group_name(b, i), group_weight(b, i)))
            found = i;
    return found;
}

static void keep_group(struct tunnel_links *tl, unsigned group)
{
    list_each(it, &tl->replicas)
    {
        struct replica *r = container_of(it, struct replica, in_tunnel);
        r->is_chosen &= r->group == group;
    }
}

static void keep_one_by_turn(struct tunnel_links *tl, struct balance_rule *rule, unsigned group,
                             unsigned count)
{
    uint64_t turn = atomic_fetch_add_explicit(&rule->turns[group], 1, memory_order_relaxed);
    uint64_t at = turn % count, seen = 0;
    list_each(it, &tl->replicas)
    {
        struct replica *r = container_of(it, struct replica, in_tunnel);
        if (r->is_chosen)
            r->is_chosen = seen++ == at;
    }
}

static void keep_one_by_race(struct tunnel_links *tl, uint64_t key)
{
    struct race race = { 0 };
    const struct replica *found = NULL;
    list_each(it, &tl->replicas)
    {
        struct replica *r = container_of(it, struct replica, in_tunnel);
        if (r->is_chosen && race_leads(&race, key, r->first->key, 1))
            found = r;
    }
    choose_alone(tl, found);
}

/* Of the replicas that are marked: first by the weights, which decide about the shares, then by the
 * policy among those that one weight names. */
static void narrow(struct tunnel_links *tl, struct balance_rule *rule, bool is_hashed,
                   uint64_t visitor, struct rng *rng)
{
    const struct balance *b = &rule->balance;
    struct groups g = count_groups(tl, b);
    uint64_t key = is_hashed ? visitor : rng_next(rng);
    bool takes_turns = b->policy == BALANCE_ROUND_ROBIN && !is_hashed;
    unsigned group = g.count == 1  ? g.first
                     : takes_turns ? group_by_turn(&g, rule)
                                   : group_by_race(&g, b, key);
    keep_group(tl, group);
    if (takes_turns)
        keep_one_by_turn(tl, rule, group, g.counts[group]);
    else if (is_hashed || b->policy == BALANCE_RANDOM)
        keep_one_by_race(tl, mix(key));
}

struct link *balance_pick(struct link_table *t, const struct uuid *tunnel, struct balance_ask *a,
                          unsigned near, struct rng *rng, nsec now, const struct link_tried *tried)
{
    if (a->rule == NULL)
        return link_table_pick(t, tunnel, near, rng, now, tried);
    const struct balance *b = &a->rule->balance;
    struct tunnel_links *tl = link_table_of(t, tunnel);
    unsigned best = tl != NULL ? mark_best(tl, b, tried) : RANK_NONE;
    if (best == RANK_NONE)
        return NULL;
    a->result = b->affinity == AFFINITY_COOKIE ? stick(tl, a, best) : AFFINITY_UNUSED;
    bool is_hashed = b->policy == BALANCE_HASH || b->affinity == AFFINITY_ADDRESS;
    if (a->result != AFFINITY_FOUND)
        narrow(tl, a->rule, is_hashed, a->visitor, rng);
    return tunnel_links_pick(tl, true, near, rng, now, tried);
}
