#include "connector/edge_set.h"

static bool take_unused(struct edge_set *s, size_t at)
{
    unsigned none = 0;
    return atomic_compare_exchange_strong(&s->users[at], &none, 1);
}

size_t edge_set_take(struct edge_set *s, size_t from)
{
    for (size_t i = 0; i < s->count; i++) {
        size_t at = (from + i) % s->count;
        if (take_unused(s, at))
            return at;
    }
    (void)atomic_fetch_add(&s->users[from % s->count], 1);
    return from % s->count;
}

void edge_set_give(struct edge_set *s, size_t at)
{
    (void)atomic_fetch_sub(&s->users[at], 1);
}

size_t edge_set_rotate(struct edge_set *s, size_t at)
{
    size_t shared = at;
    for (size_t i = 1; i < s->count; i++) {
        size_t other = (at + i) % s->count;
        if (addr_eq(&s->addrs[other], &s->addrs[at]))
            continue;
        if (take_unused(s, other)) {
            edge_set_give(s, at);
            return other;
        }
        if (shared == at)
            shared = other;
    }
    if (shared != at) {
        (void)atomic_fetch_add(&s->users[shared], 1);
        edge_set_give(s, at);
    }
    return shared;
}
