#include "connector/connection.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "connector/control_client.h"
#include "connector/edge_lookup.h"
#include "connector/leaver.h"
#include "connector/reconnect.h"
#include "net/udp.h"

#define REGISTER_NSEC (5 * NSEC_PER_SEC) /* of one call (docs/protocol.md §7) */
#define RESOLVE_NSEC  (5 * NSEC_PER_SEC) /* then the addresses that are known are good enough */
#define UNREGISTER_NSEC                                                                            \
    (2 * NSEC_PER_SEC) /* the edge is told; whether it answers does not matter for long */
#define LINGER_NSEC                                                                                \
    (NSEC_PER_SEC / 4) /* requests that were on their way when the edge heard of the end */
#define RECENT_NSEC          (60 * NSEC_PER_SEC) /* after a loss */
#define RECENT_WINDOW_NSEC   (2 * NSEC_PER_SEC)
#define PROBE_NSEC           (10 * NSEC_PER_SEC) /* over HTTP/2: then QUIC is tried again; doubles */
#define PROBE_NSEC_MAX       (600 * NSEC_PER_SEC)
#define STEADY_NSEC          (60 * NSEC_PER_SEC) /* QUIC that lives so long is good */
#define LOSSES_MAX           2 /* of QUIC that was not, in a row: then HTTP/2 goes first */
#define PART_NSEC            (NSEC_PER_SEC / 2) /* for what is told that it ends, each of two times */
#define BACKOFF_EXPONENT_MAX 10

/* What happens to a connection. */
#define EVENTS(X) X(START) X(UP) X(ACCEPTED) X(MOVED) X(LOST) X(DRAIN) X(TIMER)
enum event {
#define X(name) EV_##name,
    EVENTS(X)
#undef X
        EV_COUNT
};

/* In the order of their rows in metrics.def, for operations, failures and times alike. */
enum call { CALL_REGISTER, CALL_UNREGISTER, CALL_REPORT, CALLS };

struct connection {
    struct task task;
    struct deadline deadline;
    struct loop *loop;
    struct connection_conf conf;
    enum connection_state state;
    struct race race;            /* while it dials */
    struct transport *transport; /* that serves */
    struct transport *probe;     /* QUIC, tried while HTTP/2 serves */
    struct deadline probe_at;
    nsec probe_wait, served_at; /* served_at: 0 = it does not */
    nsec lost_at;               /* since when; 0 = never served */
    unsigned losses;            /* of QUIC that did not live long, in a row */
    bool is_returning, has_fallen_back;
    struct leaver *leaver; /* HTTP/2, since QUIC is back */
    struct control_client control;
    unsigned attempts; /* failures in a row */
    size_t edge_at;    /* which of conf.edges; taken */
    struct addr edge;  /* that was dialled there; size 0 = none is known */
    int err;           /* of the last failure */
    char why[256];
    bool was_open; /* the last dial succeeded */
    bool has_dialled, is_looking_up;
    struct edge_lookup *lookup; /* of the edge's name, before a dial */
    bool is_drain_asked, is_unregistering, is_lingering;
    bool is_report_due;
    char *told; /* the local configuration, when it is ours */
    nsec drain_end;
    enum parting parting; /* behind that */
    nsec asked_at[CALLS]; /* 0: not under way */
    struct addr local;    /* the port stays the same over all dials */
    struct reaper reaper;
};

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

static struct addr edge_of(const struct connection *c)
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

static void fail(struct connection *c, int err, const char *why)
{
    c->err = err;
    if (why != c->why)
        (void)snprintf(c->why, sizeof c->why, "%s", why);
}

static void count(struct connection *c, enum serve_metric what)
{
    metric_add(c->conf.serve->metrics, what, 1);
}

static void let_go(struct connection *c, struct transport **t)
{
    race_let_go(c->conf.serve->metrics, *t);
    *t = NULL;
}

static void call_begins(struct connection *c, enum call call)
{
    c->asked_at[call] = loop_now_fresh(c->loop);
}

