#include "connector/edge_rpc.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"

#define RPC_NSEC  (5 * NSEC_PER_SEC) /* the reference's patience with one stream */
#define BYTES_MAX (CAPNP_MESSAGE_BYTES_MAX + 65536)

/* ---- answers ---- */

static int register_udp(struct rpc *rpc, const struct rpc_event *call, struct buf *out,
                        bool *ret_is_exception)
{
    struct slice session = capnp_data(&call->value, 0), ip = capnp_data(&call->value, 1);
    struct capnp_builder b;
    struct capnp_ref results;
    char text[64];
    *ret_is_exception = session.n != sizeof(struct uuid) || ip.n == 0;
    if (session.n != sizeof(struct uuid)) {
        (void)snprintf(text, sizeof text, "invalid UUID (got %zu bytes)", session.n);
        return rpc_answer_exception(rpc, call->id, text, out);
    }
    if (ip.n == 0)
        return rpc_answer_exception(rpc, call->id, "[] is not valid IP", out);
    int r = rpc_answer(rpc, call->id, 0, 1, &b, &results);
    if (r < 0)
        return r;
    struct capnp_ref result = capnp_put(&b, results, 0, 0, 2);
    capnp_put_text(&b, result, 0,
                   ip.n == 4 || ip.n == 16
                       ? SLICE("UDP sessions are not offered by this connector yet")
                       : SLICE("unable to parse destination IP"));
    return rpc_send(&b, out);
}

/* There are no sessions, and an unknown one has ended already. */
static int unregister_udp(struct rpc *rpc, const struct rpc_event *call, struct buf *out,
                          bool *ret_is_exception)
{
    struct slice session = capnp_data(&call->value, 0);
    char text[64];
    *ret_is_exception = session.n != sizeof(struct uuid);
    if (!*ret_is_exception)
        return empty_answer(rpc, call->id, out);
    (void)snprintf(text, sizeof text, "invalid UUID (got %zu bytes)", session.n);
    return rpc_answer_exception(rpc, call->id, text, out);
}

void config_ask_free(struct config_ask *ask)
{
    free(ask);
}

struct config_ask *config_ask_new(struct slice json, int32_t version)
{
    struct config_ask *ask = calloc(1, sizeof *ask + json.n + 1);
    if (ask == NULL)
        return NULL;
    uint8_t *copy = (uint8_t *)(ask + 1);
    if (json.n > 0)
        memcpy(copy, json.p, json.n);
    ask->version = version;
    ask->json = slice_of(copy, json.n);
    return ask;
}

static int ask_configuration(const struct rpc_event *call, struct config_ask **ret)
{
    struct config_ask *ask =
        config_ask_new(capnp_data(&call->value, 0), (int32_t)capnp_u32(&call->value, 0));
    if (ask == NULL)
        return ERR_NOMEM;
    ask->call = call->id;
    *ret = ask;
    return 0;
}

int edge_rpc_answer_configuration(struct rpc *rpc, const struct config_ask *ask, struct buf *out)
{
    struct capnp_builder b;
    struct capnp_ref results;
    int r = rpc_answer(rpc, ask->call, 0, 1, &b, &results);
    if (r < 0)
        return r;
    struct capnp_ref result = capnp_put(&b, results, 0, 1, 1);
    capnp_put_u32(&b, result, 0, (uint32_t)ask->applied);
    if (ask->err[0] != 0)
        capnp_put_text(&b, result, 0, slice_str(ask->err));
    return rpc_send(&b, out);
}

int edge_rpc_answer(struct rpc *rpc, const struct rpc_event *call, struct buf *out,
                    struct config_ask **ret_ask, bool *ret_is_exception)
{
    *ret_ask = NULL;
    *ret_is_exception = false;
    if (call->interface == SESSION_INTERFACE && call->method == METHOD_REGISTER_UDP)
        return register_udp(rpc, call, out, ret_is_exception);
    if (call->interface == SESSION_INTERFACE && call->method == METHOD_UNREGISTER_UDP)
        return unregister_udp(rpc, call, out, ret_is_exception);
    if (call->interface == CONFIGURATION_INTERFACE && call->method == METHOD_UPDATE_CONFIGURATION)
        return ask_configuration(call, ret_ask);
    return rpc_answer_unimplemented(rpc, call, out);
}

