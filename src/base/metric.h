#pragma once
/* Counters and gauges declared once, in a `.def` table:
 *
 *     METRIC(COUNTER, requests, "adit_edge_requests_total", NULL, "Requests that visitors made.")
 *
 * Each worker owns a `struct metric_set` with one cell for each row and adds to it without a lock
 * (a relaxed store: only the owner writes). A scrape, on any thread, sums the sets. A
 * row is one series: several rows of one name, neighbours, differ by their labels. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strb.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric_desc {
    const char *name; /* Prometheus name */
    const char *help;
    enum metric_kind kind;
    const char *labels; /* rendered label pairs without braces (`status="200"`), or NULL; rows of
                           one name are neighbours */
};

struct metric_set {
    const struct metric_desc *rows;
    size_t count;
    _Atomic int64_t cells[];
};

/* Aborts when memory is short. Freed with free(). */
struct metric_set *metric_set_new(const struct metric_desc *rows, size_t count);

/* Owner thread only. */
static inline void metric_add(struct metric_set *set, size_t row, int64_t n)
{
    int64_t now = atomic_load_explicit(&set->cells[row], memory_order_relaxed);
    atomic_store_explicit(&set->cells[row], now + n, memory_order_relaxed);
}

/* Appends the page (text format 0.0.4) of the sum of `count` sets that share one table. Any thread.
 */
void metric_page(struct strb *to, struct metric_set *const *sets, size_t count);
