#include <stdio.h>

#include "base/err.h"
#include "connector/connection_int.h"

#define LINGER_NSEC                                                                                \
    (NSEC_PER_SEC / 4) /* requests that were on their way when the edge heard of the end */
#define PART_NSEC (NSEC_PER_SEC / 2) /* for what is told that it ends, each of two times */

static void lose(struct connection *c, int err, const char *why)
{
    connection_fail(c, err, why);
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
    if (connection_edge(c).size > 0) {
        if (r < 0)
            log_debug("an edge's name cannot be resolved now", LU64("connection", c->conf.index),
                      LERR(r), LSTR("tunnel", c->conf.serve->tunnel));
        connection_dial_address(c);
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
        struct transport_dial d = connection_dial_of(c, c->conf.bind);
        connection_count(c, SERVE_quic_opened);
        if (transport_dial_quic(&d, &c->probe) < 0)
            connection_plan_probe(c);
    }
    enum transport_state state = c->probe != NULL ? transport_state(c->probe) : TRANSPORT_DIALING;
    if (state == TRANSPORT_CLOSED) {
        connection_let_go(c, &c->probe);
        c->probe_wait = c->probe_wait < CONNECTION_PROBE_NSEC_MAX / 2 ? 2 * c->probe_wait
                                                                      : CONNECTION_PROBE_NSEC_MAX;
        connection_plan_probe(c);
    }
    if (state == TRANSPORT_OPEN && control_client_unregister(&c->control) == 0) {
        connection_call_begins(c, CALL_UNREGISTER);
        c->is_returning = true;
        deadline_set(&c->deadline, &c->task, loop_now_fresh(c->loop) + CONNECTION_UNREGISTER_NSEC);
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
        connection_call_ends(c, CALL_REGISTER, true);
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
        connection_call_ends(c, CALL_UNREGISTER, c->control.unregistered != CONTROL_OK);
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

void connection_run(struct task *t)
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
            connection_call_ends(c, CALL_REPORT, c->control.has_report_failed);
        if (c->is_report_due && !c->control.is_reporting && !c->control.is_remotely_managed)
            connection_report(c);
        c->transport->ops->serve(c->transport, c->conf.serve, c->conf.index, c->control.extensions);
    }
    if (c->state == CONNECTION_SERVING)
        check_return(c);
    if (c->state == CONNECTION_DRAINING)
        check_drain(c);
}
