#include "connector/upstreams.h"

#define WAIT_LEAST NSEC_PER_SEC
#define WAIT_MOST  (60 * NSEC_PER_SEC)
/* As many failures as make the longest wait: whoever tries one that is silent may wait for ever. */
#define SILENT_FAILURES 7

static uint32_t bit_of(const struct upstreams *u, const struct upstream *s)
{
    return (uint32_t)1 << (s - u->list);
}

/* In turn, or out of it for long enough. */
static bool is_due(struct upstream *s, nsec now)
{
    return atomic_load_explicit(&s->failures, memory_order_relaxed) == 0 ||
           atomic_load_explicit(&s->retry_at, memory_order_relaxed) <= now;
}

static nsec wait_after(unsigned failures)
{
    nsec wait = WAIT_LEAST;
    for (unsigned i = 1; i < failures && wait < WAIT_MOST; i++)
        wait *= 2;
    return wait < WAIT_MOST ? wait : WAIT_MOST;
}

/* One that is out of turn is tried by one request, which moves the time for the others. */
static bool claim(struct upstream *s, nsec now)
{
    unsigned failures = atomic_load_explicit(&s->failures, memory_order_relaxed);
    uint64_t at = atomic_load_explicit(&s->retry_at, memory_order_relaxed);
    return failures == 0 || (at <= now && atomic_compare_exchange_strong_explicit(
                                              &s->retry_at, &at, now + wait_after(failures),
                                              memory_order_relaxed, memory_order_relaxed));
}

static struct upstream *choose(struct upstreams *u, uint32_t skip, size_t first, nsec now)
{
    struct upstream *best = NULL;
    unsigned fewest = 0;
    for (size_t k = 0; k < u->count; k++) {
        struct upstream *s = &u->list[(first + k) % u->count];
        if ((skip & bit_of(u, s)) != 0 || !is_due(s, now))
            continue;
        if (u->balance != BALANCE_LEAST_REQUESTS)
            return s;
        unsigned open = atomic_load_explicit(&s->open, memory_order_relaxed);
        if (best == NULL || open < fewest) {
            best = s;
            fewest = open;
        }
    }
    return best;
}

/* All are out of turn, and none is due: rather than refuse, they are asked nevertheless, in the
 * order in which they would be. */
static struct upstream *soonest(struct upstreams *u, uint32_t skip)
{
    struct upstream *best = NULL;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < u->count; i++) {
        struct upstream *s = &u->list[i];
        uint64_t at = atomic_load_explicit(&s->retry_at, memory_order_relaxed);
        if ((skip & bit_of(u, s)) == 0 && (best == NULL || at < least)) {
            best = s;
            least = at;
        }
    }
    return best;
}

const struct service *upstream_next(struct upstream_turn *t, nsec now)
{
    struct upstreams *u = t->of;
    uint32_t skip = t->tried;
    size_t first = 0;
    if (u->balance != BALANCE_FAILOVER)
        first = atomic_fetch_add_explicit(&u->turn, 1, memory_order_relaxed) % u->count;
    struct upstream *s = choose(u, skip, first, now);
    while (s != NULL && !claim(s, now)) {
        skip |= bit_of(u, s);
        s = choose(u, skip, first, now);
    }
    t->is_last_resort = s == NULL;
    if (s == NULL)
        s = soonest(u, t->tried);
    if (s == NULL)
        return NULL;
    t->at = s;
    t->tried |= bit_of(u, s);
    t->waits = t->was_answered = false;
    t->failures = atomic_load_explicit(&s->failures, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->open, 1, memory_order_relaxed);
    return &s->service;
}

bool upstream_has_more(const struct upstream_turn *t)
{
    return t->of != NULL && t->tried != ((uint32_t)1 << t->of->count) - 1;
}

static void waits_no_more(struct upstream_turn *t)
{
    if (t->waits)
        atomic_fetch_sub_explicit(&t->at->waiting, 1, memory_order_relaxed);
    t->waits = false;
}

void upstream_leave(struct upstream_turn *t)
{
    waits_no_more(t);
    if (t->at != NULL)
        atomic_fetch_sub_explicit(&t->at->open, 1, memory_order_relaxed);
    t->at = NULL;
}

/* ---- what it answers ---- */

