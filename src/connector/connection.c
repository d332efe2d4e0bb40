#include "connector/connection.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "connector/connection_int.h"
#include "connector/reconnect.h"
#include "net/udp.h"

#define REGISTER_NSEC        (5 * NSEC_PER_SEC) /* of one call (docs/protocol.md §7) */
#define RESOLVE_NSEC         (5 * NSEC_PER_SEC) /* then the addresses that are known are good enough */
#define RECENT_NSEC          (60 * NSEC_PER_SEC) /* after a loss */
#define RECENT_WINDOW_NSEC   (2 * NSEC_PER_SEC)
#define PROBE_NSEC           (10 * NSEC_PER_SEC) /* over HTTP/2: then QUIC is tried again; doubles */
#define STEADY_NSEC          (60 * NSEC_PER_SEC) /* QUIC that lives so long is good */
#define LOSSES_MAX           2 /* of QUIC that was not, in a row: then HTTP/2 goes first */
#define BACKOFF_EXPONENT_MAX 10

const char *connection_state_name(enum connection_state s)
{
    static const char *const NAMES[] = {
#define X(name) #name,
        CONNECTION_STATES(X)
#undef X
    };
    return NAMES[s];
}

static const char *event_name(enum event e)
{
    static const char *const NAMES[] = {
#define X(name) #name,
        EVENTS(X)
#undef X
    };
    return NAMES[e];
}

/* ---- news ---- */

static void news_drop(struct mail *m)
{
    free(container_of(m, struct connection_news, mail));
}

struct addr connection_edge(const struct connection *c)
{
    return edge_set_addr(c->conf.edges, c->edge_at);
}

static void tell(struct connection *c, const char *text, nsec retry_in)
{
    struct connection_news *n = calloc(1, sizeof *n);
    if (n == NULL)
        return;
    n->mail = (struct mail){ .deliver = c->conf.news, .drop = news_drop };
    n->ctx = c->conf.supervisor_ctx;
    n->index = c->conf.index;
    n->state = c->state;
    n->err = c->err;
    n->edge = c->edge;
    n->name = edge_set_name(c->conf.edges, c->edge_at);
    n->is_kept = edge_set_is_kept(c->conf.edges, c->edge_at);
    n->transport = c->transport != NULL ? c->transport->ops->kind : TRANSPORT_QUIC;
    n->is_remotely_managed = c->control.is_remotely_managed;
    n->retry_in = retry_in;
    (void)snprintf(n->text, sizeof n->text, "%s", text);
    mailbox_post(c->conf.supervisor, &n->mail);
}

/* ---- actions ---- */

void connection_fail(struct connection *c, int err, const char *why)
{
    c->err = err;
    if (why != c->why)
        (void)snprintf(c->why, sizeof c->why, "%s", why);
}

void connection_count(struct connection *c, enum serve_metric what)
{
    metric_add(c->conf.serve->metrics, what, 1);
}

void connection_let_go(struct connection *c, struct transport **t)
{
    race_let_go(c->conf.serve->metrics, *t);
    *t = NULL;
}

void connection_call_begins(struct connection *c, enum call call)
{
    c->asked_at[call] = loop_now_fresh(c->loop);
}

/* Answered, or never to be. */
void connection_call_ends(struct connection *c, enum call call, bool has_failed)
{
    if (c->asked_at[call] == 0)
        return;
    connection_count(c, SERVE_rpc_register + call);
    if (has_failed)
        connection_count(c, SERVE_rpc_register_failed + call);
    if (has_failed && call == CALL_REPORT)
        connection_count(c, SERVE_config_push_errors);
    metric_observe(c->conf.serve->metrics, SERVE_rpc_register_time + call,
                   loop_now_fresh(c->loop) - c->asked_at[call]);
    c->asked_at[call] = 0;
}

static void unwind(struct connection *c)
{
    for (unsigned call = 0; call < CALLS; call++)
        connection_call_ends(c, call, true);
    deadline_clear(&c->deadline);
    edge_lookup_free(c->lookup);
    c->lookup = NULL;
    c->is_looking_up = false;
    control_client_done(&c->control);
    c->control = (struct control_client){ 0 };
    deadline_clear(&c->probe_at);
    race_done(&c->race);
    connection_let_go(c, &c->transport);
    connection_let_go(c, &c->probe);
    c->is_returning = false;
}

