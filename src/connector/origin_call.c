#include "connector/origin_call.h"

#include "base/err.h"
#include "connector/failover.h"
#include "connector/origin_failure.h"
#include "connector/origin_h2.h"
#include "connector/origin_talk.h"
#include "connector/origin_target.h"
#include "connector/rewrite.h"
#include "http/method.h"
#include "tunnel/metadata.h"

struct origin_call {
    struct task task;
    struct serve *serve;
    struct exchange *ex;
    struct origin_call_opts opts;
    struct origin_conn *conn;
    struct upstream_turn turn;   /* of a rule with several services */
    struct origin_talk talk;     /* begun when the request is on its way */
    struct origin_h2_dial *dial; /* others wait for it */
    struct origin_h2_wait wait;  /* for what another dials */
    bool has_waited;             /* once: then it dials */
    bool is_second;              /* try, on a fresh connection */
    bool is_reused;              /* the connection is one that served others */
    bool is_edited;              /* the response's head is as the rule wants it */
    struct deadline patience;    /* for the origin's next byte, while it is its turn */
    uint64_t progress;           /* what had moved when it was set */
};

static void end_dial(struct origin_call *c)
{
    origin_h2_dial_end(c->dial);
    c->dial = NULL;
}

static void release(struct origin_call *c)
{
    origin_talk_done(&c->talk);
    origin_close(c->conn);
    c->conn = NULL;
    end_dial(c);
}

/* c lives in the exchange's arena: not to be touched afterwards. */
static void leave(struct origin_call *c)
{
    struct exchange *ex = c->ex;
    release(c);
    origin_h2_wait_end(&c->wait);
    upstream_leave(&c->turn);
    deadline_clear(&c->patience);
    origin_target_done(&c->opts.target);
    c->opts.release(c->opts.keep);
    task_done(&c->task);
    exchange_leave(ex, EX_RIGHT);
}

static enum failure failure_of(const struct origin_call *c, int err)
{
    if (origin_talk_is_on(&c->talk))
        return origin_failure_to_answer(err, origin_talk_got_any(&c->talk),
                                        c->ex->response != NULL);
    if (c->conn != NULL && origin_failure(c->conn)[0] != 0)
        return origin_failure_to_connect(origin_failed_at(c->conn), err, origin_tls_fault(c->conn));
    return failure_of_err(err, HOP_ORIGIN);
}

static void fail(struct origin_call *c, int err, const char *what)
{
    struct exchange *ex = c->ex;
    enum failure failure = failure_of(c, err);
    const char *text = arena_fmt(&ex->arena, TUNNEL_UNREACHABLE "%s", what);
    metric_add(c->serve->metrics, SERVE_errors, 1);
    exchange_fail_as(ex, failure, err, text != NULL ? text : TUNNEL_UNREACHABLE);
    leave(c);
}

static int begin_h2(struct origin_call *c, struct h2_conn *conn)
{
    c->ex->at.linked = loop_now(c->ex->loop);
    int r = h2_client_init(&c->talk.h2, c->ex, conn, &c->task, NULL);
    if (r == 0)
        c->talk.protocol = ORIGIN_TALK_H2;
    return r;
}

/* What begins at once shares the connection that the first of them dials. */
static bool waits_for_other(struct origin_call *c)
{
    if (c->has_waited)
        return false;
    c->has_waited = origin_h2_wait_begin(c->serve->origins_h2, &c->opts.target, &c->wait, &c->task);
    return c->has_waited;
}