/* ---- the stream ---- */

struct edge_rpc {
    struct list node;
    struct task task;
    struct deadline deadline;
    struct loop *loop;
    struct serve *serve;
    uint64_t number; /* of the worker's streams */
    struct stream *s;
    struct rpc *rpc;
    struct buf in, out;
    bool has_asked; /* a configuration's answer is to come: nothing more is read until then */
    bool has_ended; /* the edge will send nothing more */
    bool is_over;   /* nothing is read any more: what is left goes out */
    struct reaper reaper;
};

static void reap(struct reaper *r)
{
    struct edge_rpc *e = container_of(r, struct edge_rpc, reaper);
    rpc_free(e->rpc);
    buf_done(&e->in);
    buf_done(&e->out);
    free(e);
}

static void edge_rpc_close(struct edge_rpc *e, int why)
{
    if (why < 0)
        stream_abort(e->s, why);
    stream_release(e->s);
    deadline_clear(&e->deadline);
    task_done(&e->task);
    list_remove(&e->node);
    loop_reap(e->loop, &e->reaper, reap);
}

/* In the order of their rows in metrics.def, for operations, failures and times alike. */
enum served { SERVED_CONFIGURE, SERVED_REGISTER_UDP, SERVED_UNREGISTER_UDP, SERVED_NONE };

static enum served served_of(const struct rpc_event *call)
{
    if (call->interface == CONFIGURATION_INTERFACE)
        return call->method == METHOD_UPDATE_CONFIGURATION ? SERVED_CONFIGURE : SERVED_NONE;
    if (call->interface != SESSION_INTERFACE)
        return SERVED_NONE;
    return call->method == METHOD_REGISTER_UDP     ? SERVED_REGISTER_UDP
           : call->method == METHOD_UNREGISTER_UDP ? SERVED_UNREGISTER_UDP
                                                   : SERVED_NONE;
}

static void count_served(struct serve *s, enum served what, nsec asked_at, bool has_failed)
{
    if (what == SERVED_NONE)
        return;
    metric_add(s->metrics, SERVE_served_configure + what, 1);
    if (has_failed)
        metric_add(s->metrics, SERVE_served_configure_failed + what, 1);
    metric_observe(s->metrics, SERVE_served_configure_time + what,
                   loop_now_fresh(s->loop) - asked_at);
}

static int answer(struct edge_rpc *e, const struct rpc_event *call)
{
    struct config_ask *ask = NULL;
    bool is_exception = false;
    nsec now = loop_now_fresh(e->loop);
    int r = edge_rpc_answer(e->rpc, call, &e->out, &ask, &is_exception);
    if (ask == NULL) {
        count_served(e->serve, served_of(call), now, is_exception || r < 0);
        return r;
    }
    ask->asked_at = now;
    if (e->serve->configure == NULL) { /* there is no supervisor */
        config_ask_free(ask);
        return rpc_answer_unimplemented(e->rpc, call, &e->out);
    }
    if (e->serve->asks >= CONFIG_ASKS_MAX) {
        config_ask_free(ask);
        count_served(e->serve, SERVED_CONFIGURE, now, true);
        return rpc_answer_exception(e->rpc, call->id, "too many configurations at once", &e->out);
    }
    e->serve->asks++;
    ask->serve = e->serve;
    ask->stream = e->number;
    e->has_asked = true;
    e->serve->configure(e->serve->configure_ctx, ask);
    return r;
}