struct transport_dial connection_dial_of(struct connection *c, const struct addr *bind)
{
    return (struct transport_dial){
        .loop = c->loop,
        .owner = &c->task,
        .edge = c->edge,
        .bind = bind,
        .streams_max = c->conf.streams_max,
        .quic = c->conf.quic,
        .tls = c->conf.tls,
        .proxies = c->conf.proxies,
        .proxy_tls = c->conf.proxy_tls,
    };
}

void connection_dial_address(struct connection *c)
{
    c->edge = connection_edge(c);
    bool fits = c->local.size > 0 && c->local.sa.ss_family == c->edge.sa.ss_family;
    struct transport_dial d = connection_dial_of(c, fits ? &c->local : c->conf.bind);
    c->has_dialled = true;
    race_start(&c->race, &d, c->conf.protocol, c->losses >= LOSSES_MAX, c->conf.serve->metrics);
}

/* An edge that was given by its name may have moved since, or was not found yet. */
static void dial(struct connection *c)
{
    const struct edge_name *name = edge_set_name(c->conf.edges, c->edge_at);
    bool is_known = connection_edge(c).size > 0;
    c->was_open = false;
    c->edge.size = 0;
    if (name == NULL || (is_known && !c->has_dialled)) {
        connection_dial_address(c);
        return;
    }
    if (edge_lookup_start(c->loop, name, &c->task, &c->lookup) < 0)
        task_wake(&c->task); /* which goes on without it */
    c->is_looking_up = true;
    deadline_set(&c->deadline, &c->task, loop_now_fresh(c->loop) + RESOLVE_NSEC);
}

static void enroll(struct connection *c)
{
    struct stream *s;
    struct addr source;
    c->err = 0;
    c->was_open = true;
    c->transport->ops->local(c->transport, &source);
    if (c->transport->ops->kind == TRANSPORT_QUIC)
        c->local = source;
    /* The socket is bound to any address: the edge is told the one that it is reached from. */
    if (addr_is_any(&source) && udp_source_addr(&c->edge, &source) == 0)
        addr_set_port(&source, addr_port(&c->local));
    int r = c->transport->ops->control(c->transport, &c->task, &s);
    if (r == 0)
        r = control_client_init(&c->control, c->loop, s, &c->task);
    if (r == 0)
        r = control_client_register(&c->control, c->conf.identity, c->conf.index, c->attempts,
                                    &source);
    if (r == ERR_AGAIN)
        connection_fail(c, ERR_PROTO, "the edge allows no stream for the registration");
    else if (r < 0)
        connection_fail(c, r, err_text(r));
    connection_call_begins(c, CALL_REGISTER);
    deadline_set(&c->deadline, &c->task, c->asked_at[CALL_REGISTER] + REGISTER_NSEC);
    task_wake(&c->task);
}

void connection_report(struct connection *c)
{
    c->is_report_due = false;
    connection_count(c, SERVE_config_pushes);
    if (control_client_report(&c->control, c->conf.local_configuration) < 0) {
        connection_count(c, SERVE_config_push_errors);
        log_warn("the local configuration cannot be told to the edge",
                 LSTR("tunnel", c->conf.serve->tunnel));
        return;
    }
    connection_call_begins(c, CALL_REPORT);
    task_wake(&c->task); /* which sends it */
}

void connection_plan_probe(struct connection *c)
{
    nsec jitter = rng_below(loop_rng(c->loop), c->probe_wait / 4 + 1);
    deadline_set(&c->probe_at, &c->task, loop_now_fresh(c->loop) + c->probe_wait + jitter);
}

/* Serving begins: over HTTP/2, where QUIC is wanted, the way back is looked for. */
static void note_transport(struct connection *c)
{
    bool is_fallback = c->transport->ops->kind == TRANSPORT_H2;
    c->served_at = loop_now_fresh(c->loop);
    if (c->conf.protocol != PROTOCOL_AUTO)
        return;
    if (is_fallback != c->has_fallen_back) {
        connection_count(c, is_fallback ? SERVE_fallbacks : SERVE_returns);
        log_info(is_fallback ? "QUIC does not get through: HTTP/2 serves" : "QUIC serves again",
                 LU64("connection", c->conf.index), LSTR("tunnel", c->conf.serve->tunnel));
    }
    c->has_fallen_back = is_fallback;
    if (is_fallback)
        connection_plan_probe(c);
}

