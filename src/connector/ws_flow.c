#include "connector/ws_flow.h"

#include "base/err.h"
#include "base/log.h"
#include "codec/websocket_reader.h"
#include "connector/failover.h"
#include "connector/origin_failure.h"
#include "connector/socks_talk.h"
#include "net/tcp.h"

#define PUMP_STEPS_MAX 8 /* then others have their turn */
/* What one step may put besides: a reply of SOCKS, a pong and a ping, with their heads. */
#define SMALL_BYTES 512
#define CUT_TEXT    "the websocket ended amid a message"

enum ws_stage { WS_DIALLING, WS_TALKING, WS_RELAYING };

struct ws_flow {
    struct task task;
    struct deadline ping;
    struct serve *serve;
    struct exchange *ex;
    struct ingress *ingress; /* counted */
    struct ws_flow_opts opts;
    enum ws_stage stage;
    struct origin_conn *conn;
    struct upstream_turn turn; /* of a rule with several services */
    struct stream *stream;     /* when connected */
    struct socks_talk talk;
    struct websocket_reader reader;
    struct buf up;   /* payload for the origin, or for the dialogue */
    struct buf down; /* what the origin sent, until it is framed */
    struct slice key;
    bool up_closed;   /* a close frame or a breach: nothing behind it counts */
    bool up_finished; /* the origin was told the end */
    bool owes_pong;
    uint8_t pong_bytes;
    uint8_t pong[WEBSOCKET_CONTROL_BYTES];
    char host[ADDR_TEXT_BYTES]; /* what a dialogue led to */
};

/* f lives in the exchange's arena: not to be touched afterwards. */
static void leave(struct ws_flow *f)
{
    struct exchange *ex = f->ex;
    deadline_clear(&f->ping);
    socks_talk_done(&f->talk);
    origin_close(f->conn);
    upstream_leave(&f->turn);
    buf_done(&f->up);
    buf_done(&f->down);
    ingress_unref(f->ingress);
    task_done(&f->task);
    exchange_leave(ex, EX_RIGHT);
}

/* The flow is over in order: what was put goes out, then the end. */
static void end(struct ws_flow *f)
{
    if (f->stream != NULL)
        stream_finish(f->stream);
    parting_end_down(f->ex);
    leave(f);
}

static void fail(struct ws_flow *f, enum failure failure, int err, const char *why)
{
    const char *text = arena_fmt(&f->ex->arena, "%s", why);
    exchange_fail_as(f->ex, failure, err, text != NULL ? text : "out of memory");
    leave(f);
}

static const char *dial_failure(const struct ws_flow *f, int err)
{
    const char *why = f->conn != NULL ? origin_failure(f->conn) : "";
    return why[0] != 0 ? why : err_text(err);
}

static enum failure failure_of_dial(const struct ws_flow *f, int err)
{
    return f->conn != NULL && origin_failure(f->conn)[0] != 0
               ? origin_failure_to_connect(origin_failed_at(f->conn), err,
                                           origin_tls_fault(f->conn))
               : failure_of_err(err, HOP_ORIGIN);
}

/* What goes wrong once the visitor is connected: his frames, or memory. */
static enum failure failure_of_frames(int err)
{
    return failure_of_err(err, err == ERR_CUT ? HOP_VISITOR : HOP_CONNECTOR);
}

static void dial_failed(struct ws_flow *f, int err)
{
    metric_add(f->serve->metrics, SERVE_errors, 1);
    metric_add(f->serve->metrics, SERVE_connect_errors, f->opts.kind != WS_SOCKS_POLICY);
    if (f->opts.kind == WS_SOCKS_POLICY) /* told in SOCKS: the exchange itself does not fail */
        serve_failed_within(f->serve, f->ex, failure_of_dial(f, err), dial_failure(f, err));
}

/* A destination that is not even dialled. */
static void talk_failed(struct ws_flow *f)
{
    struct socks_talk *t = &f->talk;
    enum failure failure = t->failure;
    char host[ADDR_TEXT_BYTES];
    const char *why;
    if (failure == FAILURE_NONE)
        return;
    t->failure = FAILURE_NONE;
    if (failure == FAILURE_ADDRESS_REFUSED)
        why = arena_fmt(&f->ex->arena, "ipRules do not allow %s, port %u",
                        addr_ip_text(&t->addr, host), addr_port(&t->addr));
    else
        why = arena_fmt(&f->ex->arena, "look up %.*s:%u: %s", SLICE_FMT(t->dest.host), t->dest.port,
                        err_text(t->err));
    metric_add(f->serve->metrics, SERVE_errors, 1);
    serve_failed_within(f->serve, f->ex, failure, why != NULL ? why : err_text(t->err));
}

