#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "connector/config_request.h"
#include "connector/edge_dial.h"
#include "connector/transport.h"
#include "net/tls.h"
#include "tunnel/h2_server.h"

#define SERVER_NAME     "h2.cftunnel.com"
#define DIAL_NSEC       (10 * NSEC_PER_SEC)  /* to the edge's request for the control stream */
#define KEEPALIVE_NSEC  (240 * NSEC_PER_SEC) /* of silence: then a PING; our edge comes before */
#define ASK_NSEC        NSEC_PER_SEC         /* likewise, when we said something */
#define PONG_NSEC       (3 * NSEC_PER_SEC)   /* until the connection is given up */
#define CONTROL_STREAMS 1

enum step { STEP_TCP, STEP_TLS, STEP_CONTROL, STEP_OPEN, STEP_CLOSED };

struct transport_h2 {
    struct transport base;
    struct task task;
    struct task *owner;
    struct deadline deadline;
    enum step step;
    struct edge_dial dial;
    char ip[ADDR_TEXT_BYTES]; /* that is dialled */
    struct stream *under;     /* TCP, then TLS */
    struct tls_creds *tls;
    struct h2_conn *h2;
    struct h2_stream *control;
    bool is_control_taken;
    uint64_t streams_max;
    int err;
    char text[256];
    struct reaper reaper;
};

static struct transport_h2 *of(const struct transport *t)
{
    return container_of((struct transport *)(uintptr_t)t, struct transport_h2, base);
}

static void fail(struct transport_h2 *t, int err, const char *what, const char *why)
{
    t->step = STEP_CLOSED;
    t->err = err;
    (void)snprintf(t->text, sizeof t->text, "%s%s%s", what != NULL ? what : "",
                   what != NULL ? ": " : "", why);
    deadline_clear(&t->deadline);
    task_wake(t->owner);
}

/* ---- the dial, step by step; each says ERR_AGAIN, 0, or has failed ---- */

static int step_tcp(struct transport_h2 *t)
{
    int r = edge_dial_run(&t->dial, &t->under);
    if (r == ERR_AGAIN)
        return r;
    if (r < 0) {
        fail(t, r, NULL, t->dial.text);
        return r;
    }
    t->step = STEP_TLS;
    return 0;
}

/* Begins with the first call, when `tls` is still ours to use. */
static int step_tls(struct transport_h2 *t)
{
    struct buf none;
    if (t->tls != NULL) {
        struct stream *tls;
        int r = tls_connect(t->base.loop, t->tls, SLICE(SERVER_NAME), t->under, &t->task, &tls);
        if (r < 0) {
            fail(t, r, "TLS", err_text(r));
            return r;
        }
        t->under = tls;
        tls_creds_unref(t->tls);
        t->tls = NULL;
    }
    if (!tls_is_ready(t->under)) {
        buf_init(&none, loop_chunks(t->base.loop), 0);
        int r = stream_read(t->under, &none, 0);
        buf_done(&none);
        if (r < 0 && r != ERR_AGAIN)
            fail(t, r, "TLS", tls_failure(t->under)[0] != 0 ? tls_failure(t->under) : err_text(r));
        return r == 0 ? ERR_AGAIN : r;
    }
    const struct h2_conf conf = {
        .is_server = true,
        .stream_window = TUNNEL_H2_STREAM_WINDOW_BYTES,
        .conn_window = TUNNEL_H2_CONN_WINDOW_BYTES,
        .frame_bytes = TUNNEL_H2_FRAME_BYTES,
        .streams_max = t->streams_max < INT32_MAX ? (uint32_t)t->streams_max : INT32_MAX,
        .head_bytes = TUNNEL_H2_HEAD_BYTES_MAX,
        .abuse_burst = TUNNEL_H2_ABUSE_BURST,
        .abuse_rate = TUNNEL_H2_ABUSE_BURST,
        .keepalive = KEEPALIVE_NSEC,
        .ask = ASK_NSEC,
        .pong = PONG_NSEC,
    };
    int r = h2_open(t->base.loop, &conf, t->under, &t->task, &t->h2);
    if (r < 0) {
        fail(t, r, "HTTP/2", err_text(r));
        return r;
    }
    t->under = NULL;
    t->step = STEP_CONTROL;
    return 0;
}