static int open_conn(struct origin_call *c)
{
    const struct service *service = NULL;
    if (origin_h2_is_waiting(&c->wait))
        return ERR_AGAIN;
    if (c->turn.at == NULL)
        service = failover_next(c->serve, &c->turn);
    if (service != NULL)
        origin_target_aim(&c->opts.target, c->ex, c->opts.rule, service);
    origin_target_route(&c->opts.target, c->serve->proxies);
    if (c->opts.target.proxy != NULL && !c->opts.target.proxy->is_usable)
        return ERR_UNSUPPORTED;
    /* Only a new connection tells whether a service that was out of turn is back. */
    bool fresh = c->is_second || c->turn.failures > 0;
    struct h2_conn *shared = NULL;
    if (c->opts.target.offers_h2 && !fresh)
        shared = origin_h2_find(c->serve->origins_h2, &c->opts.target);
    if (c->opts.target.offers_h2 && !fresh && shared == NULL && waits_for_other(c))
        return ERR_AGAIN;
    if (shared != NULL) {
        metric_add(c->serve->metrics, SERVE_reuses, 1);
        c->is_reused = true;
        failover_reached(c->serve, &c->turn);
        return begin_h2(c, shared);
    }
    int r = origin_open(c->serve->origins, &c->opts.target, fresh, &c->task, &c->conn);
    if (r < 0)
        return r;
    c->is_reused = origin_was_reused(c->conn);
    if (c->opts.target.offers_h2 && !c->is_reused)
        c->dial = origin_h2_dial_begin(c->serve->origins_h2, &c->opts.target);
    metric_add(c->serve->metrics, c->is_reused ? SERVE_reuses : SERVE_dials, 1);
    return 0;
}

static int begin(struct origin_call *c)
{
    struct h1_request_opts opts = { .no_chunked = c->opts.no_chunked,
                                    .head_max = c->serve->head_max };
    int r = origin_run(c->conn);
    if (r < 0)
        return r;
    failover_reached(c->serve, &c->turn);
    if (c->opts.target.offers_h2 && strcmp(tls_alpn(origin_stream(c->conn)), "h2") == 0) {
        struct h2_conn *shared;
        struct origin_conn *conn = c->conn;
        c->conn = NULL;
        r = origin_h2_adopt(c->serve->origins_h2, conn, &c->opts.target, &shared);
        if (r == 0)
            r = begin_h2(c, shared);
        end_dial(c);
        return r;
    }
    end_dial(c);
    r = origin_target_address(&c->opts.target, c->ex, &opts);
    if (r < 0)
        return r;
    c->ex->at.linked = loop_now(c->ex->loop);
    c->talk.protocol = ORIGIN_TALK_H1;
    return h1_client_init(&c->talk.h1, c->ex, origin_stream(c->conn), &c->task, &opts);
}

/* A kept-alive connection that the origin closed in the meantime says nothing about the origin: try
 * once more on a new one, with a request that may be sent twice: the origin may have acted on it.
 * With HTTP/2 it may say that it has not (REFUSED_STREAM, GOAWAY): then with any request. */
static bool is_stale(const struct origin_call *c)
{
    bool is_safe = origin_talk_was_refused(&c->talk) ||
                   (c->is_reused && method_is_idempotent(c->ex->request.method));
    return origin_talk_is_on(&c->talk) && !c->is_second && origin_talk_is_fresh(&c->talk) &&
           is_safe;
}

static const char *reason(const struct origin_call *c, int err)
{
    if (err == ERR_UNSUPPORTED && c->conn == NULL)
        return "the proxy of the connector's environment (HTTP_PROXY, HTTPS_PROXY) is none of the "
               "kind http://host:port";
    if (!origin_talk_is_on(&c->talk))
        return c->conn != NULL && origin_failure(c->conn)[0] != 0 ? origin_failure(c->conn)
                                                                  : err_text(err);
    if (origin_talk_text(&c->talk) != NULL)
        return origin_talk_text(&c->talk);
    return err == ERR_CUT && !origin_talk_got_any(&c->talk)
               ? "the origin closed the connection without an answer"
               : err_text(err);
}

/* The left side looks at the response in a turn of its own, after this. */
static int edit(struct origin_call *c)
{
    if (c->is_edited || c->ex->response == NULL)
        return 0;
    c->is_edited = true;
    return rewrite_response(c->ex, c->opts.rule->extras, c->opts.host);
}

static void complete(struct origin_call *c)
{
    bool is_reusable = c->talk.protocol == ORIGIN_TALK_H1 && c->talk.h1.is_reusable;
    origin_talk_done(&c->talk);
    if (is_reusable) {
        origin_keep(c->conn);
        c->conn = NULL;
    }
    leave(c);
}

/* How long the origin may be silent now; 0 = it is not its turn, or it may be for ever. */
static int64_t patience_of(const struct origin_call *c)
{
    const struct exchange *ex = c->ex;
    const struct origin_request *o = &c->opts.rule->request;
    if (!origin_talk_is_on(&c->talk) || ex->is_upgraded)
        return 0;
    if (ex->response == NULL)
        return origin_talk_has_sent(&c->talk) ? o->response_timeout : 0;
    return body_room(&ex->down) > 0 ? o->idle_timeout : 0;
}