/* ---- frames towards the visitor ---- */

static bool has_room(const struct ws_flow *f)
{
    return body_room(&f->ex->down) >= WS_MESSAGE_BYTES_MAX + SMALL_BYTES;
}

static int put_head(struct ws_flow *f, enum websocket_opcode opcode, size_t n)
{
    struct websocket_frame frame = { .opcode = opcode, .is_final = true, .length = n };
    struct body *down = &f->ex->down;
    uint8_t head[WEBSOCKET_HEAD_BYTES];
    size_t size = websocket_head_encode(&frame, head);
    int r = buf_put(&down->held, slice_of(head, size));
    if (r == 0)
        down->total += size;
    return r;
}

static int put_small(struct ws_flow *f, enum websocket_opcode opcode, struct slice payload)
{
    struct body *down = &f->ex->down;
    int r = put_head(f, opcode, payload.n);
    if (r == 0)
        r = buf_put(&down->held, payload);
    if (r < 0)
        return r;
    down->total += payload.n;
    exchange_wake_left(f->ex);
    return 0;
}

/* What waits in `down` as one message, by reference. */
static int put_message(struct ws_flow *f)
{
    size_t n = buf_len(&f->down);
    int r = put_head(f, WEBSOCKET_BINARY, n);
    if (r == 0 && body_put(&f->ex->down, &f->down, n) < n)
        r = ERR_NOMEM;
    exchange_wake_left(f->ex);
    return r;
}

/* Pings and pongs; when the way is blocked a ping is not needed and a pong waits. */
static int put_signs_of_life(struct ws_flow *f)
{
    int r = 0;
    if (f->ex->response == NULL || !has_room(f))
        return 0;
    if (f->owes_pong)
        r = put_small(f, WEBSOCKET_PONG, slice_of(f->pong, f->pong_bytes));
    f->owes_pong = false;
    if (r == 0 && deadline_take(&f->ping)) {
        r = put_small(f, WEBSOCKET_PING, (struct slice){ 0 });
        deadline_set(&f->ping, &f->task, loop_now(f->ex->loop) + f->opts.ping_every);
    }
    return r;
}

static int acknowledge(struct ws_flow *f)
{
    char accept[WEBSOCKET_ACCEPT_BYTES];
    struct response *r = response_new(f->ex, 101);
    int e = r != NULL ? 0 : ERR_NOMEM;
    if (e == 0 && f->key.n > 0) {
        e = websocket_accept_key(f->key, accept);
        if (e == 0)
            e = fields_add(&r->fields, SLICE("Connection"), SLICE("Upgrade"));
        if (e == 0)
            e = fields_add(&r->fields, SLICE("Upgrade"), SLICE("websocket"));
        if (e == 0)
            e = fields_add_copy(&r->fields, SLICE("Sec-Websocket-Accept"), slice_str(accept));
    }
    if (e < 0)
        return e;
    f->ex->wants_body = true;
    deadline_set(&f->ping, &f->task, loop_now(f->ex->loop) + f->opts.ping_every);
    serve_connected(f->serve, f->ex);
    exchange_respond(f->ex, r);
    return 0;
}

/* ---- frames from the visitor ---- */

static void owe_pong(struct ws_flow *f)
{
    f->owes_pong = true;
    f->pong_bytes = (uint8_t)f->reader.frame.length;
    memcpy(f->pong, f->reader.control, f->pong_bytes);
}

/* 0 when something was taken; ERR_AGAIN; ERR_NOMEM; ERR_CUT when the visitor ended amid a message.
 */
static int take_up(struct ws_flow *f)
{
    struct body *up = &f->ex->up;
    size_t before = buf_len(&up->held);
    int news = WEBSOCKET_PINGED;
    while (!f->up_closed && news == WEBSOCKET_PINGED) {
        news = websocket_read(&f->reader, &up->held, &f->up);
        if (news == WEBSOCKET_PINGED)
            owe_pong(f);
        else if (news == ERR_NOMEM)
            return news;
        else if (news == WEBSOCKET_OVER || news < 0)
            f->up_closed = true;
    }
    if (f->up_closed)
        buf_drop(&up->held, buf_len(&up->held));
    if (buf_len(&up->held) < before)
        exchange_wake_left(f->ex);
    if (!f->up_closed && up->ended && news == WEBSOCKET_HUNGRY &&
        (!buf_is_empty(&up->held) || websocket_is_within(&f->reader)))
        return ERR_CUT;
    return buf_len(&up->held) < before ? 0 : ERR_AGAIN;
}

