#include "connector/edge_set.h"

#include <string.h>

#include "net/dial.h"

static bool is_wanted(const struct edge_list *l, const struct addr *a)
{
    return l->family == AF_UNSPEC || a->sa.ss_family == l->family;
}

void edge_list_add(struct edge_list *l, struct slice host, uint16_t port, struct addr *found,
                   size_t count, bool is_name)
{
    unsigned name = 0;
    if (is_name && l->name_count < EDGE_NAMES_MAX && host.n <= HOSTNAME_BYTES_MAX) {
        struct edge_name *n = &l->names[l->name_count++];
        memcpy(n->host, host.p, host.n);
        n->host[host.n] = 0;
        n->port = port;
        name = l->name_count;
    }
    dial_interleave(found, count);
    for (size_t i = 0; i < count && l->count < EDGE_ADDRS_MAX; i++)
        if (is_wanted(l, &found[i]))
            l->addrs[l->count++] = (struct edge_addr){ .addr = found[i], .name = name };
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

static size_t take(struct edge_set *s, size_t from)
{
    for (size_t i = 0; i < s->list.count; i++) {
        size_t at = (from + i) % s->list.count;
        if (s->users[at] == 0)
            return at;
    }
    return from % s->list.count;
}

static size_t other_than(const struct edge_set *s, size_t at)
{
    size_t shared = at;
    for (size_t i = 1; i < s->list.count; i++) {
        size_t other = (at + i) % s->list.count;
        if (addr_eq(&s->list.addrs[other].addr, &s->list.addrs[at].addr))
            continue;
        if (s->users[other] == 0)
            return other;
        if (shared == at)
            shared = other;
    }
    return shared;
}

size_t edge_set_take(struct edge_set *s, size_t from)
{
    lock(s);
    size_t at = take(s, from);
    s->users[at]++;
    unlock(s);
    return at;
}

size_t edge_set_rotate(struct edge_set *s, size_t at)
{
    lock(s);
    size_t other = other_than(s, at);
    s->users[at]--;
    s->users[other]++;
    unlock(s);
    return other;
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

/* ---- names ---- */

const struct edge_name *edge_set_name(struct edge_set *s, size_t at)
{
    unsigned name = s->list.addrs[at].name; /* neither this nor the name ever changes */
    return name > 0 ? &s->list.names[name - 1] : NULL;
}

static bool is_among(const struct addr *a, const struct addr *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (addr_eq(a, &found[i]))
            return true;
    return false;
}

static bool is_there(const struct edge_set *s, unsigned name, const struct addr *a)
{
    for (size_t i = 0; i < s->list.count; i++)
        if (s->list.addrs[i].name == name && addr_eq(&s->list.addrs[i].addr, a))
            return true;
    return false;
}

/* The first of those found that has no place yet; when each has one, they share in turn. */
static const struct addr *for_place(const struct edge_set *s, unsigned name, size_t at,
                                    const struct addr *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!is_there(s, name, &found[i]))
            return &found[i];
    return &found[at % count];
}

void edge_set_refresh(struct edge_set *s, size_t at, const struct addr *all, size_t all_count)
{
    struct addr found[EDGE_ADDRS_MAX];
    size_t count = 0;
    lock(s);
    for (size_t i = 0; i < all_count && count < EDGE_ADDRS_MAX; i++)
        if (is_wanted(&s->list, &all[i]))
            found[count++] = all[i];
    if (count == 0) { /* what is known is better than nothing */
        unlock(s);
        return;
    }
    unsigned name = s->list.addrs[at].name;
    for (size_t i = 0; i < s->list.count; i++) {
        struct edge_addr *e = &s->list.addrs[i];
        if (e->name == name && !is_among(&e->addr, found, count))
            e->addr = *for_place(s, name, i, found, count);
    }
    for (size_t i = 0; i < count && s->list.count < EDGE_ADDRS_MAX; i++)
        if (!is_there(s, name, &found[i]))
            s->list.addrs[s->list.count++] = (struct edge_addr){ .addr = found[i], .name = name };
    unlock(s);
}