static uint64_t progress_of(const struct exchange *ex)
{
    return ex->down.total + (ex->response != NULL ? 1 : 0);
}

static void wait_for_origin(struct origin_call *c)
{
    const struct exchange *ex = c->ex;
    int64_t patience = patience_of(c);
    uint64_t progress = progress_of(ex);
    if (patience <= 0)
        deadline_clear(&c->patience);
    else if (!deadline_is_set(&c->patience) || progress != c->progress)
        deadline_set(&c->patience, &c->task, loop_now(ex->loop) + (nsec)patience);
    c->progress = progress;
}

/* What the choice among several services learns from this one. */
static void tell_turn(struct origin_call *c)
{
    if (c->ex->response != NULL)
        failover_answered(c->serve, &c->turn);
    else if (origin_talk_is_on(&c->talk) && origin_talk_has_sent(&c->talk))
        failover_asked(c->serve, &c->turn);
}

static void is_too_late(struct origin_call *c)
{
    bool is_headless = c->ex->response == NULL;
    const char *why = is_headless ? "timeout awaiting response headers"
                                  : "the origin stopped in the middle of its answer";
    if (is_headless)
        failover_silent(c->serve, &c->turn, why);
    fail(c, ERR_TIMEOUT, why);
}

static void origin_call_run(struct task *t)
{
    struct origin_call *c = container_of(t, struct origin_call, task);
    if (exchange_has_failed(c->ex) || exchange_has_left(c->ex, EX_LEFT)) {
        leave(c);
        return;
    }
    bool is_late = deadline_take(&c->patience);
    parting_before(c->ex);
    for (;;) {
        bool is_on = origin_talk_is_on(&c->talk);
        int r = c->conn == NULL && !is_on ? open_conn(c) : 0;
        if (r == 0 && !origin_talk_is_on(&c->talk))
            r = begin(c);
        if (r == 0)
            r = origin_talk_run(&c->talk);
        tell_turn(c);
        int edited = edit(c);
        if (edited < 0) {
            fail(c, edited, REWRITE_FAILED);
            return;
        }
        if (r == ERR_AGAIN && is_late && patience_of(c) > 0 && progress_of(c->ex) == c->progress) {
            is_too_late(c);
            return;
        }
        bool is_parted = (r == 0 || r == ERR_AGAIN) && parting_after(c->ex);
        if (r == ERR_AGAIN && is_parted) {
            leave(c);
            return;
        }
        if (r == ERR_AGAIN) {
            wait_for_origin(c);
            return;
        }
        if (r == 0) {
            complete(c);
            return;
        }
        if (origin_talk_wants_h1(&c->talk) && origin_talk_is_fresh(&c->talk)) {
            release(c);
            c->opts.target.refuses_h2 = true;
            origin_target_aim(&c->opts.target, c->ex, c->opts.rule,
                              c->turn.at != NULL ? &c->turn.at->service : &c->opts.rule->service);
            continue;
        }
        if (!origin_talk_is_on(&c->talk) && failover_missed(c->serve, &c->turn, r, reason(c, r))) {
            release(c);
            c->is_second = false;
            continue;
        }
        if (!is_stale(c)) {
            fail(c, r, reason(c, r));
            return;
        }
        metric_add(c->serve->metrics, SERVE_stale, 1);
        release(c);
        c->is_second = true;
    }
}

void origin_call_attach(struct serve *s, struct exchange *ex, const struct origin_call_opts *opts)
{
    struct origin_call *c = arena_alloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        struct origin_target target = opts->target;
        origin_target_done(&target);
        opts->release(opts->keep);
        exchange_fail(ex, ERR_LIMIT, HOP_CONNECTOR, "the request's head is too large");
        return;
    }
    c->serve = s;
    c->ex = ex;
    c->opts = *opts;
    c->turn.of = rule_upstreams(opts->rule);
    task_init(&c->task, s->loop, origin_call_run);
    exchange_attach(ex, &c->task);
    task_wake(&c->task);
}
