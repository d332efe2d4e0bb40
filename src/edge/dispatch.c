/* Where a visitor's request goes: hostname → tunnel → link → a stream on it. The dispatcher is the
 * exchange's right side; what it carries, tunnel/client.h knows. */
#include "base/err.h"
#include "base/log.h"
#include "edge/attempt.h"
#include "edge/edge_int.h"
#include "edge/forward.h"
#include "http/method.h"
#include "http/page.h"

struct dispatch {
    struct task task;
    struct edge_worker *worker;
    struct exchange *ex;
    struct asked asked;
    struct attempt attempt;
    struct link_tried tried;
    bool was_reset; /* by the connector, in the last attempt */
};

/* ---- answers of our own ---- */

static void answer(struct exchange *ex, enum failure failure, const char *text)
{
    struct page page;
    ex->verdict.failure = failure;
    ex->verdict.hop = failure_row(failure)->hop;
    ex->verdict.text = text;
    page_for_failure(failure, text, &page);
    if (page_respond(ex, &page) < 0)
        exchange_fail(ex, ERR_NOMEM, HOP_EDGE, NULL);
}

static void answer_no_route(struct exchange *ex, const char *hostname)
{
    answer(ex, FAILURE_NO_ROUTE,
           arena_fmt(&ex->arena, "This edge has no route for \"%s\".", hostname));
}

/* ---- one attempt ---- */

/* Picks a link and starts on it: 0, ERR_NOLINK when there is none left. */
static int begin(struct dispatch *d)
{
    struct edge_worker *w = d->worker;
    for (;;) {
        struct link *l = link_table_pick(w->links, &d->asked.tunnel, w->index, loop_rng(w->loop),
                                         loop_now(w->loop), &d->tried);
        if (l == NULL ||
            d->tried.count == LINK_TRIES_MAX) /* one that was tried is there, though it failed */
            return d->tried.count > 0 ? ERR_RESET : ERR_NOLINK;
        d->tried.ids[d->tried.count++] = l->id;
        d->asked.connector = l->connector;
        d->asked.index = l->index;
        d->asked.links = d->tried.count;
        d->asked.is_linked = true;
        int r = attempt_start(&d->attempt, w, l, d->ex, &d->task);
        if (r == 0) {
            d->ex->at.linked = loop_now(w->loop);
            return 0;
        }
        log_debug("link could not take an exchange", LSTR("connection", l->connection), LERR(r));
    }
}

static bool may_repeat(const struct dispatch *d, int why)
{
    return err_repeats(why) && attempt_is_fresh(&d->attempt) &&
           method_is_idempotent(d->ex->request.method);
}

/* ---- the right side ---- */

static void leave(struct dispatch *d)
{
    struct exchange *ex = d->ex;
    attempt_end(&d->attempt);
    task_done(&d->task);
    exchange_leave(ex, EX_RIGHT); /* d lives in the exchange's arena: not to be touched any more */
}

/* A connector resets the stream of a request whose origin broke off, and what it had written before
 * may be lost with that; when its connection is lost, the link goes too. */
static void note_reset(struct dispatch *d, int why)
{
    if (d->attempt.link != NULL)
        d->was_reset = (why == ERR_RESET || why == ERR_CUT || why == ERR_EOF) &&
                       link_table_find(d->worker->links, d->attempt.link->id) != NULL;
}

static void fail(struct dispatch *d, int why)
{
    struct exchange *ex = d->ex;
    note_reset(d, why);
    if (ex->response != NULL)
        exchange_fail_as(ex, d->was_reset ? FAILURE_ORIGIN_CUT : FAILURE_LINK_LOST,
                         why == ERR_EOF ? ERR_CUT : why, "the response broke off");
    else if (why == ERR_NOLINK)
        answer(ex, FAILURE_NO_LINK,
               "The hostname is known, but no connector of its tunnel is connected to this edge.");
    else if (why == ERR_ORIGIN)
        answer(ex, attempt_failure(&d->attempt), attempt_cause(&d->attempt));
    else if (d->was_reset)
        answer(ex, FAILURE_ORIGIN_CUT, "The connector ended the request without an answer.");
    else
        answer(ex, failure_of_err(why, HOP_TUNNEL), err_text(why));
    leave(d);
}