void upstream_asked(struct upstream_turn *t, nsec now)
{
    if (t->at == NULL || t->waits || t->was_answered)
        return;
    t->waits = true;
    if (atomic_fetch_add_explicit(&t->at->waiting, 1, memory_order_relaxed) == 0)
        atomic_store_explicit(&t->at->heard_at, now, memory_order_relaxed);
}

bool upstream_answered(struct upstream_turn *t, nsec now)
{
    struct upstream *s = t->at;
    if (s == NULL || t->was_answered)
        return false;
    t->was_answered = true;
    waits_no_more(t);
    atomic_store_explicit(&s->heard_at, now, memory_order_relaxed);
    if (!atomic_load_explicit(&s->is_silent, memory_order_relaxed) ||
        !atomic_exchange_explicit(&s->is_silent, false, memory_order_relaxed))
        return false;
    return atomic_exchange_explicit(&s->failures, 0, memory_order_relaxed) > 0;
}

static bool leaves_all_waiting(struct upstream *s, nsec now, nsec silence)
{
    return atomic_load_explicit(&s->waiting, memory_order_relaxed) >= UPSTREAM_SILENT_LEAST &&
           atomic_load_explicit(&s->heard_at, memory_order_relaxed) + silence <= now;
}

/* Somebody else to ask, who is not in the same state. */
static bool has_better(struct upstreams *u, const struct upstream *than, nsec now)
{
    for (size_t i = 0; i < u->count; i++) {
        struct upstream *s = &u->list[i];
        if (s != than && atomic_load_explicit(&s->failures, memory_order_relaxed) == 0 &&
            !leaves_all_waiting(s, now, u->silence))
            return true;
    }
    return false;
}

struct upstream *upstream_fell_silent(struct upstreams *u, nsec now)
{
    for (size_t i = 0; u != NULL && u->silence > 0 && i < u->count; i++) {
        struct upstream *s = &u->list[i];
        unsigned none = 0;
        if (atomic_load_explicit(&s->failures, memory_order_relaxed) != 0 ||
            !leaves_all_waiting(s, now, u->silence) || !has_better(u, s, now))
            continue;
        atomic_store_explicit(&s->retry_at, now + WAIT_MOST, memory_order_relaxed);
        atomic_store_explicit(&s->is_silent, true, memory_order_relaxed);
        if (atomic_compare_exchange_strong_explicit(&s->failures, &none, SILENT_FAILURES,
                                                    memory_order_release, memory_order_relaxed))
            return s;
    }
    return NULL;
}

/* ---- whether it can be reached ---- */

bool upstream_reached(struct upstream_turn *t)
{
    return t->at != NULL && atomic_load_explicit(&t->at->failures, memory_order_relaxed) > 0 &&
           !atomic_load_explicit(&t->at->is_silent, memory_order_relaxed) &&
           atomic_exchange_explicit(&t->at->failures, 0, memory_order_relaxed) > 0;
}

/* What many requests met at once counts as one failure, and who asks against the odds adds none. */
static bool count_failure(struct upstream_turn *t, bool is_silent, nsec now, struct rng *rng,
                          nsec *ret_wait)
{
    struct upstream *s = t->at;
    unsigned before = t->failures;
    if (s == NULL)
        return false;
    upstream_leave(t);
    if (t->is_last_resort || atomic_load_explicit(&s->failures, memory_order_relaxed) != before)
        return false;
    nsec wait = wait_after(before + 1);
    wait = wait - wait / 5 + rng_below(rng, wait / 5 * 2);
    /* The time first: a failure without one would be due at once. */
    atomic_store_explicit(&s->retry_at, now + wait, memory_order_relaxed);
    if (is_silent)
        atomic_store_explicit(&s->is_silent, true, memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(&s->failures, &before, before + 1,
                                                 memory_order_release, memory_order_relaxed))
        return false;
    *ret_wait = wait;
    return t->failures == 0;
}

bool upstream_missed(struct upstream_turn *t, nsec now, struct rng *rng, nsec *ret_wait)
{
    return count_failure(t, false, now, rng, ret_wait);
}

bool upstream_was_silent(struct upstream_turn *t, nsec now, struct rng *rng, nsec *ret_wait)
{
    return count_failure(t, true, now, rng, ret_wait);
}