/* Answered, or never to be. */
static void call_ends(struct connection *c, enum call call, bool has_failed)
{
    if (c->asked_at[call] == 0)
        return;
    count(c, SERVE_rpc_register + call);
    if (has_failed)
        count(c, SERVE_rpc_register_failed + call);
    if (has_failed && call == CALL_REPORT)
        count(c, SERVE_config_push_errors);
    metric_observe(c->conf.serve->metrics, SERVE_rpc_register_time + call,
                   loop_now_fresh(c->loop) - c->asked_at[call]);
    c->asked_at[call] = 0;
}

static void unwind(struct connection *c)
{
    for (unsigned call = 0; call < CALLS; call++)
        call_ends(c, call, true);
    deadline_clear(&c->deadline);
    edge_lookup_free(c->lookup);
    c->lookup = NULL;
    c->is_looking_up = false;
    control_client_done(&c->control);
    c->control = (struct control_client){ 0 };
    deadline_clear(&c->probe_at);
    race_done(&c->race);
    let_go(c, &c->transport);
    let_go(c, &c->probe);
    c->is_returning = false;
}

static struct transport_dial dial_of(struct connection *c, const struct addr *bind)
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

static void dial_address(struct connection *c)
{
    c->edge = edge_of(c);
    bool fits = c->local.size > 0 && c->local.sa.ss_family == c->edge.sa.ss_family;
    struct transport_dial d = dial_of(c, fits ? &c->local : c->conf.bind);
    c->has_dialled = true;
    race_start(&c->race, &d, c->conf.protocol, c->losses >= LOSSES_MAX, c->conf.serve->metrics);
}

/* An edge that was given by its name may have moved since, or was not found yet. */
static void dial(struct connection *c)
{
    const struct edge_name *name = edge_set_name(c->conf.edges, c->edge_at);
    bool is_known = edge_of(c).size > 0;
    c->was_open = false;
    c->edge.size = 0;
    if (name == NULL || (is_known && !c->has_dialled)) {
        dial_address(c);
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
        fail(c, ERR_PROTO, "the edge allows no stream for the registration");
    else if (r < 0)
        fail(c, r, err_text(r));
    call_begins(c, CALL_REGISTER);
    deadline_set(&c->deadline, &c->task, c->asked_at[CALL_REGISTER] + REGISTER_NSEC);
    task_wake(&c->task);
}

static void report(struct connection *c)
{
    c->is_report_due = false;
    count(c, SERVE_config_pushes);
    if (control_client_report(&c->control, c->conf.local_configuration) < 0) {
        count(c, SERVE_config_push_errors);
        log_warn("the local configuration cannot be told to the edge",
                 LSTR("tunnel", c->conf.serve->tunnel));
        return;
    }
    call_begins(c, CALL_REPORT);
    task_wake(&c->task); /* which sends it */
}

static void plan_probe(struct connection *c)
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
        count(c, is_fallback ? SERVE_fallbacks : SERVE_returns);
        log_info(is_fallback ? "QUIC does not get through: HTTP/2 serves" : "QUIC serves again",
                 LU64("connection", c->conf.index), LSTR("tunnel", c->conf.serve->tunnel));
    }
    c->has_fallen_back = is_fallback;
    if (is_fallback)
        plan_probe(c);
}

/* Some networks let QUIC begin and then stop it: who is lost soon, twice, is not tried first. */
static void note_loss(struct connection *c)
{
    if (c->transport == NULL || c->transport->ops->kind != TRANSPORT_QUIC || c->served_at == 0)
        return;
    bool is_soon = c->err == ERR_TIMEOUT && loop_now_fresh(c->loop) - c->served_at < STEADY_NSEC;
    c->losses = is_soon ? c->losses + 1 : 0;
    c->probe_wait = !is_soon                             ? PROBE_NSEC
                    : c->probe_wait < PROBE_NSEC_MAX / 2 ? 2 * c->probe_wait
                                                         : PROBE_NSEC_MAX;
}