/* 0 when nothing more is to be read, ERR_AGAIN, or what went wrong. */
static int answer_all(struct edge_rpc *e)
{
    struct rpc_event event;
    int r = ERR_AGAIN;
    while (!e->has_asked && (r = rpc_next(e->rpc, &e->in, &e->out, &event)) == 0) {
        if (event.kind == RPC_OVER)
            return 0;
        if (event.kind == RPC_CALL)
            r = answer(e, &event);
        if (r < 0)
            return r;
    }
    return e->has_asked ? ERR_AGAIN : r;
}

/* Reads a step, answers what came, and again, until there is nothing more. */
static int receive(struct edge_rpc *e)
{
    for (;;) {
        int answered = answer_all(e);
        if (answered != ERR_AGAIN)
            return answered;
        /* An edge that does not read its answers is not read either. */
        if (!buf_is_empty(&e->out) && stream_write(e->s, &e->out) == ERR_AGAIN)
            return ERR_AGAIN;
        if (e->has_asked)
            return ERR_AGAIN;
        if (e->has_ended)
            return 0;
        int r = stream_read(e->s, &e->in, READ_STEP_BYTES);
        if (r == ERR_EOF) {
            e->has_ended = true;
            continue;
        }
        if (r < 0)
            return r;
    }
}

static void edge_rpc_run(struct task *t)
{
    struct edge_rpc *e = container_of(t, struct edge_rpc, task);
    int r = e->is_over ? 0 : receive(e);
    if (r < 0 && r != ERR_AGAIN) {
        edge_rpc_close(e, r);
        return;
    }
    e->is_over |= r == 0 || deadline_take(&e->deadline);
    r = buf_is_empty(&e->out) ? 0 : stream_write(e->s, &e->out);
    if (r < 0 && r != ERR_AGAIN) {
        edge_rpc_close(e, r);
        return;
    }
    if (!e->is_over)
        return;
    if (r == 0)
        stream_finish(e->s);
    edge_rpc_close(e, r == 0 ? 0 : ERR_TIMEOUT);
}

void edge_rpc_open(struct serve *s, struct stream *stream, struct buf *early)
{
    struct edge_rpc *e = calloc(1, sizeof *e);
    struct rpc *rpc = rpc_new();
    if (e == NULL || rpc == NULL) {
        rpc_free(rpc);
        free(e);
        buf_drop(early, buf_len(early));
        stream_abort(stream, ERR_NOMEM);
        stream_release(stream);
        return;
    }
    e->loop = s->loop;
    e->serve = s;
    e->number = ++s->request_count;
    e->s = stream;
    e->rpc = rpc;
    buf_init(&e->in, loop_chunks(s->loop), BYTES_MAX);
    buf_init(&e->out, loop_chunks(s->loop), BYTES_MAX);
    (void)buf_move(&e->in, early, SIZE_MAX);
    task_init(&e->task, s->loop, edge_rpc_run);
    stream->owner = &e->task;
    list_push_back(&s->rpcs, &e->node);
    deadline_set(&e->deadline, &e->task, loop_now_fresh(s->loop) + RPC_NSEC);
    task_wake(&e->task);
    if (buf_is_empty(early))
        return;
    buf_drop(early, buf_len(early)); /* a gap in the bytes would be read as something else */
    edge_rpc_close(e, ERR_NOMEM);
}

void edge_rpc_configured(struct serve *s, struct config_ask *ask)
{
    s->asks--;
    count_served(s, SERVED_CONFIGURE, ask->asked_at, false);
    list_each(it, &s->rpcs)
    {
        struct edge_rpc *e = container_of(it, struct edge_rpc, node);
        if (e->number != ask->stream || e->is_over)
            continue;
        e->has_asked = false;
        int r = edge_rpc_answer_configuration(e->rpc, ask, &e->out);
        if (r < 0)
            edge_rpc_close(e, r);
        else
            task_wake(&e->task);
        break;
    }
    config_ask_free(ask);
}

void edge_rpc_abort(struct serve *s)
{
    list_each(it, &s->rpcs)
    {
        edge_rpc_close(container_of(it, struct edge_rpc, node), ERR_CLOSED);
    }
}
