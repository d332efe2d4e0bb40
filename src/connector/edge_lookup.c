#include "connector/edge_lookup.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "net/dial.h"
#include "net/resolve.h"
#include "net/srv.h"

#define TARGETS_MAX 8 /* of an SRV name that are looked up; 64 addresses are used at most */

struct target {
    struct resolve *resolve; /* NULL: it is over, or could not begin */
    uint16_t priority;
    struct addr addrs[RESOLVE_ADDRS_MAX];
    size_t count;
};

struct edge_lookup {
    struct loop *loop;
    struct task *owner;
    struct srv *srv; /* until its targets are known; NULL of a plain name */
    struct target targets[TARGETS_MAX];
    size_t count;
    int err; /* of what failed last */
};

static void add_target(struct edge_lookup *l, struct slice host, uint16_t port, uint16_t priority)
{
    struct target *t = &l->targets[l->count++];
    t->priority = priority;
    int r = resolve_start(l->loop, host, port, l->owner, &t->resolve);
    if (r < 0)
        l->err = r;
}

int edge_lookup_start(struct loop *loop, const struct edge_name *name, struct task *owner,
                      struct edge_lookup **ret)
{
    struct edge_lookup *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    l->loop = loop;
    l->owner = owner;
    if (!name->is_srv) {
        add_target(l, slice_str(name->host), name->port, 0);
    } else {
        int r = srv_start(loop, slice_str(name->host), owner, &l->srv);
        if (r < 0) {
            free(l);
            return r;
        }
    }
    *ret = l;
    return 0;
}

/* 0 when the targets are known. */
static int step_srv(struct edge_lookup *l)
{
    const struct srv_record *records;
    size_t count = 0;
    if (l->srv == NULL)
        return 0;
    int r = srv_result(l->srv, &records, &count);
    if (r == ERR_AGAIN)
        return r;
    for (size_t i = 0; r == 0 && i < count && l->count < TARGETS_MAX; i++)
        add_target(l, slice_str(records[i].target), records[i].port, records[i].priority);
    srv_free(l->srv);
    l->srv = NULL;
    if (r < 0)
        l->err = r;
    return 0;
}

/* Whether it is over. */
static bool step_target(struct edge_lookup *l, struct target *t)
{
    if (t->resolve == NULL)
        return true;
    int r = resolve_result(t->resolve, t->addrs, RESOLVE_ADDRS_MAX, &t->count);
    if (r == ERR_AGAIN)
        return false;
    if (r < 0)
        l->err = r;
    dial_interleave(t->addrs, t->count);
    resolve_free(t->resolve);
    t->resolve = NULL;
    return true;
}

/* The targets of one priority take turns, so that connections are spread over them. */
static void collect(const struct edge_lookup *l, struct edge_found *ret)
{
    for (size_t from = 0, end; from < l->count; from = end) {
        for (end = from; end < l->count && l->targets[end].priority == l->targets[from].priority;)
            end++;
        bool is_spare = ret->count > 0;
        for (size_t turn = 0; turn < RESOLVE_ADDRS_MAX; turn++)
            for (size_t i = from; i < end && ret->count < EDGE_ADDRS_MAX; i++)
                if (turn < l->targets[i].count)
                    ret->addrs[ret->count++] = l->targets[i].addrs[turn];
        if (!is_spare)
            ret->preferred = ret->count;
    }
}

int edge_lookup_run(struct edge_lookup *l, struct edge_found *ret)
{
    bool is_over = true;
    if (step_srv(l) < 0)
        return ERR_AGAIN;
    for (size_t i = 0; i < l->count; i++)
        is_over = step_target(l, &l->targets[i]) && is_over;
    if (!is_over)
        return ERR_AGAIN;
    *ret = (struct edge_found){ 0 };
    collect(l, ret);
    return ret->count > 0 ? 0 : l->err;
}

void edge_lookup_free(struct edge_lookup *l)
{
    if (l == NULL)
        return;
    srv_free(l->srv);
    for (size_t i = 0; i < l->count; i++)
        resolve_free(l->targets[i].resolve);
    free(l);
}
