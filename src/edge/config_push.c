/* A configuration on its way to a connector: over QUIC a call on a stream of its own, over HTTP/2
 * a request (docs/protocol.md §12.4). One attempt, which ends with an answer, a failure or its
 * deadline; the control plane decides what follows. */
#include <stdlib.h>

#include "base/err.h"
#include "base/text.h"
#include "edge/config_wire.h"
#include "edge/edge_int.h"
#include "tunnel/h2_words.h"
#include "tunnel/head.h"

#define PUSH_NSEC   (10 * NSEC_PER_SEC) /* a connector serves such a stream for five */
#define OUT_MAX     (REMOTE_CONFIG_BYTES_MAX + 65536)
#define IN_MAX      (CAPNP_MESSAGE_BYTES_MAX + 65536)
#define H2_IN_MAX   (64 * 1024)
#define EVENTS_STEP 16

struct pusher {
    struct list node;
    struct task task;
    struct deadline deadline;
    struct edge_worker *worker;
    struct config_push *push;
    struct stream *s;
    struct h2_stream *h2; /* or NULL: over QUIC */
    struct rpc *rpc;      /* over QUIC */
    uint32_t call;
    bool has_head; /* over HTTP/2: the answer's is there */
    struct buf in, out;
    struct reaper reaper;
};

static void reap(struct reaper *r)
{
    struct pusher *p = container_of(r, struct pusher, reaper);
    rpc_free(p->rpc);
    buf_done(&p->in);
    buf_done(&p->out);
    free(p);
}

/* Says what came of it. */
static void tell(struct edge_worker *w, struct config_push *push, int err)
{
    push->err = err;
    metric_add(w->metrics,
               err < 0              ? EDGE_configurations_failed
               : push->text[0] != 0 ? EDGE_configurations_refused
                                    : EDGE_configurations_applied,
               1);
    w->edge->conf.plane.configured(w->edge->conf.plane.ctx, push);
}

static void pusher_end(struct pusher *p, int err)
{
    if (p->s != NULL && err < 0)
        stream_abort(p->s, err);
    stream_release(p->s);
    deadline_clear(&p->deadline);
    task_done(&p->task);
    list_remove(&p->node);
    tell(p->worker, p->push, err);
    loop_reap(p->worker->loop, &p->reaper, reap);
}

/* ---- over QUIC ---- */

static int open_quic(struct pusher *p, struct quic_conn *conn)
{
    p->rpc = rpc_new();
    int r = p->rpc != NULL
                ? buf_put(&p->out, slice_of(HEAD_RPC_SIGNATURE, sizeof HEAD_RPC_SIGNATURE))
                : ERR_NOMEM;
    if (r == 0)
        r = rpc_bootstrap(p->rpc, &p->out);
    if (r == 0)
        r = configuration_call(p->rpc, p->push->version, p->push->json, &p->out, &p->call);
    return r < 0 ? r : quic_conn_open(conn, &p->task, &p->s);
}

/* Says goodbye as the reference's edge does; whether it is heard does not matter. */
static void finish_rpc(struct pusher *p)
{
    if (rpc_abort(&p->out, "rpc: shutdown") == 0 && stream_write(p->s, &p->out) == 0)
        stream_finish(p->s);
}

/* 0 when the answer is there, ERR_AGAIN, or why there will be none. */
static int take_event(struct pusher *p, const struct rpc_event *e)
{
    if (e->kind == RPC_OVER)
        return e->err < 0 ? e->err : ERR_CLOSED;
    if (e->kind == RPC_CALL)
        return rpc_answer_unimplemented(p->rpc, e, &p->out) < 0 ? ERR_NOMEM : ERR_AGAIN;
    if (e->id != p->call)
        return ERR_AGAIN;
    if (e->kind == RPC_RETURN)
        return config_result_read(&e->value, p->push);
    config_text_put(p->push, slice_str(e->text));
    return ERR_ORIGIN;
}

static int take_events(struct pusher *p)
{
    struct rpc_event e;
    for (unsigned i = 0; i < EVENTS_STEP; i++) {
        int r = rpc_next(p->rpc, &p->in, &p->out, &e);
        if (r == 0)
            r = take_event(p, &e);
        else if (r == ERR_AGAIN)
            return r;
        if (r != ERR_AGAIN)
            return r;
    }
    task_wake(&p->task); /* the rest in another step */
    return ERR_AGAIN;
}

static int step_quic(struct pusher *p)
{
    int read = stream_read(p->s, &p->in, READ_STEP_BYTES);
    int r = take_events(p);
    if (r == 0) {
        finish_rpc(p);
        return 0;
    }
    if (r != ERR_AGAIN)
        return r;
    r = buf_is_empty(&p->out) ? 0 : stream_write(p->s, &p->out);
    if (r < 0 && r != ERR_AGAIN)
        return r;
    if (read == 0)
        task_wake(&p->task); /* there may be more */
    return read == ERR_EOF ? ERR_CUT : read < 0 ? read : ERR_AGAIN;
}

