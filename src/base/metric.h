#pragma once
/* Counters, gauges and histograms declared once, in a `.def` table:
 *
 *     METRIC(COUNTER, requests, "adit_edge_requests_total", NULL, "Requests that visitors made.")
 *
 * Each worker owns a `struct metric_set` with one cell for each row and adds to it without a lock
 * (a relaxed store: only the owner writes). A scrape, on any thread, sums the sets. A
 * row is one series: several rows of one name, neighbours, differ by their labels. Of a SEEN row
 * and of a histogram with labels nothing is shown until it was counted, as with the reference. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/strb.h"

/* HISTOGRAM has our buckets. Where a name is the reference's its buckets are too: RPC has five,
 * each three times the one before, from 50 ms on; CONNECT has eight, and counts in milliseconds. */
enum metric_kind {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
    METRIC_HISTOGRAM_RPC,
    METRIC_HISTOGRAM_CONNECT,
    METRIC_SEEN
};

/* Buckets of durations: 100 µs, and each twice the one before, up to 52 s; and one for the rest. */
#define METRIC_BUCKETS 21

struct metric_hist {
    _Atomic uint64_t buckets[METRIC_BUCKETS];
    _Atomic uint64_t sum; /* nanoseconds */
};

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
    struct metric_hist *hists; /* behind the cells */
    _Atomic int64_t cells[];   /* of a histogram: which of hists it is */
};

/* Aborts when memory is short. Freed with free(). */
struct metric_set *metric_set_new(const struct metric_desc *rows, size_t count);

/* What only one thread writes and any may read. */
static inline void metric_bump(_Atomic uint64_t *cell, uint64_t n)
{
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, now + n, memory_order_relaxed);
}
static inline uint64_t metric_read(_Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

/* Owner thread only. */
static inline void metric_add(struct metric_set *set, size_t row, int64_t n)
{
    int64_t now = atomic_load_explicit(&set->cells[row], memory_order_relaxed);
    atomic_store_explicit(&set->cells[row], now + n, memory_order_relaxed);
}

static inline size_t metric_bucket(nsec duration)
{
    uint64_t steps = duration / (100 * NSEC_PER_USEC);
    if (duration % (100 * NSEC_PER_USEC) == 0 && steps > 0)
        steps--; /* a bound belongs to its bucket */
    size_t bucket = steps == 0 ? 0 : 64 - (size_t)__builtin_clzll(steps);
    return bucket < METRIC_BUCKETS ? bucket : METRIC_BUCKETS - 1;
}

static inline void metric_hist_add(struct metric_hist *h, nsec duration)
{
    metric_bump(&h->buckets[metric_bucket(duration)], 1);
    metric_bump(&h->sum, duration);
}

/* Of a row that is a histogram. */
void metric_observe(struct metric_set *set, size_t row, nsec duration);

/* Sets that are shown as their sum, and what tells it from others' (`tunnel="…"`), or NULL. */
struct metric_group {
    struct metric_set *const *sets;
    size_t count;
    const char *labels;
};

/* Appends the page (text format 0.0.4) of groups that share one table. Any thread. */
void metric_pages(struct strb *to, const struct metric_group *groups, size_t count);
/* Of one group, without labels of its own. */
void metric_page(struct strb *to, struct metric_set *const *sets, size_t count);

/* ---- for families whose labels are not known beforehand ---- */

struct metric_family {
    const char *type; /* "counter", "gauge", "histogram" */
    const char *name, *help;
};
/* HELP and TYPE. */
void metric_head(struct strb *to, const char *name, const char *type, const char *help);
static inline void metric_family_head(struct strb *to, const struct metric_family *f)
{
    metric_head(to, f->name, f->type, f->help);
}
/* A value of a label with what must be escaped in it. */
void metric_label(struct strb *to, struct slice value);
/* Appends a histogram's lines from sums; `every` > 1 leaves out bounds: only each such one stays.
 */
void metric_hist_page(struct strb *to, const char *name, struct slice labels,
                      const uint64_t buckets[static METRIC_BUCKETS], uint64_t sum, unsigned every);
/* build_info and process_*: what this process is and uses. Reads /proc/self. */
void metric_process_page(struct strb *to, const char *build_labels);
