#pragma once
/* A registration: the connector's side of the control stream, the edge's session and a control
 * plane that answers by mail, on one loop; two workers of the edge share it. A stream in memory
 * stands for the first stream of a QUIC connection, and this file for the connection itself: a
 * program that includes this is linked with its calls wrapped, and as net/faulty.h says. Nothing
 * waits for time here: what is not over after a bounded number of turns would wait for a
 * deadline. */
#include "base/log.h"
#include "connector/control_client.h"
#include "edge/edge_int.h"
#include "edge/plane.h"
#include "net/faulty.h"
#include "net/pipe.h"
#include "net/turn.h"

#define CONTROL_WORKERS 2
#define CONTROL_WINDOW  200 /* of the stream in memory: every message comes in several steps */
#define CONTROL_TURNS   400
#define CONTROL_CAUSE   "Unauthorized: Tunnel not found"
#define CONTROL_PLACE   "lab01"
#define CONTROL_JSON    "{\"ingress\":[{\"service\":\"http_status:404\"}]}"

enum plane_answer { PLANE_ACCEPTS, PLANE_REFUSES, PLANE_REFUSES_FOR_NOW, PLANE_ANSWERS };

struct control_lab {
    struct loop *loop;
    /* the edge */
    struct edge edge;
    struct edge_worker workers[CONTROL_WORKERS];
    struct mailbox *mailboxes[CONTROL_WORKERS];
    enum plane_answer answer;
    unsigned enrolled, gone, unregistered, reported;
    bool was_listed; /* every worker had the link when the connector heard that it is registered */
    /* the connection, as the session sees it */
    struct task *session;
    struct stream *theirs; /* until it is accepted */
    bool is_closed, is_let_go;
    /* the connector */
    struct task task;
    struct control_client client;
    bool is_over;
    int err; /* what ended the control stream, or 0 */
};

static struct control_lab *control_lab;

/* ---- the connection ---- */

void __wrap_quic_conn_set_owner(struct quic_conn *c, struct task *owner);
void __wrap_quic_conn_set_owner(struct quic_conn *c, struct task *owner)
{
    (void)c;
    control_lab->session = owner;
}

enum quic_state __wrap_quic_conn_state(const struct quic_conn *c);
enum quic_state __wrap_quic_conn_state(const struct quic_conn *c)
{
    (void)c;
    return control_lab->is_closed ? QUIC_CLOSED : QUIC_OPEN;
}

void __wrap_quic_conn_why(const struct quic_conn *c, struct quic_why *ret);
void __wrap_quic_conn_why(const struct quic_conn *c, struct quic_why *ret)
{
    (void)c;
    *ret = (struct quic_why){ .err = ERR_CLOSED };
}

int __wrap_quic_conn_accept(struct quic_conn *c, struct task *owner, struct stream **ret);
int __wrap_quic_conn_accept(struct quic_conn *c, struct task *owner, struct stream **ret)
{
    (void)c;
    if (control_lab->theirs == NULL)
        return ERR_AGAIN;
    *ret = control_lab->theirs;
    (*ret)->owner = owner;
    control_lab->theirs = NULL;
    return 0;
}

void __wrap_quic_conn_peer_addr(const struct quic_conn *c, struct addr *ret);
void __wrap_quic_conn_peer_addr(const struct quic_conn *c, struct addr *ret)
{
    (void)c;
    (void)addr_parse(SLICE("192.0.2.1:5"), ret);
}

void __wrap_quic_conn_release(struct quic_conn *c);
void __wrap_quic_conn_release(struct quic_conn *c)
{
    (void)c;
    stream_release(control_lab->theirs);
    control_lab->theirs = NULL;
    control_lab->is_let_go = true;
}

/* ---- the control plane ---- */