static void serve(struct connection *c)
{
    char text[160], id[UUID_TEXT_BYTES];
    deadline_clear(&c->deadline);
    c->attempts = 0;
    count(c, SERVE_registered);
    call_ends(c, CALL_REGISTER, false);
    note_transport(c);
    if (c->conf.index == 0 && !c->control.is_remotely_managed &&
        c->conf.local_configuration != NULL)
        report(c);
    (void)snprintf(text, sizeof text, "%s %s", c->control.location,
                   uuid_text(&c->control.connection, id));
    tell(c, text, 0);
    task_wake(&c->task);
}

/* Full jitter over a window that doubles with each failure (docs/protocol.md §11). */
static void back_off(struct connection *c)
{
    bool was_serving = c->served_at != 0;
    note_loss(c);
    c->served_at = 0;
    unwind(c);
    unsigned cap = c->conf.retries < BACKOFF_EXPONENT_MAX ? c->conf.retries : BACKOFF_EXPONENT_MAX;
    c->attempts++;
    count(c, reconnect_metric(c->err));
    if (c->err == ERR_TIMEOUT)
        c->local.size = 0; /* what swallows this port's packets may let another's through */
    unsigned exponent = c->attempts < cap ? c->attempts : cap;
    nsec now = loop_now_fresh(c->loop), window = (nsec)NSEC_PER_SEC << exponent;
    if (was_serving)
        c->lost_at = now;
    /* An edge that is being restarted is back soon, and so are we; its connectors all lost it at
     * the same moment, and should not all come at the same moment. */
    bool is_recent = c->lost_at > 0 && now - c->lost_at < RECENT_NSEC;
    if (is_recent && window > RECENT_WINDOW_NSEC)
        window = RECENT_WINDOW_NSEC;
    if (was_serving && c->conf.index == 0)
        window /= 8; /* one of them soon: most losses are short */
    nsec wait = rng_below(loop_rng(c->loop), window);
    deadline_set(&c->deadline, &c->task, now + wait);
    tell(c, c->why, wait);
    /* A refusal or a loss says nothing against the address; a dial that failed does (§2.3). */
    c->edge_at = c->was_open ? edge_set_stay(c->conf.edges, c->edge_at, now)
                             : edge_set_rotate(c->conf.edges, c->edge_at, now);
}

/* The edge knows that the old transport takes nothing new; what is under way there goes on. */
static void move(struct connection *c)
{
    call_ends(c, CALL_UNREGISTER, c->control.unregistered != CONTROL_OK);
    c->leaver = leaver_new(c->transport, &c->control, c->conf.serve, c->conf.index, c->conf.grace,
                           &c->task);
    if (c->leaver == NULL) {
        control_client_done(&c->control);
        let_go(c, &c->transport);
    }
    c->is_returning = false;
    c->transport = c->probe;
    c->probe = NULL;
    enroll(c);
}

