#include "base/metric.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define LABELS_BYTES_MAX 512

/* Buckets that are not ours: how their bounds are written, and in which unit. */
struct scale {
    size_t count;
    nsec unit;
    nsec bounds[8];
    const char *texts[8];
};

#define MS(n) ((nsec)(n)*NSEC_PER_MSEC)

/* The texts have the rounding errors of the reference's, or they would be other series. */
static const struct scale RPC = {
    .count = 5,
    .unit = NSEC_PER_SEC,
    .bounds = { MS(50), MS(150), MS(450), MS(1350), MS(4050) },
    .texts = { "0.05", "0.15000000000000002", "0.45000000000000007", "1.35", "4.050000000000001" },
};
static const struct scale CONNECT = {
    .count = 8,
    .unit = NSEC_PER_MSEC,
    .bounds = { MS(1), MS(10), MS(25), MS(50), MS(100), MS(500), MS(1000), MS(5000) },
    .texts = { "1", "10", "25", "50", "100", "500", "1000", "5000" },
};

static bool is_histogram(enum metric_kind kind)
{
    return kind == METRIC_HISTOGRAM || kind == METRIC_HISTOGRAM_RPC ||
           kind == METRIC_HISTOGRAM_CONNECT;
}

/* NULL: ours. */
static const struct scale *scale_of(enum metric_kind kind)
{
    return kind == METRIC_HISTOGRAM_RPC ? &RPC : kind == METRIC_HISTOGRAM_CONNECT ? &CONNECT : NULL;
}

struct metric_set *metric_set_new(const struct metric_desc *rows, size_t count)
{
    size_t hists = 0;
    for (size_t i = 0; i < count; i++)
        hists += is_histogram(rows[i].kind);
    struct metric_set *set =
        calloc(1, sizeof *set + count * sizeof set->cells[0] + hists * sizeof(struct metric_hist));
    if (set == NULL)
        abort();
    set->rows = rows;
    set->count = count;
    set->hists = (struct metric_hist *)(void *)(set->cells + count);
    hists = 0;
    for (size_t i = 0; i < count; i++)
        if (is_histogram(rows[i].kind))
            atomic_init(&set->cells[i], (int64_t)hists++);
    return set;
}

void metric_head(struct strb *to, const char *name, const char *type, const char *help)
{
    strb_fmt(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metric_label(struct strb *to, struct slice value)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = (char)value.p[i];
        if (c == '\n') {
            strb_str(to, "\\n");
            continue;
        }
        if (c == '"' || c == '\\')
            strb_char(to, '\\');
        strb_char(to, c);
    }
}

static const char *type_of(enum metric_kind kind)
{
    return kind == METRIC_GAUGE ? "gauge" : is_histogram(kind) ? "histogram" : "counter";
}

void metric_hist_page(struct strb *to, const char *name, struct slice labels,
                      const uint64_t buckets[static METRIC_BUCKETS], uint64_t sum, unsigned every)
{
    const char *comma = labels.n > 0 ? "," : "";
    uint64_t below = 0, bound_us = 100;
    for (unsigned i = 0; i + 1 < METRIC_BUCKETS; i++, bound_us *= 2) {
        below += buckets[i];
        if (i % every == every - 1)
            strb_fmt(to, "%s_bucket{%.*s%sle=\"%" PRIu64 ".%04" PRIu64 "\"} %" PRIu64 "\n", name,
                     SLICE_FMT(labels), comma, bound_us / 1000000, bound_us % 1000000 / 100, below);
    }
    below += buckets[METRIC_BUCKETS - 1];
    strb_fmt(to, "%s_bucket{%.*s%sle=\"+Inf\"} %" PRIu64 "\n", name, SLICE_FMT(labels), comma,
             below);
    const char *open = labels.n > 0 ? "{" : "", *close = labels.n > 0 ? "}" : "";
    strb_fmt(to, "%s_sum%s%.*s%s %" PRIu64 ".%09" PRIu64 "\n", name, open, SLICE_FMT(labels), close,
             (uint64_t)(sum / NSEC_PER_SEC), (uint64_t)(sum % NSEC_PER_SEC));
    strb_fmt(to, "%s_count%s%.*s%s %" PRIu64 "\n", name, open, SLICE_FMT(labels), close, below);
}

static struct metric_hist *hist_of(struct metric_set *set, size_t row)
{
    return &set->hists[atomic_load_explicit(&set->cells[row], memory_order_relaxed)];
}

