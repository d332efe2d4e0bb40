#include "connector/seen.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"

static const struct metric_family FAMILIES[] = {
#define FAMILY(id, t, n, labels, h) { .type = t, .name = n, .help = h },
#include "connector/families.def"
#undef FAMILY
};

const struct metric_family *connector_family(enum connector_family id)
{
    return &FAMILIES[id];
}

static void count_refusal(struct seen *s, const char *text)
{
    char cut[SEEN_TEXT_BYTES];
    (void)snprintf(cut, sizeof cut, "%.*s", SEEN_TEXT_BYTES - 1, text);
    size_t i = 0;
    while (i < s->refusal_count && strcmp(s->refusals[i].text, cut) != 0)
        i++;
    if (i == SEEN_REFUSALS_MAX) {
        s->other_refusals++;
        return;
    }
    if (i == s->refusal_count)
        memcpy(s->refusals[s->refusal_count++].text, cut, sizeof cut);
    s->refusals[i].count++;
}

void seen_take(struct seen *s, const struct connection_news *n)
{
    struct seen_connection *c = &s->connections[n->index];
    c->edge = n->edge;
    c->transport = n->transport;
    if (n->state == CONNECTION_SERVING) {
        struct slice rest = slice_str(n->text), place;
        if (slice_split(&rest, ' ', &place))
            (void)snprintf(c->location, sizeof c->location, "%.*s", SLICE_FMT(place));
    } else if (n->state == CONNECTION_BACKOFF && n->err == ERR_AUTH) {
        count_refusal(s, n->text);
    }
}

/* ---- the page ---- */

/* The head of the family before its first series, then the series up to its own labels. */
static void begin(struct strb *to, const struct metric_family *f, const char *labels,
                  bool *has_head)
{
    if (!*has_head)
        metric_family_head(to, f);
    *has_head = true;
    strb_fmt(to, "%s{%s%s", f->name, labels != NULL ? labels : "", labels != NULL ? "," : "");
}

static void locations(const struct seen_group *g, bool *has_head, struct strb *to)
{
    const struct metric_family *f = connector_family(FAMILY_SERVER_LOCATIONS);
    for (unsigned i = 0; i < TUNNEL_CONNECTIONS_MAX; i++) {
        if (g->seen->connections[i].location[0] == 0)
            continue;
        begin(to, f, g->labels, has_head);
        strb_fmt(to, "connection_id=\"%u\",edge_location=\"", i);
        metric_label(to, slice_str(g->seen->connections[i].location));
        strb_str(to, "\"} 1\n");
    }
}

static void refusal(const struct seen_group *g, const char *text, uint64_t count, bool *has_head,
                    struct strb *to)
{
    begin(to, connector_family(FAMILY_REGISTER_FAIL), g->labels, has_head);
    strb_str(to, "error=\"");
    metric_label(to, slice_str(text));
    strb_fmt(to, "\",rpcName=\"registerConnection\"} %" PRIu64 "\n", count);
}

static void refusals(const struct seen_group *g, bool *has_head, struct strb *to)
{
    const struct seen *s = g->seen;
    for (size_t i = 0; i < s->refusal_count; i++)
        refusal(g, s->refusals[i].text, s->refusals[i].count, has_head, to);
    if (s->other_refusals > 0)
        refusal(g, "other", s->other_refusals, has_head, to);
}

static double milliseconds(nsec t)
{
    return (double)t / (double)NSEC_PER_MSEC;
}

static double value_of(const struct quic_stats *q, enum connector_family id)
{
    return id == FAMILY_QUIC_SENT_BYTES      ? (double)q->bytes_sent
           : id == FAMILY_QUIC_RECEIVE_BYTES ? (double)q->bytes_received
           : id == FAMILY_QUIC_LATEST_RTT    ? milliseconds(q->rtt_latest)
           : id == FAMILY_QUIC_SMOOTHED_RTT  ? milliseconds(q->rtt_smoothed)
           : id == FAMILY_QUIC_MIN_RTT       ? milliseconds(q->rtt_min)
           : id == FAMILY_QUIC_MTU           ? (double)q->mtu
           : id == FAMILY_QUIC_CWND          ? (double)q->cwnd
                                             : (double)q->packets_lost;
}

static void quic_series(const struct seen_group *g, enum connector_family id, bool *has_head,
                        struct strb *to)
{
    for (unsigned i = 0; i < TUNNEL_CONNECTIONS_MAX; i++) {
        if (!g->seen->connections[i].is_open)
            continue;
        begin(to, connector_family(id), g->labels, has_head);
        strb_fmt(to, "conn_index=\"%u\"} %.15g\n", i, value_of(&g->seen->connections[i].quic, id));
    }
}

void seen_page(const struct seen_group *groups, size_t count, struct strb *to)
{
    bool has_locations = false, has_refusals = false;
    for (size_t i = 0; i < count; i++)
        locations(&groups[i], &has_locations, to);
    for (size_t i = 0; i < count; i++)
        refusals(&groups[i], &has_refusals, to);
    for (unsigned id = FAMILY_QUIC_SENT_BYTES; id <= FAMILY_QUIC_LOST; id++) {
        bool has_head = false;
        for (size_t i = 0; i < count; i++)
            quic_series(&groups[i], (enum connector_family)id, &has_head, to);
    }
}
