#include "control/rollout.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"

#define RETRY_NSEC     (200 * NSEC_PER_MSEC) /* after the first failure; doubled after each */
#define RETRY_NSEC_MAX (60 * NSEC_PER_SEC)

struct name {
    struct uuid tunnel, connector;
};

struct target {
    struct list in_all, in_waiting; /* waiting: to be told, at `at` */
    struct map_node by_name;
    struct name name;
    size_t connections;
    struct rollout_state state;
    bool is_under_way;
    uint64_t link; /* that was tried last */
    int sent;
    unsigned failures;
    nsec at;
};

struct rollout {
    struct map by_name;
    struct list all, waiting;
    size_t under_way; /* also of those who have gone meanwhile */
};

struct rollout *rollout_new(void)
{
    struct rollout *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    map_init(&r->by_name);
    list_init(&r->all);
    list_init(&r->waiting);
    return r;
}

static void target_free(struct rollout *r, struct target *t)
{
    map_remove(&r->by_name, &t->by_name);
    list_remove(&t->in_all);
    list_remove(&t->in_waiting);
    free(t);
}

void rollout_free(struct rollout *r)
{
    if (r == NULL)
        return;
    list_each(it, &r->all)
    {
        target_free(r, container_of(it, struct target, in_all));
    }
    map_done(&r->by_name);
    free(r);
}

static struct target *target_of(const struct rollout *r, const struct uuid *tunnel,
                                const struct uuid *connector)
{
    const struct name name = { *tunnel, *connector };
    struct map_node *n = map_get(&r->by_name, slice_of(&name, sizeof name));
    return n != NULL ? container_of(n, struct target, by_name) : NULL;
}

static struct target *target_make(struct rollout *r, const struct uuid *tunnel,
                                  const struct uuid *connector)
{
    struct target *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->name = (struct name){ *tunnel, *connector };
    t->by_name.key = slice_of(&t->name, sizeof t->name);
    list_init(&t->in_waiting);
    if (map_put(&r->by_name, &t->by_name) < 0) {
        free(t);
        return NULL;
    }
    list_push_back(&r->all, &t->in_all);
    return t;
}

static bool is_settled(const struct target *t)
{
    const struct rollout_state *s = &t->state;
    return s->wanted == 0 || s->applied >= s->wanted || s->refused == s->wanted;
}

/* Puts it among those who wait, unless there is nothing to tell it, or it is being told. */
static void enqueue(struct rollout *r, struct target *t, nsec at)
{
    list_remove(&t->in_waiting);
    t->at = at;
    if (!is_settled(t) && !t->is_under_way)
        list_push_back(&r->waiting, &t->in_waiting);
}

/* ---- who is there, and what it is to have ---- */

static void want(struct rollout *r, struct target *t, int version, nsec now)
{
    if (version > t->state.wanted)
        t->failures = 0;
    t->state.wanted = version;
    enqueue(r, t, now);
}

int rollout_joined(struct rollout *r, const struct uuid *tunnel, const struct uuid *connector,
                   int version, nsec now)
{
    struct target *t = target_of(r, tunnel, connector);
    if (t == NULL)
        t = target_make(r, tunnel, connector);
    if (t == NULL)
        return ERR_NOMEM;
    t->connections++;
    want(r, t, version, now);
    return 0;
}

void rollout_left(struct rollout *r, const struct uuid *tunnel, const struct uuid *connector)
{
    struct target *t = target_of(r, tunnel, connector);
    if (t != NULL && --t->connections == 0)
        target_free(r, t);
}

void rollout_want(struct rollout *r, const struct uuid *tunnel, int version, nsec now)
{
    list_each(it, &r->all)
    {
        struct target *t = container_of(it, struct target, in_all);
        if (uuid_eq(&t->name.tunnel, tunnel))
            want(r, t, version, now);
    }
}

const struct rollout_state *rollout_state(const struct rollout *r, const struct uuid *tunnel,
                                          const struct uuid *connector)
{
    const struct target *t = target_of(r, tunnel, connector);
    return t != NULL ? &t->state : NULL;
}

/* ---- telling ---- */

bool rollout_next(struct rollout *r, nsec now, struct rollout_job *ret, nsec *ret_due)
{
    *ret_due = 0;
    if (r->under_way >= REMOTE_CONFIG_PUSHES_MAX)
        return false;
    list_each(it, &r->waiting)
    {
        struct target *t = container_of(it, struct target, in_waiting);
        if (t->at <= now) {
            *ret = (struct rollout_job){ t->name.tunnel, t->name.connector, t->link };
            return true;
        }
        if (*ret_due == 0 || t->at < *ret_due)
            *ret_due = t->at;
    }
    return false;
}

void rollout_began(struct rollout *r, const struct rollout_job *job, uint64_t link, int version)
{
    struct target *t = target_of(r, &job->tunnel, &job->connector);
    r->under_way++;
    if (t == NULL)
        return;
    list_remove(&t->in_waiting);
    t->is_under_way = true;
    t->link = link;
    t->sent = version;
}

void rollout_pass(struct rollout *r, const struct rollout_job *job)
{
    struct target *t = target_of(r, &job->tunnel, &job->connector);
    if (t != NULL)
        list_remove(&t->in_waiting);
}

/* Whose attempt is over; NULL when it is of one who has gone since, though it may be back. */
static struct target *end_attempt(struct rollout *r, const struct uuid *tunnel,
                                  const struct uuid *connector, uint64_t link)
{
    struct target *t = target_of(r, tunnel, connector);
    r->under_way--;
    if (t == NULL || !t->is_under_way || t->link != link)
        return NULL;
    t->is_under_way = false;
    return t;
}

static enum rollout_outcome again(struct rollout *r, struct target *t, nsec now, uint64_t chance)
{
    nsec wait = t->failures < 16 ? RETRY_NSEC << t->failures : RETRY_NSEC_MAX;
    if (wait > RETRY_NSEC_MAX)
        wait = RETRY_NSEC_MAX;
    /* A version that came meanwhile has failed nowhere yet. */
    bool is_new = t->state.wanted > t->sent;
    t->failures = is_new ? 0 : t->failures + 1;
    enqueue(r, t, is_new ? now : now + wait + chance % (wait / 4));
    return ROLLOUT_AGAIN;
}

enum rollout_outcome rollout_answered(struct rollout *r, const struct uuid *tunnel,
                                      const struct uuid *connector, uint64_t link, int applied,
                                      const char *reason, nsec now, uint64_t chance)
{
    struct target *t = end_attempt(r, tunnel, connector, link);
    if (t == NULL)
        return ROLLOUT_PAST;
    struct rollout_state *s = &t->state;
    s->applied = applied > 0 ? applied : 0;
    if (reason[0] == 0 && applied < t->sent)
        return again(r, t, now, chance);
    bool is_refused = reason[0] != 0;
    s->refused = is_refused ? t->sent : 0;
    (void)snprintf(s->reason, sizeof s->reason, "%s", reason);
    t->failures = 0;
    enqueue(r, t, now);
    return is_refused ? ROLLOUT_REFUSED : ROLLOUT_APPLIED;
}

enum rollout_outcome rollout_failed(struct rollout *r, const struct uuid *tunnel,
                                    const struct uuid *connector, uint64_t link, nsec now,
                                    uint64_t chance)
{
    struct target *t = end_attempt(r, tunnel, connector, link);
    return t != NULL ? again(r, t, now, chance) : ROLLOUT_PAST;
}