/* Some networks let QUIC begin and then stop it: who is lost soon, twice, is not tried first. */
static void note_loss(struct connection *c)
{
    if (c->transport == NULL || c->transport->ops->kind != TRANSPORT_QUIC || c->served_at == 0)
        return;
    bool is_soon = c->err == ERR_TIMEOUT && loop_now_fresh(c->loop) - c->served_at < STEADY_NSEC;
    c->losses = is_soon ? c->losses + 1 : 0;
    c->probe_wait = !is_soon                                        ? c->conf.quic_retry
                    : c->probe_wait < CONNECTION_PROBE_NSEC_MAX / 2 ? 2 * c->probe_wait
                                                                    : CONNECTION_PROBE_NSEC_MAX;
}

static void serve(struct connection *c)
{
    char text[160], id[UUID_TEXT_BYTES];
    deadline_clear(&c->deadline);
    c->attempts = 0;
    connection_count(c, SERVE_registered);
    connection_call_ends(c, CALL_REGISTER, false);
    note_transport(c);
    if (c->conf.index == 0 && !c->control.is_remotely_managed &&
        c->conf.local_configuration != NULL)
        connection_report(c);
    (void)snprintf(text, sizeof text, "%s %s", c->control.location,
                   uuid_text(&c->control.connection, id));
    tell(c, text, 0);
    task_wake(&c->task);
}

/* A wait is anywhere in it. It doubles with each failure (docs/protocol.md §11). */
static nsec window_of(const struct connection *c, bool was_serving, nsec now)
{
    unsigned cap = c->conf.retries < BACKOFF_EXPONENT_MAX ? c->conf.retries : BACKOFF_EXPONENT_MAX;
    nsec window = (nsec)NSEC_PER_SEC << (c->attempts < cap ? c->attempts : cap);
    /* An edge that is being restarted is back soon, and so are we; its connectors all lost it at
     * the same moment, and should not all come at the same moment. */
    bool is_recent = c->lost_at > 0 && now - c->lost_at < RECENT_NSEC;
    if (is_recent && window > RECENT_WINDOW_NSEC)
        window = RECENT_WINDOW_NSEC;
    if (was_serving && c->conf.index == 0)
        return window / 8; /* one of them soon: most losses are short */
    if (was_serving && c->err == ERR_TIMEOUT)
        return window / 4; /* a path went silent, which nobody else lost at this moment */
    return window;
}

static void back_off(struct connection *c)
{
    bool was_serving = c->served_at != 0;
    note_loss(c);
    c->served_at = 0;
    unwind(c);
    c->attempts++;
    connection_count(c, reconnect_metric(c->err));
    if (c->err == ERR_TIMEOUT)
        c->local.size = 0; /* what swallows this port's packets may let another's through */
    nsec now = loop_now_fresh(c->loop);
    if (was_serving)
        c->lost_at = now;
    nsec wait = rng_below(loop_rng(c->loop), window_of(c, was_serving, now));
    deadline_set(&c->deadline, &c->task, now + wait);
    tell(c, c->why, wait);
    /* A refusal or a loss says nothing against the address; a dial that failed does (§2.3). */
    c->edge_at = c->was_open ? edge_set_stay(c->conf.edges, c->edge_at, now)
                             : edge_set_rotate(c->conf.edges, c->edge_at, now);
}

/* The edge knows that the old transport takes nothing new; what is under way there goes on. */
static void move(struct connection *c)
{
    connection_call_ends(c, CALL_UNREGISTER, c->control.unregistered != CONTROL_OK);
    c->leaver = leaver_new(c->transport, &c->control, c->conf.serve, c->conf.index, c->conf.grace,
                           &c->task);
    if (c->leaver == NULL) {
        control_client_done(&c->control);
        connection_let_go(c, &c->transport);
    }
    c->is_returning = false;
    c->transport = c->probe;
    c->probe = NULL;
    enroll(c);
}

static void drain(struct connection *c)
{
    connection_let_go(c, &c->probe);
    c->is_returning = false;
    c->is_unregistering = control_client_unregister(&c->control) == 0;
    if (c->is_unregistering)
        connection_call_begins(c, CALL_UNREGISTER);
    c->transport->ops->drain(c->transport);
    deadline_set(&c->deadline, &c->task, loop_now_fresh(c->loop) + CONNECTION_UNREGISTER_NSEC);
    tell(c, "", 0);
    task_wake(&c->task);
}