void metric_observe(struct metric_set *set, size_t row, nsec duration)
{
    struct metric_hist *h = hist_of(set, row);
    const struct scale *scale = scale_of(set->rows[row].kind);
    if (scale == NULL) {
        metric_hist_add(h, duration);
        return;
    }
    size_t bucket = 0;
    while (bucket < scale->count && duration > scale->bounds[bucket])
        bucket++;
    metric_bump(&h->buckets[bucket], 1);
    metric_bump(&h->sum, duration);
}

static void scaled_page(struct strb *to, const struct metric_desc *row, struct slice labels,
                        const uint64_t buckets[static METRIC_BUCKETS], uint64_t sum)
{
    const struct scale *scale = scale_of(row->kind);
    const char *comma = labels.n > 0 ? "," : "";
    const char *open = labels.n > 0 ? "{" : "", *close = labels.n > 0 ? "}" : "";
    uint64_t below = 0;
    for (size_t i = 0; i <= scale->count; i++) {
        below += buckets[i];
        strb_fmt(to, "%s_bucket{%.*s%sle=\"%s\"} %" PRIu64 "\n", row->name, SLICE_FMT(labels),
                 comma, i < scale->count ? scale->texts[i] : "+Inf", below);
    }
    strb_fmt(to, "%s_sum%s%.*s%s %.15g\n", row->name, open, SLICE_FMT(labels), close,
             (double)sum / (double)scale->unit);
    strb_fmt(to, "%s_count%s%.*s%s %" PRIu64 "\n", row->name, open, SLICE_FMT(labels), close,
             below);
}

static uint64_t hist_count(const struct metric_group *g, size_t row)
{
    uint64_t n = 0;
    for (size_t k = 0; k < g->count; k++)
        for (size_t i = 0; i < METRIC_BUCKETS; i++)
            n += metric_read(&hist_of(g->sets[k], row)->buckets[i]);
    return n;
}

static void hist_row(struct strb *to, const struct metric_group *g, size_t row, struct slice labels)
{
    uint64_t buckets[METRIC_BUCKETS] = { 0 }, sum = 0;
    for (size_t k = 0; k < g->count; k++) {
        struct metric_hist *h = hist_of(g->sets[k], row);
        for (size_t i = 0; i < METRIC_BUCKETS; i++)
            buckets[i] += metric_read(&h->buckets[i]);
        sum += metric_read(&h->sum);
    }
    const struct metric_desc *d = &g->sets[0]->rows[row];
    if (scale_of(d->kind) != NULL)
        scaled_page(to, d, labels, buckets, sum);
    else
        metric_hist_page(to, d->name, labels, buckets, sum, 1);
}

/* The labels of the group and of the row. */
static struct slice join(const char *of_group, const char *of_row, char *to, size_t size)
{
    bool both = of_group != NULL && of_row != NULL;
    int n = snprintf(to, size, "%s%s%s", of_group != NULL ? of_group : "", both ? "," : "",
                     of_row != NULL ? of_row : "");
    return slice_of(to, (size_t)n < size ? (size_t)n : size - 1);
}

/* One series; *headed is the name that has its head. */
static void group_row(struct strb *to, const struct metric_group *g, size_t at, const char **headed)
{
    char text[LABELS_BYTES_MAX];
    const struct metric_desc *row = &g->sets[0]->rows[at];
    int64_t sum = 0;
    for (size_t k = 0; k < g->count; k++)
        sum += atomic_load_explicit(&g->sets[k]->cells[at], memory_order_relaxed);
    bool is_hist = is_histogram(row->kind);
    if (is_hist)
        sum = row->labels == NULL ? 1 : (int64_t)hist_count(g, at);
    if ((row->kind == METRIC_SEEN || is_hist) && sum == 0)
        return;
    if (strcmp(row->name, *headed) != 0)
        metric_head(to, row->name, type_of(row->kind), row->help);
    *headed = row->name;
    struct slice labels = join(g->labels, row->labels, text, sizeof text);
    if (is_hist)
        hist_row(to, g, at, labels);
    else if (labels.n > 0)
        strb_fmt(to, "%s{%.*s} %" PRId64 "\n", row->name, SLICE_FMT(labels), sum);
    else
        strb_fmt(to, "%s %" PRId64 "\n", row->name, sum);
}

void metric_pages(struct strb *to, const struct metric_group *groups, size_t count)
{
    const char *headed = "";
    for (size_t i = 0; count > 0 && i < groups[0].sets[0]->count; i++)
        for (size_t k = 0; k < count; k++)
            group_row(to, &groups[k], i, &headed);
}

void metric_page(struct strb *to, struct metric_set *const *sets, size_t count)
{
    const struct metric_group group = { .sets = sets, .count = count };
    metric_pages(to, &group, count > 0);
}
