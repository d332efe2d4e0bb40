/* What is counted and logged of an exchange when it is over. */
#include "base/log.h"
#include "edge/edge_int.h"
#include "http/access_log.h"

static uint64_t between(nsec from, nsec to)
{
    return from > 0 && to > from ? to - from : 0;
}

static void observe(struct edge_worker *w, size_t row, nsec from, nsec to)
{
    if (to > 0)
        metric_observe(w->metrics, row, between(from, to));
}

static void count_phases(struct edge_worker *w, const struct phases *at)
{
    observe(w, EDGE_phase_route, at->received, at->routed);
    if (at->routed > 0)
        observe(w, EDGE_phase_link, at->routed, at->linked);
    if (at->linked > 0)
        observe(w, EDGE_phase_first_byte, at->linked, at->first_byte);
    if (at->first_byte > 0)
        observe(w, EDGE_phase_done, at->first_byte, at->done);
    observe(w, EDGE_duration, at->received, at->done);
}

static void count_hostname(struct hostname_series *s, const struct exchange *ex, unsigned status)
{
    unsigned class = status >= 100 && status < 600 ? status / 100 - 1 : HOSTNAME_CLASSES - 1;
    metric_bump(&s->requests[class], 1);
    metric_bump(&s->bytes_up, ex->bytes_up);
    metric_bump(&s->bytes_down, ex->bytes_down);
    metric_bump(&s->in_flight, UINT64_MAX); /* one less */
    if (ex->at.first_byte > 0)
        metric_hist_add(&s->latency, between(ex->at.received, ex->at.first_byte));
}

static void log_access(struct edge_worker *w, const struct exchange *ex, const char *visitor,
                       const struct asked *asked)
{
    char tunnel[UUID_TEXT_BYTES], connector[UUID_TEXT_BYTES];
    struct log_field fields[6];
    size_t n = 0;
    fields[n++] = LSTR("visitor", visitor);
    if (asked != NULL && asked->is_routed)
        fields[n++] = LSTR("tunnel", uuid_text(&asked->tunnel, tunnel));
    if (asked != NULL && asked->is_linked) {
        fields[n++] = LSTR("connector", uuid_text(&asked->connector, connector));
        fields[n++] = LU64("connection", asked->index);
        fields[n++] = LU64("links", asked->links);
    }
    access_log_put(w->access_log, &w->edge->conf.access_log, ex,
                   asked != NULL ? slice_str(asked->hostname) : ex->request.host, fields, n);
}

static void count_failure(struct edge_worker *w, enum failure failure)
{
    metric_add(w->metrics, EDGE_failed_UNKNOWN + (size_t)failure - FAILURE_UNKNOWN, 1);
}

/* What could not be read as a request is in the log all the same: whoever is sent away will ask
 * why. */
void account_refused(void *ctx, const struct h1_refused_head *head, const struct h1_conn *conn)
{
    struct edge_worker *w = ctx;
    count_failure(w, head->failure);
    if (w->access_log == NULL)
        return;
    char peer[ADDR_TEXT_BYTES];
    access_log_put_refused(w->access_log, &w->edge->conf.access_log, head,
                           addr_text(h1_conn_peer(conn), peer));
}

void account_done(void *ctx, const struct exchange *ex, const struct h1_conn *conn)
{
    struct edge_worker *w = ctx;
    const struct asked *asked = ex->user;
    unsigned status = ex->response != NULL ? ex->response->status : 0;
    metric_add(w->metrics, EDGE_exchanges, -1);
    metric_add(w->metrics, EDGE_bytes_up, (int64_t)ex->bytes_up);
    metric_add(w->metrics, EDGE_bytes_down, (int64_t)ex->bytes_down);
    if (status >= 100 && status < 600)
        metric_add(w->metrics, EDGE_responses_1xx + status / 100 - 1, 1);
    if (ex->verdict.failure != FAILURE_NONE)
        count_failure(w, ex->verdict.failure);
    count_phases(w, &ex->at);
    if (asked != NULL)
        count_hostname(asked->series, ex, status);
    if (w->access_log == NULL && !log_is_on(LOG_DEBUG))
        return;
    char peer[ADDR_TEXT_BYTES];
    (void)addr_text(h1_conn_peer(conn), peer);
    if (w->access_log != NULL)
        log_access(w, ex, peer, asked);
    log_debug("request", LSTR("request", ex->id), LSTR("visitor", peer),
              LSTR("hostname", asked != NULL ? asked->hostname : NULL),
              LSLICE("method", ex->request.method), LSLICE("target", ex->request.target),
              LU64("status", status), LU64("up", ex->bytes_up), LU64("down", ex->bytes_down),
              LU64("us", between(ex->at.received, ex->at.done) / NSEC_PER_USEC),
              LSTR("failure", failure_word(ex->verdict.failure)),
              LSTR("hop", hop_name(ex->verdict.hop)), LSTR("why", ex->verdict.text));
}