/* ---- over HTTP/2 ---- */

static int open_h2(struct pusher *p, struct h2_conn *conn)
{
    struct strb body;
    char digits[U64_TEXT_BYTES];
    strb_init(&body, OUT_MAX);
    config_body_write(&body, p->push->version, p->push->json);
    int r = body.err;
    if (r == 0)
        r = buf_put(&p->out, strb_slice(&body));
    strb_done(&body);
    const struct h2_field fields[] = {
        { SLICE(H2_UPGRADE_FIELD), SLICE(H2_CONFIGURATION_VALUE), false },
        { SLICE("content-type"), SLICE("application/json"), false },
        { SLICE("content-length"), slice_of(digits, u64_text(buf_len(&p->out), digits)), false },
    };
    const struct h2_send_head head = { .method = SLICE("PUT"),
                                       .scheme = SLICE("https"),
                                       .authority = SLICE("h2.cftunnel.com"),
                                       .path = SLICE("/"),
                                       .fields = fields,
                                       .count = sizeof fields / sizeof fields[0] };
    if (r == 0)
        r = h2_conn_request(conn, &head, false, &p->task, &p->h2);
    if (r == 0)
        p->s = h2_stream_body(p->h2);
    return r;
}

static int take_head(struct pusher *p)
{
    const struct h2_head *head;
    int r;
    while ((r = h2_stream_head(p->h2, &head)) == 0) {
        if (head->status < 200)
            continue;
        p->has_head = true;
        if (head->status == 200)
            return 0;
        config_text_put(p->push, SLICE("the connector could not read it"));
        return ERR_ORIGIN;
    }
    return r;
}

/* The whole answer. 0, ERR_AGAIN, or what went wrong. */
static int take_answer(struct pusher *p)
{
    int r;
    while ((r = stream_read(p->s, &p->in, READ_STEP_BYTES)) == 0)
        continue;
    if (r == ERR_AGAIN && buf_room(&p->in) == 0)
        return ERR_LIMIT;
    if (r != ERR_EOF)
        return r;
    size_t n = buf_len(&p->in);
    uint8_t *text = malloc(n + 1);
    if (text == NULL)
        return ERR_NOMEM;
    r = config_body_read(slice_of(text, buf_copy(&p->in, 0, text, n)), p->push);
    free(text);
    return r;
}

static int step_h2(struct pusher *p)
{
    if (!buf_is_empty(&p->out)) {
        int r = stream_write(p->s, &p->out);
        if (r == 0)
            stream_finish(p->s);
        else if (r != ERR_AGAIN)
            return r;
    }
    int r = p->has_head ? 0 : take_head(p);
    return r < 0 ? r : take_answer(p);
}

/* ---- both ---- */

static void run(struct task *t)
{
    struct pusher *p = container_of(t, struct pusher, task);
    int r = deadline_take(&p->deadline) ? ERR_TIMEOUT : p->h2 != NULL ? step_h2(p) : step_quic(p);
    if (r != ERR_AGAIN)
        pusher_end(p, r);
}

void config_push_start(struct edge_worker *w, struct config_push *push)
{
    struct carrier *carrier;
    struct session *session = session_find(w, push->link);
    int r = session != NULL ? session_carrier(session, &carrier) : ERR_CLOSED;
    struct pusher *p = r == 0 ? calloc(1, sizeof *p) : NULL;
    metric_add(w->metrics, EDGE_configurations_sent, 1);
    if (p == NULL) {
        tell(w, push, r < 0 ? r : ERR_NOMEM);
        return;
    }
    p->worker = w;
    p->push = push;
    task_init(&p->task, w->loop, run);
    buf_init(&p->in, loop_chunks(w->loop), carrier->h2 != NULL ? H2_IN_MAX : IN_MAX);
    buf_init(&p->out, loop_chunks(w->loop), OUT_MAX);
    list_push_back(&w->config_pushes, &p->node);
    deadline_set(&p->deadline, &p->task, loop_now(w->loop) + PUSH_NSEC);
    r = carrier->h2 != NULL ? open_h2(p, carrier->h2) : open_quic(p, carrier->quic);
    if (r < 0)
        pusher_end(p, r == ERR_AGAIN ? ERR_BUSY : r);
    else
        task_wake(&p->task);
}

void config_pushes_abort(struct edge_worker *w)
{
    list_each(it, &w->config_pushes)
    {
        pusher_end(container_of(it, struct pusher, node), ERR_CLOSED);
    }
}
