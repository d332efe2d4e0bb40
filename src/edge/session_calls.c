/* What a connector says over its control stream: registration, its end, reports. */
#include "base/err.h"
#include "base/log.h"
#include "edge/session_int.h"
#include "tunnel/registration.h"

static void copy_text(char *to, size_t size, struct slice text)
{
    size_t n = text.n < size ? text.n : size - 1;
    if (n > 0)
        memcpy(to, text.p, n);
    to[n] = 0;
}

static void answer_refused(struct session *s, uint32_t id, const char *cause, bool should_retry,
                           uint64_t retry_after)
{
    struct register_result result = { .cause = slice_str(cause),
                                      .should_retry = should_retry,
                                      .retry_after_ns = retry_after };
    metric_add(s->worker->metrics, EDGE_registrations_refused, 1);
    if (register_answer(s->rpc, id, &result, &s->out) < 0)
        session_end(s, "no memory for the answer");
}

/* The reference waits for the edge to close after a refusal; it gets the time to read why. */
static void answer_refused_for_good(struct session *s, const char *cause, bool should_retry,
                                    uint64_t retry_after)
{
    s->state = SESSION_REFUSED;
    answer_refused(s, s->register_id, cause, should_retry, retry_after);
    if (s->state != SESSION_OVER)
        deadline_set(&s->deadline, &s->task, loop_now(s->worker->loop) + NSEC_PER_SEC);
}

static void answer_accepted(struct session *s, const struct registration *r)
{
    if (session_lay_by_news(s) < 0) {
        answer_refused_for_good(s, "the edge is out of memory", true, NSEC_PER_SEC);
        return;
    }
    struct register_result result = {
        .is_accepted = true,
        .connection = r->connection,
        .location = slice_str(r->location),
        .is_remotely_managed = r->is_remotely_managed,
        .extensions = s->link->extensions,
    };
    s->link->tunnel = r->tunnel;
    s->link->connector = r->connector;
    s->link->index = r->index;
    s->link->key = r->replica;
    (void)uuid_text(&r->connection, s->link->connection);
    s->state = SESSION_SERVING;
    deadline_clear(&s->deadline);
    metric_add(s->worker->metrics, EDGE_registrations_ok, 1);
    carrier_probe(&s->carrier); /* so that the time of its round trip is known */
    session_watch(s);
    session_tell_workers(s, LINK_ADDED);
    metric_add(s->worker->metrics, EDGE_links, 1);
    if (register_answer(s->rpc, s->register_id, &result, &s->out) < 0)
        session_end(s, "no memory for the answer");
}

static void answer_drop(struct mail *m)
{
    registration_free(container_of(m, struct registration, mail));
}

/* The control plane's answer. The session may be gone by now. */
static void answer_deliver(struct mail *m)
{
    struct registration *r = container_of(m, struct registration, mail);
    struct edge_worker *w = r->answer_ctx;
    struct session *s = session_find(w, r->link);
    if (s != NULL && s->state == SESSION_ENROLLING) {
        if (r->is_accepted)
            answer_accepted(s, r);
        else
            answer_refused_for_good(s, r->cause, r->should_retry, r->retry_after_ns);
        if (s->state != SESSION_OVER)
            task_wake(&s->task);
    }
    registration_free(r);
}