/* One step of both kinds of frames that need no origin. As take_up. */
static int exchange_frames(struct ws_flow *f)
{
    int taken = take_up(f), r = put_signs_of_life(f);
    return r < 0 ? r : taken;
}

static bool up_is_over(const struct ws_flow *f)
{
    return (f->up_closed || body_is_over(&f->ex->up)) && buf_is_empty(&f->up);
}

/* ---- the relay ---- */

/* 0 when something moved, ERR_AGAIN, or what ended the direction. */
static int pump_up(struct ws_flow *f)
{
    size_t before = buf_len(&f->up);
    if (f->up_finished)
        return ERR_AGAIN;
    int r = before > 0 ? stream_write(f->stream, &f->up) : 0;
    if (r < 0 && r != ERR_AGAIN)
        return r;
    if (up_is_over(f)) {
        f->up_finished = true;
        stream_finish(f->stream);
    }
    return buf_len(&f->up) < before ? 0 : ERR_AGAIN;
}

static int pump_down(struct ws_flow *f)
{
    if (!has_room(f))
        return ERR_AGAIN;
    int r = stream_read(f->stream, &f->down, WS_MESSAGE_BYTES_MAX);
    if (buf_is_empty(&f->down))
        return r;
    int e = put_message(f);
    return e < 0 ? e : r;
}

static void relay(struct ws_flow *f)
{
    for (unsigned step = 0; step < PUMP_STEPS_MAX; step++) {
        int taken = exchange_frames(f), up, down;
        if (taken < 0 && taken != ERR_AGAIN) {
            fail(f, failure_of_frames(taken), taken, taken == ERR_CUT ? CUT_TEXT : err_text(taken));
            return;
        }
        up = pump_up(f);
        if (up == ERR_NOMEM) { /* ours: what the origin got of it must not look complete */
            fail(f, failure_of_err(up, HOP_CONNECTOR), up, err_text(up));
            return;
        }
        if (f->up_closed && (f->up_finished || (up < 0 && up != ERR_AGAIN))) {
            end(f);
            return;
        }
        down = pump_down(f);
        if (down == ERR_EOF) {
            end(f);
            return;
        }
        /* An origin that takes no more may still have something to say. */
        if (down < 0 && down != ERR_AGAIN) {
            fail(f, failure_of_err(down, HOP_ORIGIN), down, "the origin's connection broke off");
            return;
        }
        if (down == ERR_AGAIN && up != 0 && taken != 0)
            return;
    }
    task_wake(&f->task);
}

/* ---- up to the relay ---- */

static int dial(struct ws_flow *f)
{
    const struct service *service = failover_next(f->serve, &f->turn);
    if (service != NULL) {
        f->opts.target.host = service->host;
        f->opts.target.port = service->port;
    }
    int r = origin_open(f->serve->origins, &f->opts.target, true, &f->task, &f->conn);
    f->stage = WS_DIALLING;
    if (r == 0)
        metric_add(f->serve->metrics, SERVE_dials, 1);
    return r;
}

static int say(struct ws_flow *f, const struct socks_reply *reply)
{
    return reply->n > 0 ? put_small(f, WEBSOCKET_BINARY, slice_of(reply->bytes, reply->n)) : 0;
}

/* The dialogue learns how the dial went. */
static int tell_dialled(struct ws_flow *f, int err)
{
    struct socks_reply reply = { 0 };
    struct addr local = { 0 };
    if (err == 0)
        tcp_local_addr(f->stream, &local);
    socks_talk_dialled(&f->talk, err, &local, &reply);
    f->stage = WS_TALKING;
    return say(f, &reply);
}

