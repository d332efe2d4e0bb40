/* A configuration on its way to a connector with memory that runs out at each allocation of either
 * side: the control plane always hears what came of it, once, and nothing is left over. Streams in
 * memory stand for those of QUIC, and this file for the session. */
#include "failing.h"

#include "base/log.h"
#include "connector/edge_rpc.h"
#include "edge/edge_int.h"
#include "net/pipe.h"
#include "net/turn.h"
#include "tunnel/head.h"

#define WINDOW  60 /* of the stream: the call comes in several steps */
#define TURNS   400
#define VERSION 3

static struct lab {
    struct loop *loop;
    struct edge edge;
    struct edge_worker worker;
    unsigned told;
    int err;
    int32_t applied;
    char text[CONFIG_TEXT_BYTES];
    /* the connector */
    struct task task;
    struct stream *s;
    struct rpc *rpc;
    struct buf in, out;
    bool has_signature;
    const char *says; /* why it refuses, or "" */
    unsigned steps, steps_max;
} * lab;

/* ---- the session ---- */

struct session *__wrap_session_find(struct edge_worker *w, uint64_t id);
struct session *__wrap_session_find(struct edge_worker *w, uint64_t id)
{
    (void)w;
    return id == 7 ? (struct session *)(void *)lab : NULL;
}

static struct carrier carrier;

int __wrap_session_carrier(struct session *s, struct carrier **ret);
int __wrap_session_carrier(struct session *s, struct carrier **ret)
{
    (void)s;
    carrier.quic = (struct quic_conn *)(void *)lab;
    *ret = &carrier;
    return 0;
}

int __wrap_quic_conn_open(struct quic_conn *c, struct task *owner, struct stream **ret);
int __wrap_quic_conn_open(struct quic_conn *c, struct task *owner, struct stream **ret)
{
    struct stream *near;
    (void)c;
    int r = pipe_new(lab->loop, WINDOW, &near, &lab->s);
    if (r < 0)
        return r;
    near->owner = owner;
    lab->s->owner = &lab->task;
    *ret = near;
    return 0;
}

/* ---- the connector ---- */

static void let_go(int why)
{
    stream_abort(lab->s, why);
    stream_release(lab->s);
    lab->s = NULL;
}

/* Answers one call, as connector/edge_rpc.c does. */
static int answer(const struct rpc_event *e)
{
    struct config_ask *ask = NULL;
    bool is_exception;
    int r = edge_rpc_answer(lab->rpc, e, &lab->out, &ask, &is_exception);
    if (ask == NULL)
        return r;
    ask->applied = lab->says[0] != 0 ? -1 : ask->version;
    (void)snprintf(ask->err, sizeof ask->err, "%s", lab->says);
    assert_true(slice_eq(ask->json, SLICE("{\"ingress\":[]}")) && ask->version == VERSION);
    r = edge_rpc_answer_configuration(lab->rpc, ask, &lab->out);
    config_ask_free(ask);
    return r;
}