static void finish(struct connection *c)
{
    unwind(c);
    tell(c, "", 0);
}

static void stay(struct connection *c)
{
    (void)c;
}

/* An empty cell is a mistake of ours and asserts. */
static const struct step {
    bool is_set;
    enum connection_state to;
    void (*act)(struct connection *);
} STEPS[][EV_COUNT] = {
    [CONNECTION_IDLE] = { [EV_START] = { true, CONNECTION_DIALING, dial },
                          [EV_DRAIN] = { true, CONNECTION_OVER, finish } },
    [CONNECTION_DIALING] = { [EV_UP] = { true, CONNECTION_REGISTERING, enroll },
                             [EV_LOST] = { true, CONNECTION_BACKOFF, back_off },
                             [EV_DRAIN] = { true, CONNECTION_OVER, finish } },
    [CONNECTION_REGISTERING] = { [EV_ACCEPTED] = { true, CONNECTION_SERVING, serve },
                                 [EV_LOST] = { true, CONNECTION_BACKOFF, back_off },
                                 [EV_DRAIN] = { true, CONNECTION_OVER, finish } },
    [CONNECTION_SERVING] = { [EV_MOVED] = { true, CONNECTION_REGISTERING, move },
                             [EV_LOST] = { true, CONNECTION_BACKOFF, back_off },
                             [EV_DRAIN] = { true, CONNECTION_DRAINING, drain } },
    [CONNECTION_DRAINING] = { [EV_LOST] = { true, CONNECTION_OVER, finish },
                              [EV_TIMER] = { true, CONNECTION_OVER, finish },
                              [EV_DRAIN] = { true, CONNECTION_DRAINING, stay } },
    [CONNECTION_BACKOFF] = { [EV_TIMER] = { true, CONNECTION_DIALING, dial },
                             [EV_DRAIN] = { true, CONNECTION_OVER, finish } },
    [CONNECTION_OVER] = { [EV_DRAIN] = { true, CONNECTION_OVER, stay } },
};

void connection_on(struct connection *c, enum event event)
{
    const struct step *step = &STEPS[c->state][event];
    assert(step->is_set);
    log_debug("connection state", LU64("connection", c->conf.index),
              LSTR("from", connection_state_name(c->state)), LSTR("on", event_name(event)),
              LSTR("to", connection_state_name(step->to)), LSTR("tunnel", c->conf.serve->tunnel));
    c->state = step->to;
    step->act(c);
}

/* ---- life ---- */

int connection_new(struct loop *loop, const struct connection_conf *conf, struct connection **ret)
{
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->loop = loop;
    c->conf = *conf;
    if (c->conf.quic_retry == 0)
        c->conf.quic_retry = PROBE_NSEC;
    c->probe_wait = c->conf.quic_retry;
    c->edge_at = edge_set_take(conf->edges, conf->index);
    task_init(&c->task, loop, connection_run);
    task_wake(&c->task);
    *ret = c;
    return 0;
}

void connection_doubt(struct connection *c, const struct addr *edge)
{
    if (c->state == CONNECTION_SERVING && addr_eq(&c->edge, edge))
        c->transport->ops->ping(c->transport);
}

bool connection_stats(const struct connection *c, struct quic_stats *ret)
{
    return c->transport != NULL && c->transport->ops->stats(c->transport, ret);
}

void connection_tell_configuration(struct connection *c, char *json)
{
    free(c->told);
    c->told = json;
    c->conf.local_configuration = json;
    c->is_report_due = c->state == CONNECTION_SERVING; /* else with the registration */
    task_wake(&c->task);
}

void connection_drain(struct connection *c)
{
    c->is_drain_asked = true;
    task_wake(&c->task);
}

static void reap(struct reaper *r)
{
    struct connection *c = container_of(r, struct connection, reaper);
    free(c->told);
    free(c);
}

void connection_free(struct connection *c)
{
    if (c == NULL)
        return;
    unwind(c);
    leaver_free(c->leaver);
    edge_set_give(c->conf.edges, c->edge_at);
    task_done(&c->task);
    loop_reap(c->loop, &c->reaper, reap);
}
