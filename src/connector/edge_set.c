#include "connector/edge_set.h"

#include <string.h>

#include "net/dial.h"

#define FAILED_NSEC (60 * NSEC_PER_SEC) /* then an address is as good as any */

static bool is_wanted(const struct edge_list *l, const struct addr *a)
{
    return l->family == AF_UNSPEC || a->sa.ss_family == l->family;
}

static void append(struct edge_list *l, const struct edge_addr *e)
{
    if (l->count < EDGE_ADDRS_MAX)
        l->addrs[l->count++] = *e;
}

static bool is_among(const struct addr *a, const struct addr *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (addr_eq(a, &found[i]))
            return true;
    return false;
}

void edge_list_add(struct edge_list *l, const struct edge_name *name,
                   const struct edge_found *found)
{
    unsigned number = 0;
    if (l->name_count < EDGE_NAMES_MAX) {
        l->names[l->name_count++] = *name;
        number = l->name_count;
    }
    if (found == NULL && number > 0)
        append(l, &(struct edge_addr){ .name = number });
    for (size_t i = 0; found != NULL && i < found->count; i++)
        if (is_wanted(l, &found->addrs[i]))
            append(l, &(struct edge_addr){ .addr = found->addrs[i],
                                           .name = number,
                                           .is_spare = i >= found->preferred });
}

void edge_list_add_addr(struct edge_list *l, const struct addr *addr)
{
    if (is_wanted(l, addr))
        append(l, &(struct edge_addr){ .addr = *addr });
}

void edge_list_add_kept(struct edge_list *l, const struct edge_found *kept,
                        const struct edge_found *now)
{
    for (size_t i = 0; i < kept->count; i++)
        if (is_wanted(l, &kept->addrs[i]) && !is_among(&kept->addrs[i], now->addrs, now->count))
            append(l, &(struct edge_addr){
                          .addr = kept->addrs[i], .is_spare = true, .is_kept = true });
}

void edge_list_fill(struct edge_list *l, size_t count)
{
    size_t known = l->count, there = 0;
    for (size_t i = 0; i < known; i++)
        there += !l->addrs[i].is_spare;
    bool are_all_spare = there == 0;
    for (size_t i = 0; known > 0 && there < count && l->count < EDGE_ADDRS_MAX; i++) {
        const struct edge_addr from = l->addrs[i % known];
        if (from.is_spare && !are_all_spare)
            continue;
        append(l, &from);
        there++;
    }
}

void edge_set_init(struct edge_set *s, const struct edge_list *list)
{
    memset(s, 0, sizeof *s);
    (void)pthread_mutex_init(&s->lock, NULL);
    s->list = *list;
}

void edge_set_done(struct edge_set *s)
{
    (void)pthread_mutex_destroy(&s->lock);
}

static void lock(struct edge_set *s)
{
    (void)pthread_mutex_lock(&s->lock);
}

static void unlock(struct edge_set *s)
{
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- who uses what; under the lock ---- */

/* Of the places from `from` on the first of those that are best, by what speaks against each. */
static size_t best(const struct edge_set *s, size_t from, const struct addr *but, nsec now)
{
    size_t at = from % s->list.count;
    unsigned least = UINT32_MAX;
    for (size_t i = 0; i < s->list.count; i++) {
        size_t place = (from + i) % s->list.count;
        const struct edge_addr *e = &s->list.addrs[place];
        if (but != NULL && addr_eq(&e->addr, but))
            continue;
        bool has_failed = s->failed_at[place] > 0 && now < s->failed_at[place] + FAILED_NSEC;
        unsigned against = 4u * has_failed + 2u * e->is_spare + (s->users[place] > 0);
        if (against < least) {
            least = against;
            at = place;
        }
    }
    return at;
}

static size_t move(struct edge_set *s, size_t at, size_t to)
{
    s->users[at]--;
    s->users[to]++;
    return to;
}

size_t edge_set_take(struct edge_set *s, size_t from)
{
    lock(s);
    size_t at = best(s, from, NULL, 0);
    s->users[at]++;
    unlock(s);
    return at;
}

size_t edge_set_rotate(struct edge_set *s, size_t at, nsec now)
{
    lock(s);
    struct addr failed = s->list.addrs[at].addr;
    for (size_t i = 0; i < s->list.count; i++)
        if (addr_eq(&s->list.addrs[i].addr, &failed))
            s->failed_at[i] = now;
    size_t to = best(s, at, &failed, now);
    (void)move(s, at, to);
    unlock(s);
    return to;
}

size_t edge_set_stay(struct edge_set *s, size_t at, nsec now)
{
    lock(s);
    if (s->list.addrs[at].is_spare) {
        size_t to = best(s, at, NULL, now);
        if (!s->list.addrs[to].is_spare)
            at = move(s, at, to);
    }
    unlock(s);
    return at;
}

void edge_set_give(struct edge_set *s, size_t at)
{
    lock(s);
    s->users[at]--;
    unlock(s);
}

struct addr edge_set_addr(struct edge_set *s, size_t at)
{
    lock(s);
    struct addr addr = s->list.addrs[at].addr;
    unlock(s);
    return addr;
}

bool edge_set_is_kept(struct edge_set *s, size_t at)
{
    return s->list.addrs[at].is_kept; /* which never changes */
}

/* ---- names ---- */

const struct edge_name *edge_set_name(struct edge_set *s, size_t at)
{
    unsigned name = s->list.addrs[at].name; /* neither this nor the name ever changes */
    return name > 0 ? &s->list.names[name - 1] : NULL;
}

static bool is_there(const struct edge_set *s, unsigned name, const struct addr *a)
{
    for (size_t i = 0; i < s->list.count; i++)
        if (s->list.addrs[i].name == name && addr_eq(&s->list.addrs[i].addr, a))
            return true;
    return false;
}

/* The first of those found that has no place yet; when each has one, the preferred ones share in
 * turn. */
static const struct addr *for_place(const struct edge_set *s, unsigned name, size_t at,
                                    const struct edge_found *found)
{
    for (size_t i = 0; i < found->count; i++)
        if (!is_there(s, name, &found->addrs[i]))
            return &found->addrs[i];
    return &found->addrs[at % (found->preferred > 0 ? found->preferred : found->count)];
}

void edge_set_refresh(struct edge_set *s, size_t at, const struct edge_found *all)
{
    struct edge_found found = { 0 };
    lock(s);
    for (size_t i = 0; i < all->count; i++)
        if (is_wanted(&s->list, &all->addrs[i])) {
            found.preferred += i < all->preferred;
            found.addrs[found.count++] = all->addrs[i];
        }
    if (found.count == 0) { /* what is known is better than nothing */
        unlock(s);
        return;
    }
    unsigned name = s->list.addrs[at].name;
    for (size_t i = 0; i < s->list.count; i++) {
        struct edge_addr *e = &s->list.addrs[i];
        if (e->name != name)
            continue;
        if (!is_among(&e->addr, found.addrs, found.count)) {
            e->addr = *for_place(s, name, i, &found);
            s->failed_at[i] = 0;
        }
        e->is_spare = !is_among(&e->addr, found.addrs, found.preferred);
    }
    for (size_t i = 0; i < found.count; i++)
        if (!is_there(s, name, &found.addrs[i]))
            append(&s->list, &(struct edge_addr){ .addr = found.addrs[i],
                                                  .name = name,
                                                  .is_spare = i >= found.preferred });
    unlock(s);
}
