#pragma once
/* What a link measures, for those who show it: written by the worker that owns it, read by the
 * control plane. Counted; any thread. */
#include <stdatomic.h>
#include <stdint.h>

struct link_gauge {
    _Atomic unsigned refs;
    _Atomic uint64_t rtt_ns; /* smoothed; 0 = not measured yet */
};

struct link_gauge *link_gauge_new(void);                 /* NULL when memory is short */
struct link_gauge *link_gauge_ref(struct link_gauge *g); /* NULL is accepted, and given */
void link_gauge_unref(struct link_gauge *g);             /* NULL is accepted */
void link_gauge_set_rtt(struct link_gauge *g,
                        uint64_t rtt_ns);            /* NULL is accepted; 0 is not kept */
uint64_t link_gauge_rtt(const struct link_gauge *g); /* 0 = unknown; NULL is accepted */