static void enroll(struct session *s, uint32_t id, const struct capnp_struct *params)
{
    struct edge_worker *w = s->worker;
    struct register_params p;
    if (s->state != SESSION_NEW) {
        (void)!rpc_answer_exception(s->rpc, id, "the connection is registered already", &s->out);
        return;
    }
    if (register_params_read(params, &p) < 0 || p.secret.n > REGISTRATION_SECRET_BYTES) {
        answer_refused(s, id, "malformed registration", false, 0);
        return;
    }
    struct registration *r = registration_new(w->mailbox);
    if (r == NULL) {
        answer_refused(s, id, "the edge is out of memory", true, NSEC_PER_SEC);
        return;
    }
    r->answer_deliver = answer_deliver;
    r->answer_drop = answer_drop;
    r->answer_ctx = w;
    r->link = s->link->id;
    r->tunnel = p.tunnel;
    r->connector = p.connector;
    r->index = p.index;
    r->attempts = p.attempts;
    r->replace_existing = p.replace_existing;
    r->transport = carrier_name(&s->carrier);
    r->secret_bytes = p.secret.n;
    if (p.secret.n > 0)
        memcpy(r->secret, p.secret.p, p.secret.n);
    copy_text(r->account, sizeof r->account, p.account);
    copy_text(r->version, sizeof r->version, p.version);
    copy_text(r->arch, sizeof r->arch, p.arch);
    for (uint32_t i = 0; i < p.feature_count && i < REGISTRATION_FEATURES_MAX; i++)
        copy_text(r->features[r->feature_count++], REGISTRATION_TEXT_BYTES, p.features[i]);
    s->link->extensions = extensions_of(p.features, p.feature_count) & EXTENSIONS_ALL;
    replica_label_of(p.features, p.feature_count, s->link->label);
    r->gauge = link_gauge_ref(s->gauge);
    (void)addr_ip_text(&s->carrier.peer, r->origin_ip);
    s->state = SESSION_ENROLLING;
    s->register_id = id;
    s->is_told = true;
    w->edge->conf.plane.enroll(w->edge->conf.plane.ctx, r);
}

static void unregister(struct session *s, uint32_t id)
{
    struct plane *plane = &s->worker->edge->conf.plane;
    atomic_store_explicit(&s->link->is_draining, true, memory_order_relaxed);
    if (s->state == SESSION_SERVING)
        log_info("connection unregistered", LSTR("connection", s->link->connection),
                 LU64("index", s->link->index));
    if (s->is_told)
        plane->unregister(plane->ctx, s->link->id);
    (void)!empty_answer(s->rpc, id, &s->out);
}

/* One at a time, which is answered when the control plane has it: each may be a mebibyte. */
static void report_rules(struct session *s, const struct rpc_event *call)
{
    const char *wrong = s->state != SESSION_SERVING ? "the connection is not registered"
                        : s->is_reporting           ? "the last configuration is being taken"
                                                    : NULL;
    if (wrong == NULL &&
        local_report_send(s->worker, s->link->id, local_configuration_read(&call->value)) < 0)
        wrong = "the edge is out of memory";
    if (wrong != NULL) {
        (void)!rpc_answer_exception(s->rpc, call->id, wrong, &s->out);
        return;
    }
    s->is_reporting = true;
    s->report_id = call->id;
}

void session_reported(struct session *s)
{
    s->is_reporting = false;
    (void)!empty_answer(s->rpc, s->report_id, &s->out);
    task_wake(&s->task);
}

static void on_call(struct session *s, const struct rpc_event *call)
{
    if (call->interface == REGISTRATION_INTERFACE && call->method == METHOD_REGISTER)
        enroll(s, call->id, &call->value);
    else if (call->interface == REGISTRATION_INTERFACE && call->method == METHOD_UNREGISTER)
        unregister(s, call->id);
    else if (call->interface == REGISTRATION_INTERFACE &&
             call->method == METHOD_LOCAL_CONFIGURATION)
        report_rules(s, call);
    else
        (void)!rpc_answer_unimplemented(s->rpc, call, &s->out);
}

/* ---- the control stream ---- */

/* Answers what came. 0; ERR_NOMEM: the conversation will not go on. */
static int answer_calls(struct session *s)
{
    struct rpc_event event;
    unsigned step = 0;
    for (; step < RPC_CALLS_MAX && rpc_next(s->rpc, &s->in, &s->out, &event) == 0; step++) {
        if (event.kind == RPC_CALL)
            on_call(s, &event);
        if (event.kind == RPC_OVER)
            return event.err == ERR_NOMEM ? event.err : 0;
        if (s->state == SESSION_OVER)
            return 0;
    }
    if (step == RPC_CALLS_MAX)
        task_wake(&s->task); /* the rest in another step */
    return 0;
}

void session_run_control(struct session *s)
{
    int r;
    while ((r = stream_read(s->control, &s->in, READ_STEP_BYTES)) == 0)
        continue;
    if (r != ERR_NOMEM)
        r = answer_calls(s);
    if (s->state != SESSION_OVER && r != ERR_NOMEM && !buf_is_empty(&s->out))
        r = stream_write(s->control, &s->out);
    if (r == ERR_NOMEM && s->state != SESSION_SERVING)
        session_end(s, "out of memory");
}
