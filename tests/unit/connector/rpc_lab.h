#pragma once
/* An RPC stream that the edge opens: the test is the edge, at the other end of a stream in memory,
 * and the supervisor, who answers a configuration some turns later. What the edge says is laid down
 * beforehand, and what it heard is looked at when nothing fails any more. Nothing waits for time:
 * what is not over after a bounded number of turns would wait for a deadline. A program that
 * includes this is linked as net/faulty.h says. */
#include "base/log.h"
#include "connector/edge_rpc.h"
#include "net/faulty.h"
#include "net/pipe.h"
#include "net/turn.h"
#include "tunnel/head.h"

#define RPC_WINDOW 40 /* every message comes in several steps */
#define RPC_TURNS  600
#define RPC_CALLS  3
#define RPC_BYTES  (1 << 20)

struct rpc_lab {
    struct loop *loop;
    struct task task;
    struct serve serve;
    struct warp_routing warp;
    struct flow_limit flows;
    struct ingress *ingress;
    struct config_ask *ask; /* the supervisor's, until it answers */
    unsigned asked;
    struct rpc *rpc; /* the edge's */
    struct stream *edge;
    struct buf said, heard;
    bool is_finished;
    int end; /* what reading last said */
};

static void keep_ask(void *ctx, struct config_ask *ask)
{
    struct rpc_lab *l = ctx;
    assert_null(l->ask);
    assert_int_equal(ask->version, 7 + (int32_t)l->asked);
    l->asked++;
    l->ask = ask;
}

static void supervise(struct rpc_lab *l)
{
    struct config_ask *ask = l->ask;
    if (ask == NULL)
        return;
    l->ask = NULL;
    ask->applied = ask->version;
    edge_rpc_configured(&l->serve, ask);
}

static void put_call(struct rpc_lab *l, int32_t version)
{
    struct capnp_builder b;
    struct capnp_ref params;
    uint32_t id;
    assert_int_equal(rpc_call(l->rpc, CONFIGURATION_INTERFACE, METHOD_UPDATE_CONFIGURATION, 1, 1,
                              &b, &params, &id),
                     0);
    capnp_put_u32(&b, params, 0, (uint32_t)version);
    capnp_put_data(&b, params, 0, SLICE("{\"ingress\":[{\"service\":\"http_status:404\"}]}"));
    assert_int_equal(rpc_send(&b, &l->said), 0);
}

static void rpc_lab_open(struct rpc_lab *l)
{
    struct origin_request request;
    struct uuid connector = { { 1 } };
    *l = (struct rpc_lab){ .end = ERR_AGAIN };
    struct serve_conf conf = { .warp = &l->warp,
                               .flows = &l->flows,
                               .connector = &connector,
                               .configure = keep_ask,
                               .configure_ctx = l };
    assert_int_equal(loop_new(&l->loop), 0);
    task_init(&l->task, l->loop, do_nothing);
    buf_init(&l->said, loop_chunks(l->loop), RPC_BYTES);
    buf_init(&l->heard, loop_chunks(l->loop), RPC_BYTES);
    origin_request_defaults(&request);
    warp_routing_defaults(&l->warp);
    assert_int_equal(ingress_single("http_status:404", &request, &l->ingress, NULL), 0);
    conf.ingress = l->ingress;
    conf.metrics = serve_metrics_new();
    assert_int_equal(serve_init(&l->serve, l->loop, &conf), 0);
    l->rpc = rpc_new();
    assert_int_equal(buf_put(&l->said, slice_of(HEAD_RPC_SIGNATURE, HEAD_RPC_BYTES)), 0);
    assert_int_equal(rpc_bootstrap(l->rpc, &l->said), 0);
    for (int32_t i = 0; i < RPC_CALLS; i++)
        put_call(l, 7 + i);
}

static void rpc_edge_go(struct rpc_lab *l)
{
    int r = buf_is_empty(&l->said) ? 0 : stream_write(l->edge, &l->said);
    if (r == 0 && !l->is_finished) {
        stream_finish(l->edge);
        l->is_finished = true;
    } else if (r == ERR_NOMEM) { /* the edge's own memory */
        stream_abort(l->edge, r);
        l->end = r;
    }
    while (l->end == ERR_AGAIN || l->end == 0)
        if ((l->end = stream_read(l->edge, &l->heard, READ_STEP_BYTES)) == ERR_AGAIN)
            return;
}

static void rpc_lab_run(struct rpc_lab *l)
{
    struct stream *theirs;
    int r = pipe_new(l->loop, RPC_WINDOW, &l->edge, &theirs);
    if (r < 0) {
        l->end = r;
        return;
    }
    l->edge->owner = &l->task;
    serve_stream(&l->serve, wrap(l->loop, theirs), 0);
    for (unsigned i = 0; i < RPC_TURNS && l->end == ERR_AGAIN; i++) {
        rpc_edge_go(l);
        loop_turn(l->loop, 0);
        if (i % 3 == 0)
            supervise(l);
    }
}

/* How many configurations the edge heard to be in force: in order, and none that was not asked for.
 * Nothing fails any more. */
static int32_t rpc_lab_answers(struct rpc_lab *l)
{
    struct rpc_event e;
    int32_t count = 0;
    if (l->end == ERR_AGAIN)
        fail_msg("the edge waits for an answer that does not come");
    while (rpc_next(l->rpc, &l->heard, &l->said, &e) == 0 && e.kind != RPC_OVER) {
        if (e.kind == RPC_EXCEPTION)
            continue;
        struct capnp_struct result = capnp_get(&e.value, 0);
        assert_int_equal(e.kind, RPC_RETURN);
        assert_int_equal(capnp_u32(&result, 0), 7 + count);
        assert_int_equal(capnp_text(&result, 0).n, 0);
        count++;
    }
    assert_true((unsigned)count <= l->asked);
    return count;
}

static void rpc_lab_close(struct rpc_lab *l, void **state_)
{
    struct metric_set *metrics = l->serve.metrics;
    stream_release(l->edge);
    for (int i = 0; i < 8; i++) {
        loop_turn(l->loop, 0);
        supervise(l);
    }
    CHECK(l->serve.asks == 0);
    CHECK(list_is_empty(&l->serve.rpcs) && l->serve.streams.count == 0);
    serve_done(&l->serve);
    rpc_free(l->rpc);
    buf_done(&l->said);
    buf_done(&l->heard);
    ingress_unref(l->ingress);
    for (int i = 0; i < 4; i++)
        loop_turn(l->loop, 0);
    CHECK(chunk_pool_used(loop_chunks(l->loop)) == 0);
    free(metrics);
    task_done(&l->task);
    loop_free(l->loop);
}