static void dispatch_run(struct task *t)
{
    struct dispatch *d = container_of(t, struct dispatch, task);
    if (exchange_has_failed(d->ex) || exchange_has_left(d->ex, EX_LEFT)) {
        leave(d);
        return;
    }
    forward_trailers(d->ex);
    for (;;) {
        int r = d->attempt.link != NULL ? 0 : begin(d);
        if (r == 0)
            r = attempt_run(&d->attempt);
        if (r == ERR_AGAIN)
            return;
        if (r == 0) {
            leave(d);
            return;
        }
        if (d->attempt.link == NULL || !may_repeat(d, r)) {
            fail(d, r);
            return;
        }
        log_info("exchange moves to another link", LSTR("request", d->ex->id),
                 LSTR("connection", d->attempt.link->connection), LERR(r));
        metric_add(d->worker->metrics, EDGE_repeated, 1);
        note_reset(d, r);
        attempt_end(&d->attempt);
    }
}

/* Host without port, in lower case, as a string in the arena; NULL when memory is short. */
static char *hostname_of(struct exchange *ex)
{
    struct slice host = ex->request.host;
    size_t colon = slice_find_last(host, ':');
    if (colon < host.n && (host.n == 0 || host.p[0] != '[' || host.p[colon - 1] == ']'))
        host.n = colon;
    char *name = arena_str(&ex->arena, host);
    for (char *c = name; c != NULL && *c != 0; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c |= 0x20;
    return name;
}

void dispatch_route(void *ctx, struct exchange *ex, const struct h1_conn *conn)
{
    struct edge_worker *w = ctx;
    metric_add(w->metrics, EDGE_requests, 1);
    metric_add(w->metrics, EDGE_exchanges, 1);
    struct dispatch *d = arena_alloc(&ex->arena, sizeof *d);
    char *hostname = hostname_of(ex);
    unsigned loops = forward_loops(ex);
    if (d == NULL || hostname == NULL ||
        forward_request(ex, h1_conn_peer(conn), h1_conn_scheme(conn)) < 0) {
        exchange_fail_as(ex, FAILURE_HEAD_TOO_LARGE, ERR_LIMIT,
                         "With the fields that the edge adds there are too many of them.");
        return;
    }
    struct slice route = { 0 };
    d->asked.hostname = hostname;
    d->asked.is_routed = w->snapshot != NULL &&
                         snapshot_match(w->snapshot, slice_str(hostname), &d->asked.tunnel, &route);
    d->asked.series = hostname_view_get(w->hostnames, route);
    metric_bump(&d->asked.series->in_flight, 1);
    ex->user = &d->asked;
    if (ex->request.upgrade == UPGRADE_CONNECT) {
        exchange_fail(ex, ERR_UNSUPPORTED, HOP_EDGE, "CONNECT is not offered on this hostname");
        return;
    }
    if (loops >= FORWARD_LOOPS_MAX) {
        answer(ex, FAILURE_LOOP,
               "It has passed an edge too often: the service behind this hostname leads back to a "
               "tunnel.");
        return;
    }
    if (!d->asked.is_routed) {
        answer_no_route(ex, hostname);
        return;
    }
    ex->at.routed = loop_now(w->loop);
    d->worker = w;
    d->ex = ex;
    task_init(&d->task, w->loop, dispatch_run);
    exchange_attach(ex, &d->task);
    dispatch_run(&d->task);
}

void dispatch_head(void *ctx, struct exchange *ex)
{
    (void)ctx;
    if (forward_response(ex) < 0) /* a head that is full goes out as it is */
        log_debug("no room for Cf-Ray", LSTR("request", ex->id));
}