/* After its GOAWAY the edge sends nothing new: what is open ends, then another connection is made.
 */
static bool is_left(struct transport_h2 *t)
{
    struct h2_stats stats;
    if (h2_conn_state(t->h2) != H2_DRAINING)
        return false;
    h2_conn_stats(t->h2, &stats);
    h2_conn_tell_left(t->h2, CONTROL_STREAMS);
    return stats.streams <= CONTROL_STREAMS;
}

static bool is_lost(struct transport_h2 *t)
{
    struct h2_why why;
    if (h2_conn_state(t->h2) != H2_CLOSED && !is_left(t))
        return false;
    h2_conn_why(t->h2, &why);
    int err = why.err < 0 ? why.err : ERR_CLOSED;
    /* The reference's words for the usual end. */
    const char *text = why.text != NULL && why.text[0] != 0 ? why.text : err_text(err);
    fail(t, err, "connection with edge closed", text);
    return true;
}

/* The edge asks for the control stream before anything else. */
static int step_control(struct transport_h2 *t)
{
    static const struct h2_field FIELDS[] = {
        { { (const uint8_t *)"content-type", 12 },
          { (const uint8_t *)"application/octet-stream", 24 },
          false },
    };
    const struct h2_send_head head = { .status = 200, .fields = FIELDS, .count = 1 };
    const struct h2_head *asked;
    if (is_lost(t))
        return ERR_CLOSED;
    int r = h2_conn_accept(t->h2, &t->task, &t->control);
    if (r == ERR_AGAIN)
        return r;
    if (r == 0)
        r = h2_stream_head(t->control, &asked);
    if (r == 0 && h2_kind_of(asked) != H2_CONTROL)
        r = ERR_PROTO;
    if (r == 0)
        r = h2_stream_respond(t->control, &head, false);
    if (r < 0) {
        fail(t, r, "the edge asked for something else before the control stream", err_text(r));
        return r;
    }
    t->step = STEP_OPEN;
    h2_conn_set_owner(t->h2, t->owner);
    deadline_clear(&t->deadline);
    task_wake(t->owner);
    return 0;
}

static void fail_late(struct transport_h2 *t)
{
    static const char *const MISSING[] = {
        [STEP_TCP] = "the edge was not reached in time",
        [STEP_TLS] = "the edge did not end the TLS handshake in time",
        [STEP_CONTROL] = "the edge did not ask for the control stream in time",
    };
    fail(t, ERR_TIMEOUT, "HTTP/2", MISSING[t->step]);
}

static void run(struct task *task)
{
    static int (*const STEPS[])(struct transport_h2 *) = {
        [STEP_TCP] = step_tcp,
        [STEP_TLS] = step_tls,
        [STEP_CONTROL] = step_control,
    };
    struct transport_h2 *t = container_of(task, struct transport_h2, task);
    if (deadline_take(&t->deadline))
        fail_late(t);
    while (t->step < STEP_OPEN && STEPS[t->step](t) == 0)
        continue;
}

/* ---- the verbs ---- */

static enum transport_state state(struct transport *base)
{
    struct transport_h2 *t = of(base);
    if (t->step == STEP_OPEN)
        (void)is_lost(t);
    return t->step == STEP_OPEN     ? TRANSPORT_OPEN
           : t->step == STEP_CLOSED ? TRANSPORT_CLOSED
                                    : TRANSPORT_DIALING;
}

static bool has_heard(const struct transport *base)
{
    return of(base)->step > STEP_TCP;
}

static int why(struct transport *base, const char **ret_text)
{
    *ret_text = of(base)->text;
    return of(base)->err;
}