static void plane_enroll(void *ctx, struct registration *r)
{
    struct control_lab *l = ctx;
    assert_memory_equal(r->secret, "secret", 6);
    assert_string_equal(r->features[0], "adit_trailers");
    l->enrolled++;
    r->is_accepted = l->answer == PLANE_ACCEPTS;
    r->connection = (struct uuid){ { 7, 7 } };
    (void)snprintf(r->location, sizeof r->location, CONTROL_PLACE);
    (void)snprintf(r->cause, sizeof r->cause, CONTROL_CAUSE);
    r->should_retry = l->answer == PLANE_REFUSES_FOR_NOW;
    r->retry_after_ns = NSEC_PER_SEC;
    r->mail = (struct mail){ .deliver = r->answer_deliver, .drop = r->answer_drop };
    mailbox_post(r->reply, &r->mail);
}

static void plane_unregister(void *ctx, uint64_t link)
{
    (void)link;
    ((struct control_lab *)ctx)->unregistered++;
}

static void plane_reported(void *ctx, struct local_report *r)
{
    struct control_lab *l = ctx;
    assert_true(slice_eq(r->json, SLICE(CONTROL_JSON)));
    l->reported++;
    r->mail = (struct mail){ .deliver = r->answer_deliver, .drop = r->answer_drop };
    mailbox_post(r->reply, &r->mail);
}

static void plane_gone(void *ctx, uint64_t link)
{
    (void)link;
    ((struct control_lab *)ctx)->gone++;
}

/* ---- the connector, as connector/connection.c goes about it ---- */

static int client_begin(struct control_lab *l, struct stream *s)
{
    static const char *const features[] = { "adit_trailers", "serialized_headers", NULL };
    const struct connection_identity identity = {
        .account = "account",
        .tunnel = { { 1 } },
        .connector = { { 2 } },
        .secret = (const uint8_t *)"secret",
        .secret_bytes = 6,
        .features = features,
        .version = "1.0",
        .arch = "linux_amd64",
    };
    struct addr local;
    (void)addr_parse(SLICE("192.0.2.1:5"), &local);
    int r = control_client_init(&l->client, l->loop, s, &l->task);
    return r == 0 ? control_client_register(&l->client, &identity, 0, 0, &local) : r;
}

static bool has_links(const struct control_lab *l)
{
    struct uuid tunnel = { { 1 } };
    for (int i = 0; i < CONTROL_WORKERS; i++)
        if (!link_table_served(l->workers[i].links, &tunnel, 0, 0))
            return false;
    return true;
}

static void client_end(struct control_lab *l, int err)
{
    l->is_over = true;
    l->err = err;
}

static void client_run(struct task *t)
{
    struct control_lab *l = container_of(t, struct control_lab, task);
    struct control_client *c = &l->client;
    if (l->is_over || c->s == NULL)
        return;
    int r = control_client_run(c);
    if (c->registered == CONTROL_OK && !c->is_unregistering && r == ERR_AGAIN) {
        l->was_listed = has_links(l);
        r = control_client_report(c, CONTROL_JSON);
        if (r == 0)
            r = control_client_unregister(c);
        task_wake(t);
        if (r == 0)
            return;
    }
    if (c->registered == CONTROL_REFUSED)
        client_end(l, 0);
    else if (c->unregistered != CONTROL_PENDING) {
        control_client_finish(c);
        client_end(l, 0);
    } else if (r != ERR_AGAIN)
        client_end(l, r);
}

/* ---- opening and closing; nothing fails meanwhile ---- */

static void worker_open(struct control_lab *l, unsigned index)
{
    static const struct metric_desc METRICS[] = {
#define METRIC(k, field, n, l, h) { .name = n, .help = h, .kind = METRIC_##k, .labels = l },
#include "edge/metrics.def"
#undef METRIC
    };
    struct edge_worker *w = &l->workers[index];
    w->edge = &l->edge;
    w->index = index;
    w->loop = l->loop;
    w->mailbox = l->mailboxes[index] = loop_mailbox(l->loop);
    list_init(&w->sessions);
    list_init(&w->config_pushes);
    list_init(&w->waiting);
    list_init(&w->held);
    map_init(&w->sessions_by_id);
    w->links = link_table_new();
    w->metrics = metric_set_new(METRICS, EDGE_METRICS_COUNT);
}

