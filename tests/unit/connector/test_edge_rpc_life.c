/* RPC streams of an edge while the supervisor thinks: the test is both, the edge at the other end
 * of streams in memory, and the supervisor, who keeps what is asked. */
#include "connector/edge_rpc.h"
#include "net/pipe.h"
#include "net/turn.h"
#include "test.h"

#define STREAMS 9 /* one more than may ask at once */

struct edge_stream {
    struct stream *s;
    struct rpc *rpc;
    struct buf in, out;
};

struct lab {
    struct loop *loop;
    struct task task;
    struct serve serve;
    struct warp_routing warp;
    struct flow_limit flows;
    struct metric_set *metrics;
    struct edge_stream streams[STREAMS];
    size_t count;
    struct config_ask *asks[STREAMS + 1];
    size_t asked;
};

static void keep(void *ctx, struct config_ask *ask)
{
    struct lab *l = ctx;
    assert_true(l->asked < STREAMS + 1);
    l->asks[l->asked++] = ask;
}

static void lab_open(struct lab *l)
{
    struct origin_request request;
    struct uuid connector = { { 1 } };
    *l = (struct lab){ 0 };
    struct serve_conf conf = { .warp = &l->warp,
                               .flows = &l->flows,
                               .connector = &connector,
                               .configure = keep,
                               .configure_ctx = l };
    assert_int_equal(loop_new(&l->loop), 0);
    task_init(&l->task, l->loop, do_nothing);
    origin_request_defaults(&request);
    assert_int_equal(ingress_single("http_status:404", &request, &conf.ingress, NULL), 0);
    conf.metrics = l->metrics = serve_metrics_new();
    assert_int_equal(serve_init(&l->serve, l->loop, &conf), 0);
    ingress_unref(conf.ingress);
}

static void turns(struct lab *l)
{
    for (unsigned i = 0; i < 8; i++)
        loop_turn(l->loop, 0);
}

static void lab_close(struct lab *l)
{
    serve_done(&l->serve);
    for (size_t i = 0; i < l->count; i++) {
        stream_release(l->streams[i].s);
        rpc_free(l->streams[i].rpc);
        buf_done(&l->streams[i].in);
        buf_done(&l->streams[i].out);
    }
    turns(l);
    free(l->metrics);
    task_done(&l->task);
    loop_free(l->loop);
}

static void send(struct lab *l, struct edge_stream *e)
{
    assert_int_equal(stream_write(e->s, &e->out), 0);
    turns(l);
}

static void call(struct edge_stream *e, int32_t version)
{
    struct capnp_builder b;
    struct capnp_ref params;
    uint32_t id;
    assert_int_equal(rpc_call(e->rpc, CONFIGURATION_INTERFACE, METHOD_UPDATE_CONFIGURATION, 1, 1,
                              &b, &params, &id),
                     0);
    capnp_put_u32(&b, params, 0, (uint32_t)version);
    capnp_put_data(&b, params, 0, SLICE("{}"));
    assert_int_equal(rpc_send(&b, &e->out), 0);
}

/* A stream on which configurations are asked for, from this version on, at once. */
static struct edge_stream *ask_many(struct lab *l, int32_t version, int32_t count)
{
    struct edge_stream *e = &l->streams[l->count++];
    struct stream *theirs;
    struct buf early;
    buf_init(&e->in, loop_chunks(l->loop), 1 << 20);
    buf_init(&e->out, loop_chunks(l->loop), 1 << 20);
    buf_init(&early, loop_chunks(l->loop), 1 << 20);
    e->rpc = rpc_new();
    assert_int_equal(pipe_new(l->loop, 1 << 20, &e->s, &theirs), 0);
    e->s->owner = &l->task;
    edge_rpc_open(&l->serve, theirs, &early);
    buf_done(&early);
    assert_int_equal(rpc_bootstrap(e->rpc, &e->out), 0);
    for (int32_t i = 0; i < count; i++)
        call(e, version + i);
    send(l, e);
    return e;
}

static struct edge_stream *ask(struct lab *l, int32_t version)
{
    return ask_many(l, version, 1);
}

