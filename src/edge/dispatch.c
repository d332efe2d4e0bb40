/* Where a visitor's request goes: hostname → tunnel → link → a stream on it. The dispatcher is the
 * exchange's right side; what it carries, tunnel/client.h knows. */
#include "base/err.h"
#include "base/log.h"
#include "edge/attempt.h"
#include "edge/balance.h"
#include "edge/edge_int.h"
#include "edge/forward.h"
#include "edge/replay.h"
#include "http/method.h"
#include "http/page.h"

#define DOUBT_NSEC   (3 * NSEC_PER_SEC)
#define ATTEMPTS_MAX 8 /* over all links and all waiting */
#define SUCCESSION_NSEC                                                                            \
    (10 * NSEC_PER_SEC) /* in which connectors of the edge before are awaited                      \
                         */

struct dispatch {
    struct task task;
    struct list waiting; /* in the worker's list of those whose answer has not begun, or of those
                            that are held */
    struct edge_worker *worker;
    struct exchange *ex;
    struct asked asked;
    struct balance_ask ask;
    struct attempt attempt;
    struct link_tried tried;
    struct replay replay;
    struct deadline hold;
    struct deadline doubt; /* how long an answer is awaited from a connector that gives no sign */
    nsec hold_end;         /* 0 = it was never held */
    bool is_held;
    bool is_lent;      /* the edge behind us asks, whose words a failure is told in */
    bool was_reset;    /* by the connector, in the last attempt */
    bool is_too_large; /* for a link over HTTP/2 */
    struct deadline answer;
    uint64_t moved; /* by the attempt when that was set */
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

/* Of what has a dispatcher. */
static void say(struct dispatch *d, enum failure failure, const char *text)
{
    if (d->is_lent)
        exchange_fail_as(d->ex, failure, ERR_ORIGIN, text);
    else
        answer(d->ex, failure, text);
}

static void answer_no_route(struct exchange *ex, const char *hostname)
{
    answer(ex, FAILURE_NO_ROUTE,
           arena_fmt(&ex->arena, "This edge has no route for \"%s\".", hostname));
}

/* ---- one attempt ---- */

static void count_choice(struct edge_worker *w, const struct balance_ask *ask)
{
    static const enum edge_metric POLICIES[] = {
        [BALANCE_LEAST_REQUESTS] = EDGE_chosen_least_requests,
        [BALANCE_ROUND_ROBIN] = EDGE_chosen_round_robin,
        [BALANCE_RANDOM] = EDGE_chosen_random,
        [BALANCE_HASH] = EDGE_chosen_hash,
    };
    static const enum edge_metric RESULTS[] = {
        [AFFINITY_FOUND] = EDGE_affinity_hit,
        [AFFINITY_LOST] = EDGE_affinity_lost,
        [AFFINITY_AWAY] = EDGE_affinity_away,
        [AFFINITY_NEW] = EDGE_affinity_new,
    };
    if (ask->rule != NULL && ask->result != AFFINITY_UNUSED)
        metric_add(w->metrics, RESULTS[ask->result], 1);
    if (ask->result != AFFINITY_FOUND)
        metric_add(w->metrics,
                   POLICIES[ask->rule != NULL ? ask->rule->balance.policy : BALANCE_LEAST_REQUESTS],
                   1);
}

/* What a choice by an operator's word leaves behind. */
static void note_choice(struct dispatch *d, const struct link *l)
{
    char connector[UUID_TEXT_BYTES];
    count_choice(d->worker, &d->ask);
    if (d->ask.rule == NULL)
        return;
    d->asked.cookie = balance_cookie(&d->ask, l, &d->ex->arena);
    log_debug("replica chosen", LSTR("request", d->ex->id),
              LSTR("policy", balance_policy_text(d->ask.rule->balance.policy)),
              LSTR("affinity", affinity_result_text(d->ask.result)),
              LSTR("connector", uuid_text(&l->connector, connector)), LSTR("label", l->label),
              LU64("index", l->index));
}

/* Picks a link and starts on it: 0, ERR_NOLINK when there is none left. */
static int begin(struct dispatch *d)
{
    struct edge_worker *w = d->worker;
    for (;;) {
        struct link *l = balance_pick(w->links, &d->asked.tunnel, &d->ask, w->index,
                                      loop_rng(w->loop), loop_now(w->loop), &d->tried);
        bool is_tired = d->tried.count == LINK_TRIES_MAX || d->asked.links == ATTEMPTS_MAX;
        if ((l == NULL || is_tired) && d->is_too_large)
            return ERR_LIMIT;
        if (l == NULL || is_tired) /* one that was tried is there, though it failed */
            return d->asked.links > 0 ? ERR_RESET : ERR_NOLINK;
        note_choice(d, l);
        d->tried.connectors[d->tried.count] = l->connector;
        d->tried.ids[d->tried.count++] = l->id;
        d->asked.connector = l->connector;
        d->asked.index = l->index;
        d->asked.links++;
        d->asked.is_linked = true;
        int r = attempt_start(&d->attempt, w, l, d->ex, &d->task);
        if (r == 0) {
            d->ex->at.linked = loop_now(w->loop);
            if (l->is_stand_in)
                metric_add(w->metrics, EDGE_borrowed, 1);
            if (d->is_lent && d->ex->request.upgrade == UPGRADE_NONE)
                attempt_note_lent(&d->attempt);
            return 0;
        }
        d->is_too_large |= r == ERR_LIMIT;
        log_debug("link could not take an exchange", LSTR("connection", l->connection), LERR(r));
    }
}

/* A connection that ends by TCP's FIN cuts its streams, one that is reset resets them: while
 * nothing of an answer has come both say that its connector is gone. */
static bool may_repeat(const struct dispatch *d, int why)
{
    return (err_repeats(why) || why == ERR_CUT) && attempt_is_unanswered(&d->attempt) &&
           method_is_idempotent(d->ex->request.method) &&
           (!attempt_took_body(&d->attempt) || replay_can(&d->replay));
}

/* Gives the attempt up for another: 0, or the body cannot be had again. */
static int give_up(struct dispatch *d)
{
    bool took_body = attempt_took_body(&d->attempt);
    attempt_end(&d->attempt);
    return took_body ? replay_again(&d->replay, d->ex) : 0;
}

/* ---- waiting ---- */

static void list_in(struct dispatch *d, struct list *all)
{
    if (!list_has_neighbours(&d->waiting))
        list_push_back(all, &d->waiting);
}

/* What is lent does not count: once the edge behind us asks for no more, it is over by itself. */
bool dispatch_may_ask(const struct edge_worker *w)
{
    if (!list_is_empty(&w->held))
        return true;
    for (const struct list *it = w->waiting.next; it != &w->waiting; it = it->next)
        if (!container_of(it, struct dispatch, waiting)->is_lent)
            return true;
    return false;
}

/* What the edge before us had is as good as just lost. */
static bool is_successor(const struct edge_worker *w)
{
    const struct edge_inheritance *from = w->edge->conf.from;
    if (from != NULL && !atomic_load_explicit(&from->is_gone, memory_order_relaxed))
        return true;
    return w->edge->conf.is_successor && loop_now(w->loop) - w->opened_at < SUCCESSION_NSEC;
}

/* A connector that is being restarted is back in a moment: there is nothing to lose but time. */
static bool may_hold(const struct dispatch *d)
{
    const struct edge_worker *w = d->worker;
    nsec now = loop_now(w->loop);
    return w->edge->conf.hold > 0 && !d->was_reset && !d->is_lent &&
           d->asked.links < ATTEMPTS_MAX && (d->hold_end == 0 || now < d->hold_end) &&
           (link_table_served(w->links, &d->asked.tunnel, now, LINK_LOST_NSEC) || is_successor(w));
}

static void hold(struct dispatch *d)
{
    struct edge_worker *w = d->worker;
    if (d->hold_end == 0) {
        d->hold_end = loop_now(w->loop) + w->edge->conf.hold;
        metric_add(w->metrics, EDGE_held, 1);
        log_info("request waits for a connector", LSTR("request", d->ex->id),
                 LSTR("host", d->asked.hostname));
    }
    list_remove(&d->waiting);
    list_push_back(&w->held, &d->waiting);
    d->is_held = true;
    deadline_clear(&d->answer); /* no connector has it */
    deadline_set(&d->hold, &d->task, d->hold_end);
}

static void unhold(struct dispatch *d)
{
    d->is_held = false;
    d->tried.count = 0;
    list_remove(&d->waiting);
    deadline_clear(&d->hold);
}

void dispatch_link_came(struct edge_worker *w, const struct uuid *tunnel)
{
    list_each(it, &w->held)
    {
        struct dispatch *d = container_of(it, struct dispatch, waiting);
        if (memcmp(d->asked.tunnel.bytes, tunnel->bytes, sizeof tunnel->bytes) == 0)
            task_wake(&d->task);
    }
    list_each(at, &w->waiting)
    {
        struct dispatch *d = container_of(at, struct dispatch, waiting);
        if (memcmp(d->asked.tunnel.bytes, tunnel->bytes, sizeof tunnel->bytes) == 0)
            task_wake(&d->task);
    }
}

void dispatch_link_doubtful(struct edge_worker *w, const struct link *l)
{
    dispatch_link_came(w, &l->tunnel);
}

/* The connector does not answer at all, and another may. */
static bool should_move(const struct dispatch *d)
{
    return atomic_load_explicit(&d->attempt.link->is_suspect, memory_order_relaxed) &&
           may_repeat(d, ERR_RESET) && d->asked.links < ATTEMPTS_MAX &&
           link_table_has_better(d->worker->links, &d->asked.tunnel, &d->tried);
}

/* ---- the right side ---- */

static void leave(struct dispatch *d)
{
    struct exchange *ex = d->ex;
    attempt_end(&d->attempt);
    balance_ask_done(&d->ask);
    replay_done(&d->replay);
    list_remove(&d->waiting);
    deadline_clear(&d->hold);
    deadline_clear(&d->doubt);
    deadline_clear(&d->answer);
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
        say(d, FAILURE_NO_LINK,
            "The hostname is known, but no connector of its tunnel is connected to this edge.");
    else if (why == ERR_LIMIT && d->is_too_large)
        say(d, FAILURE_HEAD_TOO_LARGE, ATTEMPT_TOO_LARGE);
    else if (why == ERR_ORIGIN)
        say(d, attempt_failure(&d->attempt), attempt_cause(&d->attempt));
    else if (d->was_reset)
        say(d, FAILURE_ORIGIN_CUT, "The connector ended the request without an answer.");
    else
        say(d, failure_of_err(why, HOP_TUNNEL), err_text(why));
    leave(d);
}

/* Goes as far as it can: ERR_AGAIN, 0, or what ended it. */
static int step(struct dispatch *d)
{
    int r = d->attempt.link != NULL ? 0 : begin(d);
    if (r < 0)
        return r;
    replay_keep(&d->replay, d->ex);
    r = attempt_run(&d->attempt);
    if (d->ex->response != NULL || r != ERR_AGAIN)
        list_remove(&d->waiting);
    else
        list_in(d, &d->worker->waiting);
    return r;
}

/* True when another attempt is to follow. */
static bool try_again(struct dispatch *d, int why)
{
    bool moves = why == ERR_AGAIN;
    log_info("exchange moves to another link", LSTR("request", d->ex->id),
             LSTR("connection", d->attempt.link->connection),
             LSTR("why", moves ? "its connector does not answer" : err_text(why)));
    metric_add(d->worker->metrics, moves ? EDGE_moved : EDGE_repeated, 1);
    note_reset(d, why);
    return give_up(d) == 0;
}

/* ---- patience with the connector ---- */

/* Grows with whatever shows that a request is on its way: a byte of its body that was taken, an
 * interim answer, another link. A long upload is as little a silent connector as 102 is. */
static uint64_t moved_so_far(const struct dispatch *d)
{
    const struct body *up = &d->ex->up;
    return up->total - buf_len(&up->held) + d->ex->interims + d->asked.links;
}

/* The rest of its body is awaited, for which it has a time of its own (--stall-timeout). */
static bool is_visitors_turn(const struct dispatch *d)
{
    const struct exchange *ex = d->ex;
    return attempt_has_sent_head(&d->attempt) && !ex->up.ended && buf_is_empty(&ex->up.held) &&
           ex->request.upgrade == UPGRADE_NONE && (ex->wants_body || !ex->request.expects_continue);
}

/* Whether the connector's head is late. Behind each step that ended in waiting. */
static bool is_out_of_patience(struct dispatch *d, bool is_over)
{
    nsec patience = d->worker->edge->conf.response;
    uint64_t moved = moved_so_far(d);
    if (patience == 0 || d->ex->response != NULL || is_visitors_turn(d)) {
        deadline_clear(&d->answer);
        return false;
    }
    if (moved != d->moved || !(is_over || deadline_is_set(&d->answer)))
        deadline_set(&d->answer, &d->task, loop_now(d->worker->loop) + patience);
    else if (is_over)
        return true;
    d->moved = moved;
    return false;
}

/* What may not be repeated waits for a connector that gives no sign of life, but not for long. */
static bool is_hopeless(struct dispatch *d, bool is_over)
{
    bool is_doubtful = d->ex->response == NULL &&
                       atomic_load_explicit(&d->attempt.link->is_suspect, memory_order_relaxed);
    if (!is_doubtful)
        deadline_clear(&d->doubt);
    else if (!is_over && !deadline_is_set(&d->doubt))
        deadline_set(&d->doubt, &d->task, loop_now(d->worker->loop) + DOUBT_NSEC);
    return is_doubtful && is_over;
}

static void time_out(struct dispatch *d)
{
    say(d, FAILURE_RESPONSE_TIMEOUT, "The connector took the request, and no answer came from it.");
    leave(d);
}

/* The edge before us had just lost what it stood in for. */
static bool is_no_more_lent(const struct dispatch *d, int why)
{
    return why == ERR_ORIGIN && d->attempt.link != NULL && d->attempt.link->is_stand_in &&
           attempt_failure(&d->attempt) == FAILURE_NO_LINK &&
           (!attempt_took_body(&d->attempt) || replay_can(&d->replay));
}

static void dispatch_run(struct task *t)
{
    struct dispatch *d = container_of(t, struct dispatch, task);
    bool is_over = deadline_take(&d->answer), is_doubt_over = deadline_take(&d->doubt);
    if (exchange_has_failed(d->ex) || exchange_has_left(d->ex, EX_LEFT)) {
        leave(d);
        return;
    }
    forward_trailers(d->ex);
    parting_before(d->ex);
    if (d->is_held)
        unhold(d);
    for (;;) {
        int r = step(d);
        if (r == ERR_AGAIN && is_out_of_patience(d, is_over)) {
            time_out(d);
            return;
        }
        bool is_parted = (r == 0 || r == ERR_AGAIN) && parting_after(d->ex);
        if (r == 0 || is_parted) {
            leave(d);
            return;
        }
        if (r == ERR_AGAIN && !should_move(d)) {
            if (is_hopeless(d, is_doubt_over))
                fail(d, ERR_TIMEOUT);
            return;
        }
        if (is_no_more_lent(d, r)) {
            if (try_again(d, ERR_NOLINK))
                continue;
            fail(d, ERR_NOMEM);
            return;
        }
        if (d->attempt.link == NULL && may_hold(d)) {
            hold(d);
            return;
        }
        if (d->attempt.link == NULL || (r != ERR_AGAIN && !may_repeat(d, r)) || !try_again(d, r)) {
            fail(d, r == ERR_AGAIN ? ERR_NOMEM : r);
            return;
        }
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

/* Ready to run. */
static void begin_dispatch(struct dispatch *d, struct edge_worker *w, struct exchange *ex)
{
    ex->at.routed = loop_now(w->loop);
    d->worker = w;
    d->ex = ex;
    list_init(&d->waiting);
    if (ex->request.framing != FRAMING_NONE && method_is_idempotent(ex->request.method))
        replay_init(&d->replay, ex);
    task_init(&d->task, w->loop, dispatch_run);
    exchange_attach(ex, &d->task);
    dispatch_run(&d->task);
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
    struct snapshot_match route = { 0 };
    d->asked.hostname = hostname;
    d->asked.is_routed =
        w->snapshot != NULL && snapshot_match(w->snapshot, slice_str(hostname), &route);
    d->asked.tunnel = route.tunnel;
    d->asked.series = hostname_view_get(w->hostnames, route.name);
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
    bool is_https = slice_eq(slice_str(h1_conn_scheme(conn)), SLICE("https"));
    if (balance_ask_init(&d->ask, route.rule, w->edge->affinity_secret, ex, h1_conn_peer(conn),
                         is_https) < 0) {
        exchange_fail(ex, ERR_NOMEM, HOP_EDGE, NULL);
        return;
    }
    begin_dispatch(d, w, ex);
}

/* The edge behind us has counted it, and put into its head what belongs there. */
void dispatch_lent(struct edge_worker *w, struct exchange *ex)
{
    struct snapshot_match route = { 0 };
    struct dispatch *d = arena_alloc(&ex->arena, sizeof *d);
    char *hostname = hostname_of(ex);
    if (d == NULL || hostname == NULL) {
        exchange_fail(ex, ERR_NOMEM, HOP_EDGE, NULL);
        return;
    }
    d->is_lent = true;
    d->asked.hostname = hostname;
    d->asked.is_routed =
        w->snapshot != NULL && snapshot_match(w->snapshot, slice_str(hostname), &route);
    d->asked.tunnel = route.tunnel;
    if (!d->asked.is_routed) {
        exchange_fail_as(ex, FAILURE_NO_LINK, ERR_NOLINK, "the edge before does not know it");
        return;
    }
    metric_add(w->metrics, EDGE_lent, 1);
    begin_dispatch(d, w, ex);
}

void dispatch_head(void *ctx, struct exchange *ex)
{
    const struct asked *asked = ex->user;
    bool is_theirs = ex->verdict.err == 0 && ex->verdict.failure == FAILURE_NONE;
    (void)ctx;
    if (asked != NULL && asked->cookie != NULL && is_theirs &&
        fields_add(&ex->response->fields, SLICE("Set-Cookie"), slice_str(asked->cookie)) < 0)
        log_debug("no room for the cookie of a replica", LSTR("request", ex->id));
    if (forward_response(ex) < 0) /* a head that is full goes out as it is */
        log_debug("no room for Cf-Ray", LSTR("request", ex->id));
}