static void control_open(struct control_lab *l, enum plane_answer answer)
{
    *l = (struct control_lab){ .answer = answer };
    control_lab = l;
    assert_int_equal(loop_new(&l->loop), 0);
    task_init(&l->task, l->loop, client_run);
    l->edge.count = l->edge.conf.workers = CONTROL_WORKERS;
    l->edge.workers = l->workers;
    l->edge.mailboxes = l->mailboxes;
    l->edge.conf.plane = (struct plane){
        .ctx = l,
        .enroll = plane_enroll,
        .unregister = plane_unregister,
        .reported = plane_reported,
        .gone = plane_gone,
    };
    for (unsigned i = 0; i < CONTROL_WORKERS; i++)
        worker_open(l, i);
}

/* Until both sides are through, or nothing moves any more. */
static void control_go(struct control_lab *l)
{
    struct stream *ours;
    int r = pipe_new(l->loop, CONTROL_WINDOW, &ours, &l->theirs);
    if (r < 0) {
        client_end(l, r);
        return;
    }
    l->theirs = wrap(l->loop, l->theirs);
    r = session_open(&l->workers[0], (struct quic_conn *)(void *)l);
    if (r < 0)
        __wrap_quic_conn_release(NULL);
    r = client_begin(l, wrap(l->loop, ours));
    if (r < 0)
        client_end(l, r);
    task_wake(&l->task);
    for (unsigned i = 0; i < CONTROL_TURNS && !l->is_over; i++)
        loop_turn(l->loop, 0);
}

static void control_close(struct control_lab *l, void **state_)
{
    control_client_done(&l->client);
    l->is_closed = true;
    task_wake(l->is_let_go ? NULL : l->session);
    for (int i = 0; i < 8; i++)
        loop_turn(l->loop, 0);
    CHECK(l->is_let_go || l->session == NULL);
    CHECK(l->gone == l->enrolled);
    for (unsigned i = 0; i < CONTROL_WORKERS; i++) {
        struct edge_worker *w = &l->workers[i];
        struct uuid tunnel = { { 1 } };
        CHECK(list_is_empty(&w->sessions));
        CHECK(!link_table_served(w->links, &tunnel, 0, 0));
        CHECK(atomic_load(&w->metrics->cells[EDGE_links]) == 0);
        link_table_free(w->links);
        map_done(&w->sessions_by_id);
        free(w->metrics);
    }
    CHECK(chunk_pool_used(loop_chunks(l->loop)) == 0);
    task_done(&l->task);
    loop_free(l->loop);
}

/* ---- what the connector may see ---- */

enum outcome { OUTCOME_LOST, OUTCOME_REFUSED, OUTCOME_SHORT, OUTCOME_WHOLE };

static enum outcome judge_accepted(const struct control_lab *l)
{
    const struct control_client *c = &l->client;
    assert_int_equal(l->answer, PLANE_ACCEPTS);
    assert_string_equal(c->location, CONTROL_PLACE);
    assert_int_equal(c->connection.bytes[0], 7);
    if (c->unregistered != CONTROL_OK || !l->was_listed)
        return OUTCOME_LOST; /* a connector does not wait long for the answer to its last word */
    assert_int_equal(l->unregistered, 1);
    return OUTCOME_WHOLE;
}

/* Fails when the connector believes what the plane did not say, or waits for nothing. Before
 * control_close. */
static enum outcome control_judge(const struct control_lab *l)
{
    const struct control_client *c = &l->client;
    if (c->registered == CONTROL_OK)
        return judge_accepted(l);
    if (!l->is_over)
        fail_msg("the connector waits for an answer that does not come");
    if (c->registered == CONTROL_PENDING)
        return OUTCOME_LOST;
    if (strstr(c->cause, "memory") != NULL && c->should_retry)
        return OUTCOME_SHORT;
    assert_int_not_equal(l->answer, PLANE_ACCEPTS);
    assert_string_equal(c->cause, CONTROL_CAUSE);
    assert_int_equal(c->should_retry, l->answer == PLANE_REFUSES_FOR_NOW);
    return OUTCOME_REFUSED;
}

static inline enum outcome whole_outcome(enum plane_answer answer)
{
    return answer == PLANE_ACCEPTS ? OUTCOME_WHOLE : OUTCOME_REFUSED;
}
