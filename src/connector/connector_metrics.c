/* The metrics of the connectors of one process: with a label for the tunnel where there are
 * several.
 */
#include <stdio.h>
#include <stdlib.h>

#include "connector/connector_int.h"

/* The connectors of a page, each with its label ("tunnel=\"…\"") or NULL. */
struct page {
    struct strb *to;
    struct connector *const *list;
    const char *const *labels;
    size_t count;
};

static void codes_family(const struct page *p)
{
    const struct metric_family *f = connector_family(FAMILY_RESPONSE_BY_CODE);
    bool has_head = false;
    for (size_t i = 0; i < SERVE_CODES; i++)
        for (size_t at = 0; at < p->count; at++) {
            struct connector *c = p->list[at];
            uint64_t n = 0;
            for (unsigned k = 0; k < c->worker_count; k++)
                n += metric_read(&c->workers[k].serve.codes[i]);
            if (n > 0 && !has_head)
                metric_family_head(p->to, f);
            has_head = has_head || n > 0;
            if (n > 0)
                strb_fmt(p->to, "%s{%s%sstatus_code=\"%zu\"} %llu\n", f->name,
                         p->labels[at] != NULL ? p->labels[at] : "",
                         p->labels[at] != NULL ? "," : "", i + SERVE_CODE_MIN,
                         (unsigned long long)n);
        }
}

/* A number of each connector, without labels of its own. */
static void number_family(const struct page *p, enum connector_family id,
                          uint64_t (*of)(const struct connector *))
{
    const struct metric_family *f = connector_family(id);
    metric_family_head(p->to, f);
    for (size_t at = 0; at < p->count; at++) {
        bool is_told = p->labels[at] != NULL;
        strb_fmt(p->to, "%s%s%s%s %llu\n", f->name, is_told ? "{" : "",
                 is_told ? p->labels[at] : "", is_told ? "}" : "",
                 (unsigned long long)of(p->list[at]));
    }
}

static uint64_t version_of(const struct connector *c)
{
    return c->configuration.version > 0 ? (uint64_t)c->configuration.version : 0;
}

static uint64_t ready_of(const struct connector *c)
{
    return connector_ready(c);
}

static void reloads_family(const struct page *p)
{
    const struct metric_family *f = connector_family(FAMILY_RELOADS);
    metric_family_head(p->to, f);
    for (size_t at = 0; at < p->count; at++) {
        const char *label = p->labels[at] != NULL ? p->labels[at] : "";
        const char *comma = p->labels[at] != NULL ? "," : "";
        strb_fmt(p->to, "%s{%s%sresult=\"applied\"} %llu\n%s{%s%sresult=\"refused\"} %llu\n",
                 f->name, label, comma, (unsigned long long)p->list[at]->reloads, f->name, label,
                 comma, (unsigned long long)p->list[at]->reloads_refused);
    }
}

static void rows(const struct page *p)
{
    struct metric_group *groups = calloc(p->count, sizeof *groups);
    struct metric_set **sets = NULL;
    size_t n = 0;
    if (p->count > 0 && groups != NULL)
        sets = calloc(p->count * p->list[0]->worker_count, sizeof(struct metric_set *));
    for (size_t at = 0; sets != NULL && at < p->count; at++) {
        struct connector *c = p->list[at];
        groups[at] = (struct metric_group){ .sets = &sets[n],
                                            .count = c->worker_count,
                                            .labels = p->labels[at] };
        for (unsigned i = 0; i < c->worker_count; i++)
            sets[n++] = c->workers[i].metrics;
    }
    if (sets != NULL)
        metric_pages(p->to, groups, p->count);
    free(sets);
    free(groups);
}

static void seen_families(const struct page *p)
{
    struct seen_group *groups = calloc(p->count, sizeof *groups);
    if (groups == NULL)
        return;
    for (size_t at = 0; at < p->count; at++) {
        connector_take_stats(p->list[at]);
        groups[at] = (struct seen_group){ .seen = &p->list[at]->seen, .labels = p->labels[at] };
    }
    seen_page(groups, p->count, p->to);
    free(groups);
}

void connectors_metrics(const struct connectors *all, struct strb *to)
{
    char texts[CONNECTORS_MAX][UUID_TEXT_BYTES + 16];
    const char *labels[CONNECTORS_MAX] = { NULL };
    const struct page page = { to, all->list, labels, all->count };
    for (size_t i = 0; all->count > 1 && i < all->count; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "tunnel=\"%s\"", all->list[i]->tunnel);
        labels[i] = texts[i];
    }
    if (all->count == 0)
        return;
    rows(&page);
    codes_family(&page);
    number_family(&page, FAMILY_CONFIG_VERSION, version_of);
    reloads_family(&page);
    number_family(&page, FAMILY_HA_CONNECTIONS, ready_of);
    seen_families(&page);
    access_log_metrics(all->list[0]->conf.access_log.writer, to);
}

unsigned connectors_ready(const struct connectors *all)
{
    unsigned n = 0;
    for (size_t i = 0; i < all->count; i++)
        n += connector_ready(all->list[i]);
    return n;
}