static int serve(void)
{
    struct rpc_event e;
    int r;
    if (!lab->has_signature && buf_len(&lab->in) < HEAD_RPC_BYTES)
        return 0;
    if (!lab->has_signature)
        buf_drop(&lab->in, HEAD_RPC_BYTES);
    lab->has_signature = true;
    if (lab->rpc == NULL && (lab->rpc = rpc_new()) == NULL)
        return ERR_NOMEM;
    while ((r = rpc_next(lab->rpc, &lab->in, &lab->out, &e)) == 0) {
        if (e.kind == RPC_OVER)
            return ERR_CLOSED;
        r = e.kind == RPC_CALL ? answer(&e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static void connector_run(struct task *t)
{
    (void)t;
    if (lab->s == NULL)
        return;
    int r =
        lab->steps++ >= lab->steps_max ? ERR_RESET : stream_read(lab->s, &lab->in, READ_STEP_BYTES);
    if (r == 0 || r == ERR_AGAIN)
        r = serve();
    if (r == 0 && !buf_is_empty(&lab->out))
        r = stream_write(lab->s, &lab->out);
    if (r < 0 && r != ERR_AGAIN)
        let_go(r);
}

/* ---- the control plane ---- */

static void configured(void *ctx, struct config_push *p)
{
    struct lab *l = ctx;
    l->told++;
    l->err = p->err;
    l->applied = p->applied;
    (void)snprintf(l->text, sizeof l->text, "%s", p->text);
    config_push_free(p);
}

static void lab_open(struct lab *l, const char *says, unsigned steps_max)
{
    static const struct metric_desc METRICS[] = {
#define METRIC(k, field, n, l, h) { .name = n, .help = h, .kind = METRIC_##k, .labels = l },
#include "edge/metrics.def"
#undef METRIC
    };
    *l = (struct lab){ .says = says, .steps_max = steps_max };
    lab = l;
    assert_int_equal(loop_new(&l->loop), 0);
    task_init(&l->task, l->loop, connector_run);
    buf_init(&l->in, loop_chunks(l->loop), 1 << 16);
    buf_init(&l->out, loop_chunks(l->loop), 1 << 16);
    l->edge.conf.plane = (struct plane){ .ctx = l, .configured = configured };
    l->worker.edge = &l->edge;
    l->worker.loop = l->loop;
    l->worker.metrics = metric_set_new(METRICS, EDGE_METRICS_COUNT);
    list_init(&l->worker.config_pushes);
}

static int64_t counted(const struct lab *l, enum edge_metric what)
{
    return atomic_load(&l->worker.metrics->cells[what]);
}

static void lab_close(struct lab *l)
{
    if (l->s != NULL)
        let_go(ERR_CLOSED);
    loop_turn(l->loop, 0);
    assert_int_equal(l->told, 1);
    assert_true(list_is_empty(&l->worker.config_pushes));
    assert_int_equal(counted(l, EDGE_configurations_sent), 1);
    assert_int_equal(counted(l, EDGE_configurations_applied) +
                         counted(l, EDGE_configurations_refused) +
                         counted(l, EDGE_configurations_failed),
                     1);
    assert_int_equal(counted(l, EDGE_configurations_failed), l->err < 0);
    assert_int_equal(counted(l, EDGE_configurations_refused), l->err == 0 && l->text[0] != 0);
    free(l->worker.metrics);
    rpc_free(l->rpc);
    buf_done(&l->in);
    buf_done(&l->out);
    task_done(&l->task);
    assert_int_equal(chunk_pool_used(loop_chunks(l->loop)), 0);
    loop_free(l->loop);
}

static void push(struct lab *l, uint64_t link)
{
    struct config_push *p = config_push_new(SLICE("{\"ingress\":[]}"));
    assert_non_null(p);
    p->link = link;
    p->version = VERSION;
    memory.calls = 0;
    config_push_start(&l->worker, p);
}

/* Goes through one push; fail_at 0 fails nothing. Returns what came of it. */
static int one(const char *says, unsigned steps_max, size_t fail_at, bool goes_on,
               size_t *ret_calls)
{
    struct lab l;
    long live = memory.live;
    memory.fail_at = 0;
    lab_open(&l, says, steps_max);
    memory.goes_on = goes_on;
    struct config_push *p = config_push_new(SLICE("{\"ingress\":[]}"));
    assert_non_null(p);
    p->link = 7;
    p->version = VERSION;
    memory.calls = 0;
    memory.fail_at = fail_at;
    config_push_start(&l.worker, p);
    for (unsigned i = 0; i < TURNS && l.told == 0; i++)
        loop_turn(l.loop, 0);
    memory.fail_at = 0;
    *ret_calls = memory.calls;
    if (l.told == 0)
        fail_msg("the control plane waits when allocation %zu failed", fail_at);
    lab_close(&l);
    if (l.err == 0)
        assert_true(strcmp(l.text, says) == 0 && l.applied == (says[0] != 0 ? -1 : VERSION));
    if (memory.live != live)
        fail_msg("%ld blocks left when allocation %zu failed", memory.live - live, fail_at);
    return l.err;
}

TEST(a_push_survives_the_failure_of_each_of_its_allocations)
{
    static const char *const SAYS[] = { "", "nonsense is an invalid address" };
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    for (size_t i = 0; i < 2; i++)
        for (int goes_on = 0; goes_on < 2; goes_on++) {
            unsigned failures = 0;
            for (size_t n = 1;; n++) {
                size_t calls;
                int r = one(SAYS[i], UINT32_MAX, n, goes_on != 0, &calls);
                failures += r < 0;
                if (calls >= n)
                    continue;
                CHECK(r == 0);
                CHECK(n > 8); /* it is linked for this */
                break;
            }
            CHECK(failures > 3);
        }
}

TEST(a_connector_that_goes_at_any_step_is_told_of)
{
    unsigned failures = 0, steps = 0;
    size_t calls;
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    while (one("", steps++, 0, false, &calls) < 0)
        failures++;
    CHECK(failures >= 2);
}

TEST(a_link_that_is_gone_and_an_edge_that_stops_are_told_of)
{
    struct lab l;
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    lab_open(&l, "", UINT32_MAX);
    push(&l, 8);
    CHECK(l.told == 1 && l.err == ERR_CLOSED);
    lab_close(&l);
    lab_open(&l, "", UINT32_MAX);
    push(&l, 7);
    CHECK(l.told == 0);
    config_pushes_abort(&l.worker);
    CHECK(l.told == 1 && l.err == ERR_CLOSED);
    lab_close(&l);
}

TESTS(RUN(a_push_survives_the_failure_of_each_of_its_allocations),
      RUN(a_connector_that_goes_at_any_step_is_told_of),
      RUN(a_link_that_is_gone_and_an_edge_that_stops_are_told_of))