static int control(struct transport *base, struct task *owner, struct stream **ret)
{
    struct transport_h2 *t = of(base);
    *ret = h2_stream_body(t->control);
    (*ret)->owner = owner;
    t->is_control_taken = true;
    return 0;
}

/* A second control stream would be the edge's mistake. */
static void refuse(struct h2_stream *s)
{
    h2_stream_reset(s, H2_PROTOCOL_ERROR);
    stream_release(h2_stream_body(s));
}

static void serve_all(struct transport *base, struct serve *serve, unsigned index,
                      unsigned extensions)
{
    struct transport_h2 *t = of(base);
    const struct h2_hop hop = { .scheme = "http",
                                .extensions = extensions,
                                .connection = (int)index };
    struct h2_stream *s;
    const struct h2_head *head;
    while (t->step == STEP_OPEN && h2_conn_accept(t->h2, NULL, &s) == 0) {
        enum h2_kind kind = h2_stream_head(s, &head) == 0 ? h2_kind_of(head) : H2_CONTROL;
        if (kind == H2_CONTROL)
            refuse(s);
        else if (kind == H2_CONFIGURATION)
            config_request_open(serve, s);
        else
            serve_h2_stream(serve, s, head, &hop);
    }
}

static void drain(struct transport *base)
{
    h2_conn_tell_left(of(base)->h2, CONTROL_STREAMS);
}

static bool is_idle(const struct transport *base)
{
    struct h2_stats stats;
    h2_conn_stats(of(base)->h2, &stats);
    return stats.streams <= CONTROL_STREAMS;
}

static void set_owner(struct transport *base, struct task *owner)
{
    of(base)->owner = owner;
    h2_conn_set_owner(of(base)->h2, owner);
}

static void local(const struct transport *base, struct addr *ret)
{
    *ret = of(base)->dial.local;
}

static bool stats(const struct transport *base, struct quic_stats *ret)
{
    (void)base;
    (void)ret;
    return false;
}

static void reap(struct reaper *r)
{
    free(container_of(r, struct transport_h2, reaper));
}

static void close_now(struct transport *base)
{
    struct transport_h2 *t = of(base);
    edge_dial_done(&t->dial);
    deadline_clear(&t->deadline);
    task_done(&t->task);
    if (t->control != NULL && !t->is_control_taken)
        stream_release(h2_stream_body(t->control));
    stream_release(t->under);
    tls_creds_unref(t->tls);
    h2_conn_release(t->h2);
    loop_reap(t->base.loop, &t->reaper, reap);
}

static void ping(struct transport *base)
{
    struct transport_h2 *t = of(base);
    if (t->h2 != NULL)
        h2_conn_ping(t->h2);
}

static const struct transport_ops H2 = {
    .kind = TRANSPORT_H2,
    .state = state,
    .has_heard = has_heard,
    .why = why,
    .control = control,
    .serve = serve_all,
    .drain = drain,
    .is_idle = is_idle,
    .set_owner = set_owner,
    .local = local,
    .ping = ping,
    .stats = stats,
    .close = close_now,
};

int transport_dial_h2(const struct transport_dial *d, struct transport **ret)
{
    struct transport_h2 *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    t->base = (struct transport){ .ops = &H2, .loop = d->loop };
    t->owner = d->owner;
    t->streams_max = d->streams_max;
    t->tls = tls_creds_ref(d->tls);
    task_init(&t->task, d->loop, run);
    deadline_set(&t->deadline, &t->task, loop_now_fresh(d->loop) + DIAL_NSEC);
    struct edge_goal goal = { .host = slice_str(addr_ip_text(&d->edge, t->ip)),
                              .port = addr_port(&d->edge),
                              .address = d->edge,
                              .proxy_tls = d->proxy_tls };
    goal.proxy = origin_proxy_for(d->proxies, true, goal.host, goal.port);
    int r = edge_dial_start(&t->dial, d->loop, &goal, &t->task);
    if (r < 0)
        fail(t, r, NULL, t->dial.text);
    task_wake(&t->task);
    *ret = &t->base;
    return 0;
}
