#include "model/link_gauge.h"

#include <stdlib.h>

struct link_gauge *link_gauge_new(void)
{
    struct link_gauge *g = calloc(1, sizeof *g);
    if (g != NULL)
        atomic_init(&g->refs, 1);
    return g;
}

struct link_gauge *link_gauge_ref(struct link_gauge *g)
{
    if (g != NULL)
        atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void link_gauge_unref(struct link_gauge *g)
{
    if (g != NULL && atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) == 1)
        free(g);
}

void link_gauge_set_rtt(struct link_gauge *g, uint64_t rtt_ns)
{
    if (g != NULL && rtt_ns > 0)
        atomic_store_explicit(&g->rtt_ns, rtt_ns, memory_order_relaxed);
}

uint64_t link_gauge_rtt(const struct link_gauge *g)
{
    return g != NULL ? atomic_load_explicit(&g->rtt_ns, memory_order_relaxed) : 0;
}
