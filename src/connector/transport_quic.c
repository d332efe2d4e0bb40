#include <stdlib.h>

#include "base/err.h"
#include "connector/transport.h"

#define SERVER_NAME     "quic.cftunnel.com"
#define QUIET_NSEC      (45 * NSEC_PER_SEC) /* four such connections: less than 1 MB a day */
#define GIVE_UP_NSEC    (3 * NSEC_PER_SEC)
#define CONTROL_STREAMS 1 /* of a connection that serves nothing */

struct transport_quic {
    struct transport base;
    struct quic_conn *quic;
    struct quic_why why;
};

static struct transport_quic *of(const struct transport *t)
{
    return container_of((struct transport *)(uintptr_t)t, struct transport_quic, base);
}

static enum transport_state state(struct transport *base)
{
    switch (quic_conn_state(of(base)->quic)) {
    case QUIC_HANDSHAKE:
        return TRANSPORT_DIALING;
    case QUIC_OPEN:
        return TRANSPORT_OPEN;
    case QUIC_CLOSED:
        break;
    }
    return TRANSPORT_CLOSED;
}

static bool has_heard(const struct transport *base)
{
    struct quic_stats stats;
    quic_conn_stats(of(base)->quic, &stats);
    return stats.bytes_received > 0;
}

static int why(struct transport *base, const char **ret_text)
{
    struct transport_quic *t = of(base);
    quic_conn_why(t->quic, &t->why);
    *ret_text = t->why.text[0] != 0 ? t->why.text : err_text(t->why.err);
    return t->why.err;
}

static int control(struct transport *base, struct task *owner, struct stream **ret)
{
    return quic_conn_open(of(base)->quic, owner, ret);
}

static void serve_all(struct transport *base, struct serve *serve, unsigned index,
                      unsigned extensions)
{
    struct stream *s;
    serve->streams.connection = (int)index;
    while (quic_conn_accept(of(base)->quic, NULL, &s) == 0)
        serve_stream(serve, s, extensions);
}

static void drain(struct transport *base)
{
    quic_conn_tell_left(of(base)->quic, CONTROL_STREAMS);
}

/* A stream counts until its last byte has arrived: closing earlier would cut the answer off. */
static bool is_idle(const struct transport *base)
{
    return quic_conn_streams(of(base)->quic) <= CONTROL_STREAMS;
}

static void set_owner(struct transport *base, struct task *owner)
{
    quic_conn_set_owner(of(base)->quic, owner);
}

static void local(const struct transport *base, struct addr *ret)
{
    quic_conn_local_addr(of(base)->quic, ret);
}

static bool stats(const struct transport *base, struct quic_stats *ret)
{
    if (quic_conn_state(of(base)->quic) != QUIC_OPEN)
        return false;
    quic_conn_stats(of(base)->quic, ret);
    return true;
}

static void close_now(struct transport *base)
{
    struct transport_quic *t = of(base);
    quic_conn_close(t->quic, 0, "");
    quic_conn_release(t->quic);
    free(t);
}

static void ping(struct transport *base)
{
    quic_conn_ping(of(base)->quic);
}

static const struct transport_ops QUIC = {
    .kind = TRANSPORT_QUIC,
    .state = state,
    .has_heard = has_heard,
    .why = why,
    .control = control,
    .serve = serve_all,
    .drain = drain,
    .is_idle = is_idle,
    .set_owner = set_owner,
    .local = local,
    .ping = ping,
    .stats = stats,
    .close = close_now,
};

int transport_dial_quic(const struct transport_dial *d, struct transport **ret)
{
    const struct quic_conf conf = {
        .creds = d->quic,
        .alpn = "argotunnel",
        .idle = 100 * NSEC_PER_SEC,
        .keepalive = NSEC_PER_SEC,
        .keepalive_quiet = QUIET_NSEC,
        .give_up = GIVE_UP_NSEC,
        .streams_bidi = d->streams_max,
        .datagrams = true,
        .pmtud = true,
    };
    struct transport_quic *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    t->base = (struct transport){ .ops = &QUIC, .loop = d->loop };
    int r = quic_dial(d->loop, &conf, &d->edge, d->bind, SERVER_NAME, d->owner, &t->quic);
    if (r < 0) {
        free(t);
        return r;
    }
    *ret = &t->base;
    return 0;
}
