#include "base/metric.h"

#include <inttypes.h>
#include <stdlib.h>

struct metric_set *metric_set_new(const struct metric_desc *rows, size_t count)
{
    struct metric_set *set = calloc(1, sizeof *set + count * sizeof set->cells[0]);
    if (set == NULL)
        abort();
    set->rows = rows;
    set->count = count;
    return set;
}

static void head(struct strb *to, const struct metric_desc *row)
{
    strb_fmt(to, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
             row->kind == METRIC_COUNTER ? "counter" : "gauge");
}

void metric_page(struct strb *to, struct metric_set *const *sets, size_t count)
{
    if (count == 0)
        return;
    for (size_t i = 0; i < sets[0]->count; i++) {
        const struct metric_desc *row = &sets[0]->rows[i];
        int64_t sum = 0;
        for (size_t k = 0; k < count; k++)
            sum += atomic_load_explicit(&sets[k]->cells[i], memory_order_relaxed);
        if (i == 0 || strcmp(row->name, row[-1].name) != 0)
            head(to, row);
        if (row->labels != NULL)
            strb_fmt(to, "%s{%s} %" PRId64 "\n", row->name, row->labels, sum);
        else
            strb_fmt(to, "%s %" PRId64 "\n", row->name, sum);
    }
}
