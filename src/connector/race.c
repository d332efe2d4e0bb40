#include "connector/race.h"

#include <stdio.h>

#include "base/err.h"
#include "base/log.h"

#define RIVAL_NSEC (NSEC_PER_SEC / 4) /* of silence */

void race_let_go(struct metric_set *metrics, struct transport *t)
{
    if (t != NULL && t->ops->kind == TRANSPORT_QUIC)
        metric_add(metrics, SERVE_quic_closed, 1);
    transport_close(t);
}

static void let_go(struct race *r, enum transport_kind kind)
{
    race_let_go(r->metrics, r->tries[kind]);
    r->tries[kind] = NULL;
}

static void note_failure(struct race *r, enum transport_kind kind, int err, const char *why)
{
    size_t n = strlen(r->why);
    (void)snprintf(r->why + n, sizeof r->why - n, "%s%s: %s", n > 0 ? "; " : "",
                   transport_name(kind), why);
    r->err = err;
}

static void begin(struct race *r, enum transport_kind kind)
{
    r->has_begun[kind] = true;
    int e = kind == TRANSPORT_H2 ? transport_dial_h2(&r->dial, &r->tries[kind])
                                 : transport_dial_quic(&r->dial, &r->tries[kind]);
    if (e < 0)
        note_failure(r, kind, e, err_text(e));
    else if (kind == TRANSPORT_QUIC)
        metric_add(r->metrics, SERVE_quic_opened, 1);
    task_wake(r->dial.owner);
}

void race_start(struct race *r, const struct transport_dial *dial, enum protocol protocol,
                bool h2_first, struct metric_set *metrics)
{
    *r = (struct race){ .dial = *dial, .metrics = metrics, .protocol = protocol };
    begin(r, protocol == PROTOCOL_H2 || (protocol == PROTOCOL_AUTO && h2_first) ? TRANSPORT_H2
                                                                                : TRANSPORT_QUIC);
    if (protocol == PROTOCOL_AUTO)
        deadline_set(&r->rival, dial->owner, loop_now_fresh(dial->loop) + RIVAL_NSEC);
}

/* The other one joins when the first has failed; HTTP/2 already when QUIC is silent. */
static void join(struct race *r)
{
    bool is_due = deadline_take(&r->rival);
    enum transport_kind kind = r->has_begun[TRANSPORT_QUIC] ? TRANSPORT_H2 : TRANSPORT_QUIC;
    const struct transport *first = r->tries[kind == TRANSPORT_H2 ? TRANSPORT_QUIC : TRANSPORT_H2];
    if (r->protocol != PROTOCOL_AUTO || r->has_begun[kind])
        return;
    bool is_silent =
        kind == TRANSPORT_H2 && is_due && first != NULL && !first->ops->has_heard(first);
    if (first != NULL && !is_silent)
        return;
    log_debug("another transport is tried as well", LSTR("transport", transport_name(kind)));
    begin(r, kind);
}

int race_run(struct race *r, struct transport **ret)
{
    for (unsigned kind = 0; kind < TRANSPORT_KINDS; kind++) {
        struct transport *t = r->tries[kind];
        enum transport_state state = t != NULL ? transport_state(t) : TRANSPORT_DIALING;
        const char *why;
        if (state == TRANSPORT_OPEN) {
            r->tries[kind] = NULL;
            race_done(r);
            *ret = t;
            return 0;
        }
        if (state == TRANSPORT_CLOSED) {
            int err = t->ops->why(t, &why);
            note_failure(r, kind, err, why);
            let_go(r, kind);
        }
    }
    join(r);
    return r->tries[TRANSPORT_QUIC] == NULL && r->tries[TRANSPORT_H2] == NULL ? r->err : ERR_AGAIN;
}

void race_done(struct race *r)
{
    deadline_clear(&r->rival);
    for (unsigned kind = 0; kind < TRANSPORT_KINDS; kind++)
        let_go(r, kind);
}