/* 0 to go on; ERR_AGAIN; else it failed, which only a dialogue survives. */
static int run_dialling(struct ws_flow *f)
{
    int r = f->conn != NULL ? origin_run(f->conn) : ERR_NOMEM;
    if (r == ERR_AGAIN)
        return r;
    if (r < 0 && failover_missed(f->serve, &f->turn, r, dial_failure(f, r))) {
        origin_close(f->conn);
        f->conn = NULL;
        return dial(f);
    }
    if (r == 0) {
        failover_reached(f->serve, &f->turn);
        f->stream = origin_stream(f->conn);
        f->ex->at.linked = loop_now(f->ex->loop);
    } else {
        dial_failed(f, r);
    }
    if (f->opts.kind == WS_SOCKS_POLICY)
        return tell_dialled(f, r);
    f->stage = f->opts.kind == WS_DIRECT ? WS_RELAYING : WS_TALKING;
    return r == 0 ? acknowledge(f) : r;
}

static int begin_dial(struct ws_flow *f)
{
    if (f->opts.kind == WS_SOCKS_FIXED)
        return tell_dialled(f, 0);
    f->opts.target.host = slice_str(addr_ip_text(&f->talk.addr, f->host));
    f->opts.target.port = addr_port(&f->talk.addr);
    (void)dial(f); /* run_dialling tells */
    return 0;
}

/* 0 to go on; ERR_AGAIN; ERR_EOF when the dialogue led nowhere; ERR_NOMEM. */
static int run_talking(struct ws_flow *f)
{
    struct socks_reply reply;
    if (!has_room(f))
        return ERR_AGAIN;
    switch (socks_talk_run(&f->talk, f->serve->loop, &f->task, &f->up, &reply)) {
    case SOCKS_SAYS:
        talk_failed(f);
        return say(f, &reply);
    case SOCKS_DIALS:
        return begin_dial(f);
    case SOCKS_BEGINS:
        f->stage = WS_RELAYING;
        return 0;
    case SOCKS_ENDS:
        return ERR_EOF;
    case SOCKS_WAITS:
        break;
    }
    return up_is_over(f) ? ERR_EOF : ERR_AGAIN;
}

/* Goes on until the relay; false when there is nothing more to do now, or no flow any more. */
static bool approach(struct ws_flow *f)
{
    while (f->stage != WS_RELAYING) {
        bool is_dial = false;
        int r = exchange_frames(f);
        if (r == 0 || r == ERR_AGAIN) {
            is_dial = f->stage == WS_DIALLING;
            r = is_dial ? run_dialling(f) : run_talking(f);
        }
        if (r == 0)
            continue;
        if (r == ERR_EOF)
            end(f);
        else if (r != ERR_AGAIN)
            fail(f, is_dial ? failure_of_dial(f, r) : failure_of_frames(r), r,
                 is_dial        ? dial_failure(f, r)
                 : r == ERR_CUT ? CUT_TEXT
                                : err_text(r));
        return false;
    }
    return true;
}

static void ws_flow_run(struct task *t)
{
    struct ws_flow *f = container_of(t, struct ws_flow, task);
    if (exchange_has_failed(f->ex) || exchange_has_left(f->ex, EX_LEFT)) {
        leave(f);
        return;
    }
    parting_before(f->ex);
    if (approach(f))
        relay(f);
}

static int begin(struct ws_flow *f)
{
    if (f->opts.kind != WS_SOCKS_POLICY)
        return dial(f);
    f->stage = WS_TALKING;
    return acknowledge(f);
}

void ws_flow_attach(struct serve *s, struct exchange *ex, const struct ws_flow_opts *opts)
{
    struct ws_flow *f = arena_alloc(&ex->arena, sizeof *f);
    const struct field *key = fields_get(&ex->request.fields, SLICE("Sec-Websocket-Key"));
    if (f == NULL) {
        exchange_fail(ex, ERR_NOMEM, HOP_CONNECTOR, NULL);
        return;
    }
    f->serve = s;
    f->ex = ex;
    f->ingress = ingress_ref(opts->rules);
    f->opts = *opts;
    f->turn.of = opts->upstreams;
    f->key = key != NULL ? key->value : (struct slice){ 0 };
    task_init(&f->task, s->loop, ws_flow_run);
    socks_talk_init(&f->talk, opts->kind == WS_SOCKS_POLICY, opts->ip_rules,
                    opts->target.connect_timeout);
    websocket_reader_init(&f->reader);
    buf_init(&f->up, loop_chunks(s->loop), WS_UP_BYTES_MAX);
    buf_init(&f->down, loop_chunks(s->loop), WS_MESSAGE_BYTES_MAX);
    exchange_attach(ex, &f->task);
    int r = begin(f);
    if (r < 0)
        fail(f, failure_of_err(r, HOP_CONNECTOR), r, err_text(r));
    else
        task_wake(&f->task);
}