static void drain(struct connection *c)
{
    let_go(c, &c->probe);
    c->is_returning = false;
    c->is_unregistering = control_client_unregister(&c->control) == 0;
    if (c->is_unregistering)
        call_begins(c, CALL_UNREGISTER);
    c->transport->ops->drain(c->transport);
    deadline_set(&c->deadline, &c->task, loop_now_fresh(c->loop) + UNREGISTER_NSEC);
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

/* The only function that writes c->state. */
static void connection_on(struct connection *c, enum event event)
{
    const struct step *step = &STEPS[c->state][event];
    assert(step->is_set);
    log_debug("connection state", LU64("connection", c->conf.index),
              LSTR("from", connection_state_name(c->state)), LSTR("on", event_name(event)),
              LSTR("to", connection_state_name(step->to)), LSTR("tunnel", c->conf.serve->tunnel));
    c->state = step->to;
    step->act(c);
}

/* ---- looking at what happened ---- */

static void lose(struct connection *c, int err, const char *why)
{
    fail(c, err, why);
    connection_on(c, EV_LOST);
}

/* The edge's name: true when it is not waited for. */
static bool check_name(struct connection *c)
{
    struct edge_found found;
    char why[sizeof c->why];
    if (!c->is_looking_up)
        return true;
    int r = c->lookup != NULL ? edge_lookup_run(c->lookup, &found) : ERR_RESOLVE;
    if (r == ERR_AGAIN && !deadline_take(&c->deadline))
        return false;
    r = r == ERR_AGAIN ? ERR_TIMEOUT : r;
    if (r == 0)
        edge_set_refresh(c->conf.edges, c->edge_at, &found);
    deadline_clear(&c->deadline);
    edge_lookup_free(c->lookup);
    c->lookup = NULL;
    c->is_looking_up = false;
    if (edge_of(c).size > 0) {
        if (r < 0)
            log_debug("an edge's name cannot be resolved now", LU64("connection", c->conf.index),
                      LERR(r), LSTR("tunnel", c->conf.serve->tunnel));
        dial_address(c);
        return true;
    }
    /* Nothing was ever known of it. */
    const struct edge_name *name = edge_set_name(c->conf.edges, c->edge_at);
    (void)snprintf(why, sizeof why, "no address is known of %s%.150s: %s",
                   name->is_srv ? "the SRV name " : "", name->host,
                   err_text(r < 0 ? r : ERR_NOTFOUND));
    lose(c, ERR_RESOLVE, why);
    return false;
}

static void check_dials(struct connection *c)
{
    int r = race_run(&c->race, &c->transport);
    if (r == ERR_AGAIN)
        return;
    if (r == 0)
        connection_on(c, EV_UP);
    else
        lose(c, r, c->race.why);
}

/* Over HTTP/2 only because QUIC did not get through: once it does, this connection moves. */
static void check_return(struct connection *c)
{
    if (c->conf.protocol != PROTOCOL_AUTO || c->transport->ops->kind != TRANSPORT_H2)
        return;
    if (c->is_returning) {
        if (deadline_take(&c->deadline) || c->control.unregistered != CONTROL_PENDING)
            connection_on(c, EV_MOVED);
        return;
    }
    if (deadline_take(&c->probe_at) && c->probe == NULL && c->leaver == NULL) {
        struct transport_dial d = dial_of(c, c->conf.bind);
        count(c, SERVE_quic_opened);
        if (transport_dial_quic(&d, &c->probe) < 0)
            plan_probe(c);
    }
    enum transport_state state = c->probe != NULL ? transport_state(c->probe) : TRANSPORT_DIALING;
    if (state == TRANSPORT_CLOSED) {
        let_go(c, &c->probe);
        c->probe_wait = c->probe_wait < PROBE_NSEC_MAX / 2 ? 2 * c->probe_wait : PROBE_NSEC_MAX;
        plan_probe(c);
    }
    if (state == TRANSPORT_OPEN && control_client_unregister(&c->control) == 0) {
        call_begins(c, CALL_UNREGISTER);
        c->is_returning = true;
        deadline_set(&c->deadline, &c->task, loop_now_fresh(c->loop) + UNREGISTER_NSEC);
    }
}

/* The connection itself: true when it is gone. */
static bool check_transport(struct connection *c)
{
    const char *text;
    if (transport_state(c->transport) != TRANSPORT_CLOSED)
        return false;
    int err = c->transport->ops->why(c->transport, &text);
    lose(c, err, text);
    return true;
}

static void check_registration(struct connection *c)
{
    if (c->err < 0) { /* it could not even be asked */
        connection_on(c, EV_LOST);
        return;
    }
    int r = control_client_run(&c->control);
    if (c->control.registered == CONTROL_OK)
        connection_on(c, EV_ACCEPTED);
    else if (c->control.registered == CONTROL_REFUSED) {
        call_ends(c, CALL_REGISTER, true);
        lose(c, ERR_AUTH, c->control.cause);
    } else if (r < 0 && r != ERR_AGAIN)
        lose(c, r, "the edge ended the control stream before it answered the registration");
    else if (deadline_take(&c->deadline))
        lose(c, ERR_TIMEOUT, "the edge did not answer the registration in time");
}

/* The grace period is over: what can end in order is told, the origins before the visitors, and
 * gets a moment for it. False when there is nothing (more) to wait for. */
static bool part(struct connection *c)
{
    if (c->parting == PARTING_BOTH)
        return false;
    c->parting++;
    c->is_lingering = false;
    size_t count = serve_part(c->conf.serve, c->conf.index, c->parting);
    if (c->parting == PARTING_ORIGIN && count > 0) {
        metric_add(c->conf.serve->metrics, SERVE_parted, (int64_t)count);
        log_info("grace period is over: websockets and event streams are told",
                 LU64("connIndex", c->conf.index), LU64("count", count),
                 LSTR("tunnel", c->conf.serve->tunnel));
    }
    deadline_set(&c->deadline, &c->task, loop_now_fresh(c->loop) + PART_NSEC);
    return count > 0;
}

/* Unregistering first, then the grace period for what is under way. */
static void check_drain(struct connection *c)
{
    bool is_late = deadline_take(&c->deadline);
    if (c->is_unregistering && (is_late || c->control.unregistered != CONTROL_PENDING)) {
        nsec now = loop_now_fresh(c->loop), grace = c->conf.grace;
        call_ends(c, CALL_UNREGISTER, c->control.unregistered != CONTROL_OK);
        c->is_unregistering = is_late = false;
        c->is_lingering = true;
        c->drain_end = now + grace;
        control_client_finish(&c->control);
        deadline_set(&c->deadline, &c->task, now + (grace < LINGER_NSEC ? grace : LINGER_NSEC));
    }
    if (c->is_lingering && is_late && loop_now_fresh(c->loop) < c->drain_end) {
        c->is_lingering = is_late = false;
        deadline_set(&c->deadline, &c->task, c->drain_end);
    }
    bool is_idle = !c->is_unregistering && !c->is_lingering && c->leaver == NULL &&
                   c->transport->ops->is_idle(c->transport);
    if (is_idle || (is_late && !part(c)))
        connection_on(c, EV_TIMER);
}

static void connection_run(struct task *t)
{
    struct connection *c = container_of(t, struct connection, task);
    if (c->leaver != NULL && leaver_is_over(c->leaver)) {
        leaver_free(c->leaver);
        c->leaver = NULL;
    }
    if (c->state == CONNECTION_IDLE)
        connection_on(c, EV_START);
    if (c->is_drain_asked && c->state != CONNECTION_DRAINING && c->state != CONNECTION_OVER)
        connection_on(c, EV_DRAIN);
    if (c->state == CONNECTION_OVER)
        return;
    if (c->state == CONNECTION_BACKOFF) {
        if (deadline_take(&c->deadline))
            connection_on(c, EV_TIMER);
        return;
    }
    if (!check_name(c))
        return;
    if (c->state == CONNECTION_DIALING)
        check_dials(c);
    else if (check_transport(c))
        return;
    if (c->state == CONNECTION_REGISTERING)
        check_registration(c);
    if (c->state == CONNECTION_SERVING || c->state == CONNECTION_DRAINING) {
        (void)control_client_run(&c->control); /* its end means nothing: the connection's does */
        if (!c->control.is_reporting)
            call_ends(c, CALL_REPORT, c->control.has_report_failed);
        if (c->is_report_due && !c->control.is_reporting && !c->control.is_remotely_managed)
            report(c);
        c->transport->ops->serve(c->transport, c->conf.serve, c->conf.index, c->control.extensions);
    }
    if (c->state == CONNECTION_SERVING)
        check_return(c);
    if (c->state == CONNECTION_DRAINING)
        check_drain(c);
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
