/* Signs of life: PINGs, often while there is traffic and seldom while there is none, and the end of
 * a connection whose peer owes an acknowledgement for too long. */
#include "mux/quic_int.h"

#define REFUSED_NSEC (NSEC_PER_SEC / 2)  /* without a word to the contrary */
#define QUIET_NSEC   (10 * NSEC_PER_SEC) /* without traffic: then there is time */
#define LATE_NSEC    (NSEC_PER_SEC / 4)  /* no timer is so late unless the process stood still */

static void keep_alive(struct quic_conn *c, nsec every)
{
    if (c->keepalive == every)
        return;
    c->keepalive = every;
    ngtcp2_conn_set_keep_alive_timeout(c->ng, every);
}

void quic_note_traffic(struct quic_conn *c)
{
    c->traffic_at = loop_now(c->e->loop);
    c->is_quiet = false;
    if (c->conf.keepalive > 0)
        keep_alive(c, c->conf.keepalive);
}

/* The library pings when nothing was sent for so long; the usual time is back with the next packet
 * that comes. */
void quic_conn_ping(struct quic_conn *c)
{
    if (c->state != QUIC_OPEN || c->unacked_since != 0)
        return;
    keep_alive(c, NSEC_PER_MSEC);
    task_wake(&c->send);
}

/* The first long pause has any length: connections that fell silent at one moment then ask at
 * different ones, so that one of them soon finds out that their peer is gone. */
static nsec usual(struct quic_conn *c)
{
    bool was_quiet = c->is_quiet;
    c->is_quiet = c->conf.keepalive_quiet > 0 && loop_now(c->e->loop) - c->traffic_at > QUIET_NSEC;
    if (!c->is_quiet)
        return c->conf.keepalive;
    return was_quiet ? c->conf.keepalive_quiet
                     : NSEC_PER_SEC + rng_below(loop_rng(c->e->loop), c->conf.keepalive_quiet);
}

/* Whatever comes is a sign of life. */
void quic_note_heard(struct quic_conn *c)
{
    if (c->state == QUIC_OPEN)
        keep_alive(c, usual(c));
    c->unacked_since = 0;
    c->is_refused = false;
    quic_note_sent(c);
}

void quic_note_sent(struct quic_conn *c)
{
    ngtcp2_conn_info info;
    if (c->unacked_since != 0)
        return;
    ngtcp2_conn_get_conn_info(c->ng, &info);
    if (info.bytes_in_flight > 0)
        c->unacked_since = loop_now(c->e->loop);
}

/* The peer's machine says that nobody listens there any more. */
void quic_note_refused(struct quic_conn *c)
{
    c->is_refused = true;
    task_wake(&c->send);
}

/* Whoever finds out late was stopped itself, and what came meanwhile is still to be read. */
bool quic_has_given_up(struct quic_conn *c, nsec now)
{
    nsec end = quic_gives_up_at(c);
    if (now < end)
        return false;
    if (now - end < LATE_NSEC)
        return true;
    c->unacked_since += now - end + LATE_NSEC;
    return false;
}

nsec quic_gives_up_at(const struct quic_conn *c)
{
    if (c->conf.give_up == 0 || c->unacked_since == 0 || c->state != QUIC_OPEN)
        return NSEC_NEVER;
    bool is_sooner = c->is_refused && c->conf.give_up > REFUSED_NSEC;
    return c->unacked_since + (is_sooner ? REFUSED_NSEC : c->conf.give_up);
}