/* What has come back: the version of a return, with its error; or ERR_AGAIN. */
static int take(struct lab *l, struct edge_stream *e, int32_t *ret_version, struct rpc_event *event)
{
    turns(l);
    (void)!stream_read(e->s, &e->in, 1 << 20);
    int r = rpc_next(e->rpc, &e->in, &e->out, event);
    if (r == 0 && event->kind == RPC_RETURN) {
        struct capnp_struct result = capnp_get(&event->value, 0);
        *ret_version = (int32_t)capnp_u32(&result, 0);
    }
    return r;
}

static void answer(struct lab *l, size_t index, int32_t version)
{
    l->asks[index]->applied = version;
    edge_rpc_configured(&l->serve, l->asks[index]);
    l->asks[index] = NULL;
    turns(l);
}

TEST(an_answer_waits_for_the_supervisor)
{
    struct lab l;
    struct rpc_event event;
    int32_t version = 0;
    lab_open(&l);
    struct edge_stream *e = ask(&l, 7);
    CHECK(l.asked == 1 && l.asks[0]->version == 7);
    CHECK_SLICE(l.asks[0]->json, SLICE("{}"));
    CHECK_ERR(ERR_AGAIN, take(&l, e, &version, &event));
    answer(&l, 0, 7);
    CHECK_OK(take(&l, e, &version, &event));
    CHECK(event.kind == RPC_RETURN && version == 7);
    lab_close(&l);
}

TEST(an_answer_comes_though_the_edge_said_its_last_word)
{
    struct lab l;
    struct rpc_event event;
    int32_t version = 0;
    lab_open(&l);
    struct edge_stream *e = ask(&l, 1);
    stream_finish(e->s);
    CHECK_ERR(ERR_AGAIN, take(&l, e, &version, &event));
    answer(&l, 0, 1);
    CHECK_OK(take(&l, e, &version, &event));
    CHECK(version == 1);
    CHECK_ERR(ERR_EOF, stream_read(e->s, &e->in, 1));
    CHECK(list_is_empty(&l.serve.rpcs));
    lab_close(&l);
}

TEST(the_next_call_of_a_stream_waits_for_the_answer_to_the_first)
{
    struct lab l;
    struct rpc_event event;
    int32_t version = 0;
    lab_open(&l);
    struct edge_stream *e = ask_many(&l, 1, 2);
    call(e, 3); /* one that comes later */
    send(&l, e);
    for (int32_t i = 0; i < 3; i++) {
        CHECK(l.asked == (size_t)i + 1 && l.asks[i]->version == i + 1);
        answer(&l, (size_t)i, i + 1);
    }
    for (int32_t i = 0; i < 3; i++) {
        CHECK_OK(take(&l, e, &version, &event));
        CHECK(version == i + 1);
    }
    lab_close(&l);
}

TEST(more_than_eight_configurations_are_not_kept)
{
    struct lab l;
    struct rpc_event event;
    int32_t version = 0;
    lab_open(&l);
    for (int32_t i = 0; i < STREAMS - 1; i++)
        (void)ask(&l, i);
    CHECK(l.asked == STREAMS - 1);
    struct edge_stream *last = ask(&l, 9);
    CHECK(l.asked == STREAMS - 1);
    CHECK_OK(take(&l, last, &version, &event));
    CHECK(event.kind == RPC_EXCEPTION &&
          strcmp(event.text, "too many configurations at once") == 0);
    /* With a place again it is taken. */
    answer(&l, 0, 0);
    call(last, 9);
    send(&l, last);
    CHECK(l.asked == STREAMS);
    for (size_t i = 1; i < STREAMS; i++)
        answer(&l, i, 0);
    CHECK(l.serve.asks == 0);
    lab_close(&l);
}

TEST(an_answer_to_a_stream_that_is_gone_is_dropped)
{
    struct lab l;
    lab_open(&l);
    (void)ask(&l, 1);
    edge_rpc_abort(&l.serve);
    turns(&l);
    CHECK(list_is_empty(&l.serve.rpcs));
    answer(&l, 0, 1);
    CHECK(l.serve.asks == 0);
    lab_close(&l);
}

TESTS(RUN(an_answer_waits_for_the_supervisor),
      RUN(an_answer_comes_though_the_edge_said_its_last_word),
      RUN(the_next_call_of_a_stream_waits_for_the_answer_to_the_first),
      RUN(more_than_eight_configurations_are_not_kept),
      RUN(an_answer_to_a_stream_that_is_gone_is_dropped))
