#include "model/snapshot.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"

struct route {
    struct map_node node;
    struct uuid tunnel;
    struct balance_rule *rule;
    uint8_t name[];
};

struct snapshot {
    _Atomic unsigned refs;
    struct map routes;
};

struct snapshot *snapshot_new(void)
{
    struct snapshot *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    atomic_init(&s->refs, 1);
    map_init(&s->routes);
    return s;
}

int snapshot_add(struct snapshot *s, struct slice hostname, const struct uuid *tunnel)
{
    struct route *r = calloc(1, sizeof *r + hostname.n);
    if (r == NULL)
        return ERR_NOMEM;
    if (hostname.n > 0)
        memcpy(r->name, hostname.p, hostname.n);
    r->tunnel = *tunnel;
    r->node.key = slice_of(r->name, hostname.n);
    int e = map_put(&s->routes, &r->node);
    if (e < 0)
        free(r);
    return e;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    size_t bucket = 0;
    struct map_node *after = NULL;
    for (struct map_node *n = map_next(&s->routes, &bucket, &after); n != NULL;
         n = map_next(&s->routes, &bucket, &after)) {
        struct route *r = container_of(n, struct route, node);
        balance_rule_unref(r->rule);
        free(r);
    }
    map_done(&s->routes);
    free(s);
}

static struct route *find(const struct snapshot *s, struct slice name)
{
    struct map_node *node = map_get(&s->routes, name);
    return node != NULL ? container_of(node, struct route, node) : NULL;
}

void snapshot_balance(struct snapshot *s, struct slice hostname, struct balance_rule *rule)
{
    struct route *r = find(s, hostname);
    if (r == NULL)
        return;
    balance_rule_unref(r->rule);
    r->rule = balance_rule_ref(rule);
}

bool snapshot_route(const struct snapshot *s, struct slice hostname, struct uuid *ret_tunnel)
{
    struct snapshot_match found;
    if (!snapshot_match(s, hostname, &found))
        return false;
    *ret_tunnel = found.tunnel;
    return true;
}

bool snapshot_has(const struct snapshot *s, struct slice name)
{
    return find(s, name) != NULL;
}

bool snapshot_match(const struct snapshot *s, struct slice hostname, struct snapshot_match *ret)
{
    uint8_t wildcard[258];
    const struct route *r = find(s, hostname);
    struct slice rest = hostname;
    while (r == NULL && rest.n > 0) {
        size_t dot = slice_find(rest, '.');
        rest = slice_sub(rest, dot + 1, SIZE_MAX);
        if (rest.n == 0 || rest.n + 2 > sizeof wildcard)
            continue;
        wildcard[0] = '*';
        wildcard[1] = '.';
        memcpy(wildcard + 2, rest.p, rest.n);
        r = find(s, slice_of(wildcard, rest.n + 2));
    }
    if (r == NULL)
        return false;
    *ret = (struct snapshot_match){ .tunnel = r->tunnel, .name = r->node.key, .rule = r->rule };
    return true;
}
