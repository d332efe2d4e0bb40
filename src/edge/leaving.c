#include "edge/leaving.h"

#include "edge/stand_in.h"

#define COME_OVER_NSEC (120 * NSEC_PER_SEC) /* one with several: the reference waits up to 64 s */
#define LEAVE_NSEC     NSEC_PER_SEC         /* for what is still asked here when all is said */
#define LEAVE_AGAIN    (10 * NSEC_PER_SEC)  /* if that was not enough */

/* Whether an exchange of this edge may still want a link. */
static bool may_ask(const struct edge *e)
{
    for (unsigned i = 0; i < e->count; i++)
        if (atomic_load_explicit(&e->workers[i].may_ask, memory_order_relaxed))
            return true;
    return false;
}

static void lend(struct leaving *x, struct edge_worker *w, const struct link *l, bool is_there)
{
    const struct plane *plane = &w->edge->conf.plane;
    plane->lends(plane->ctx, &l->tunnel, is_there);
    x->last_call = is_there ? 0 : loop_now(w->loop);
}

/* The last connection of a connector goes when nothing here can ask for it any more and a connector
 * of its tunnel serves at the edge behind us; one that has had no other has to go first. Before it
 * does, that edge is told to ask for nothing more. */
static void leave_last(struct leaving *x, struct edge_worker *w, struct link *l)
{
    nsec now = loop_now(w->loop);
    uint32_t in_flight = atomic_load_explicit(&l->in_flight, memory_order_relaxed);
    if (x->last_call > 0) {
        if (now - x->last_call > LEAVE_NSEC) {
            x->not_before = now + LEAVE_AGAIN;
            lend(x, w, l, true);
        } else if (in_flight == 0 && now > x->last_call) {
            atomic_store_explicit(&l->is_draining, true, memory_order_relaxed);
            x->is_leaving = true;
        }
        return;
    }
    bool may_go =
        stand_in_came_over(w, &l->tunnel) || !x->had_kin || now - w->succeeded_at > COME_OVER_NSEC;
    if (!may_go || now < x->not_before || may_ask(w->edge) ||
        in_flight > atomic_load_explicit(&l->lent, memory_order_relaxed))
        return;
    if (link_table_has_other(w->links, l)) {
        atomic_store_explicit(&l->is_draining, true, memory_order_relaxed);
        x->is_leaving = true;
    } else {
        lend(x, w, l, false);
    }
}

/* The time is over: what is lent ends now, and whatever comes is held at the edge behind us. */
static bool leave_now(struct leaving *x, struct edge_worker *w, struct link *l)
{
    if (x->last_call == 0) {
        lend(x, w, l, false);
        return false;
    }
    if (atomic_load_explicit(&l->in_flight, memory_order_relaxed) > 0)
        return false;
    atomic_store_explicit(&l->is_draining, true, memory_order_relaxed);
    return true;
}

/* From then on nobody picks it, unless it is the connector's last. An exchange that was just given
 * to it shows itself by the next call. */
bool leaving_step(struct leaving *x, struct edge_worker *w, struct link *l)
{
    uint32_t in_flight = atomic_load_explicit(&l->in_flight, memory_order_relaxed);
    uint32_t lent = atomic_load_explicit(&l->lent, memory_order_relaxed);
    if (w->is_succeeded && w->parting != PARTING_NONE)
        return leave_now(x, w, l);
    x->had_kin |= link_table_has_kin(w->links, l);
    if (x->is_leaving)
        return in_flight == 0;
    if (in_flight > lent || atomic_load_explicit(&l->is_draining, memory_order_relaxed))
        return false;
    if (w->is_succeeded && !link_table_has_sibling(w->links, l)) {
        leave_last(x, w, l);
        return false;
    }
    atomic_store_explicit(&l->is_draining, true, memory_order_relaxed);
    x->is_leaving = link_table_has_sibling(w->links, l);
    if (!x->is_leaving)
        atomic_store_explicit(&l->is_draining, false, memory_order_relaxed);
    return false;
}
