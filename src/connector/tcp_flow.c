#include "connector/tcp_flow.h"

#include "base/err.h"
#include "codec/uri.h"
#include "connector/origin.h"
#include "connector/origin_failure.h"

#define PUMP_STEPS_MAX 8 /* then others have their turn */

struct tcp_flow {
    struct task task;
    struct serve *serve;
    struct exchange *ex;
    struct origin_conn *conn;
    struct stream *stream; /* when connected */
    bool up_finished;
};

/* f lives in the exchange's arena: not to be touched afterwards. */
static void leave(struct tcp_flow *f)
{
    struct exchange *ex = f->ex;
    origin_close(f->conn);
    flow_limit_give(f->serve->flows);
    metric_add(f->serve->metrics, SERVE_tcp_active, -1);
    task_done(&f->task);
    exchange_leave(ex, EX_RIGHT);
}

static void fail(struct tcp_flow *f, int err, const char *why)
{
    struct exchange *ex = f->ex;
    const char *text = arena_fmt(&ex->arena, "unable to dial tcp to origin %.*s: %s",
                                 SLICE_FMT(ex->request.target), why);
    metric_add(f->serve->metrics, SERVE_errors, 1);
    metric_add(f->serve->metrics, SERVE_connect_errors, 1);
    enum failure failure =
        f->conn != NULL && origin_failure(f->conn)[0] != 0
            ? origin_failure_to_connect(origin_failed_at(f->conn), err, origin_tls_fault(f->conn))
            : failure_of_err(err, HOP_ORIGIN);
    exchange_fail_as(ex, failure, err, text != NULL ? text : "unable to dial tcp to origin");
    leave(f);
}

static int start(struct tcp_flow *f)
{
    struct response *r = response_new(f->ex, 200);
    if (r == NULL)
        return ERR_NOMEM;
    f->stream = origin_stream(f->conn);
    f->ex->wants_body = true;
    f->ex->at.linked = loop_now(f->ex->loop);
    serve_connected(f->serve, f->ex);
    exchange_respond(f->ex, r);
    return 0;
}

/* 0 when something moved, ERR_AGAIN, or what ended the direction. */
static int pump_up(struct tcp_flow *f)
{
    struct buf *held = &f->ex->up.held;
    size_t before = buf_len(held);
    if (f->up_finished)
        return ERR_AGAIN;
    int r = before > 0 ? stream_write(f->stream, held) : 0;
    if (buf_len(held) < before)
        exchange_wake_left(f->ex);
    if (r < 0)
        return r;
    if (body_is_over(&f->ex->up)) {
        f->up_finished = true;
        stream_finish(f->stream);
    }
    return buf_len(held) < before ? 0 : ERR_AGAIN;
}

static int pump_down(struct tcp_flow *f)
{
    struct body *down = &f->ex->down;
    size_t before = buf_len(&down->held);
    if (body_room(down) == 0)
        return ERR_AGAIN;
    int r = stream_read(f->stream, &down->held, READ_STEP_BYTES);
    down->total += buf_len(&down->held) - before;
    if (r == ERR_EOF)
        body_end(down);
    if (r == 0 || r == ERR_EOF)
        exchange_wake_left(f->ex);
    return r;
}

static void pump_both(struct tcp_flow *f)
{
    for (unsigned step = 0; step < PUMP_STEPS_MAX; step++) {
        int up = pump_up(f), down = pump_down(f);
        if (down == ERR_EOF) {
            leave(f);
            return;
        }
        if (up == ERR_NOMEM) { /* ours: nobody would wake us for it */
            exchange_fail(f->ex, up, HOP_CONNECTOR, NULL);
            leave(f);
            return;
        }
        /* An origin that takes no more may still have something to say. */
        if (down < 0 && down != ERR_AGAIN) {
            exchange_fail(f->ex, down, HOP_ORIGIN, "the origin's connection broke off");
            leave(f);
            return;
        }
        if (down == ERR_AGAIN && up != 0)
            return;
    }
    task_wake(&f->task);
}

static void tcp_flow_run(struct task *t)
{
    struct tcp_flow *f = container_of(t, struct tcp_flow, task);
    if (exchange_has_failed(f->ex) || exchange_has_left(f->ex, EX_LEFT)) {
        leave(f);
        return;
    }
    if (f->stream == NULL) {
        int r = origin_run(f->conn);
        if (r == ERR_AGAIN)
            return;
        if (r == 0)
            r = start(f);
        if (r < 0) {
            const char *why = origin_failure(f->conn);
            fail(f, r, why[0] != 0 ? why : err_text(r));
            return;
        }
    }
    pump_both(f);
}

/* dest must be an address: names are not looked up for an edge. */
static int take_dest(struct exchange *ex, struct host_port *ret, const char **ret_text)
{
    struct slice dest = ex->request.target;
    struct addr ignored;
    if (host_port_parse(dest, ret) < 0 || !ret->has_port) {
        *ret_text = arena_fmt(&ex->arena, "invalid ip:port: %.*s", SLICE_FMT(dest));
        return ERR_INVALID;
    }
    if (addr_parse_ip(ret->host, ret->port, &ignored) < 0) {
        *ret_text =
            arena_fmt(&ex->arena, "ParseAddr(\"%.*s\"): unable to parse IP", SLICE_FMT(ret->host));
        return ERR_INVALID;
    }
    return 0;
}

void tcp_flow_attach(struct serve *s, struct exchange *ex)
{
    const struct warp_routing *w = &s->warp;
    struct host_port to;
    const char *text = NULL;
    int r = take_dest(ex, &to, &text);
    if (r < 0) {
        exchange_fail(ex, r, HOP_CONNECTOR, text);
        return;
    }
    if (!flow_limit_take(s->flows)) {
        exchange_fail(ex, ERR_BUSY, HOP_CONNECTOR,
                      "failed to start tcp flow due to rate limiting: too many active flows");
        return;
    }
    struct origin_target target = {
        .host = to.host,
        .port = to.port,
        .connect_timeout = w->connect_timeout >= 0 ? (nsec)w->connect_timeout : 1,
        .tcp_keepalive = w->tcp_keepalive > 0 ? (nsec)w->tcp_keepalive : 0,
    };
    struct tcp_flow *f = arena_alloc(&ex->arena, sizeof *f);
    if (f == NULL) {
        flow_limit_give(s->flows);
        exchange_fail(ex, ERR_NOMEM, HOP_CONNECTOR, NULL);
        return;
    }
    f->serve = s;
    f->ex = ex;
    metric_add(s->metrics, SERVE_tcp_active, 1);
    task_init(&f->task, s->loop, tcp_flow_run);
    r = origin_open(s->origins, &target, true, &f->task, &f->conn);
    exchange_attach(ex, &f->task);
    if (r < 0) {
        fail(f, r, err_text(r));
        return;
    }
    metric_add(s->metrics, SERVE_dials, 1);
    task_wake(&f->task);
}
