#include "edge/carrier.h"

#include <stdio.h>

#include "base/err.h"
#include "base/limits.h"
#include "tunnel/h2_words.h"

#define KEEPALIVE_NSEC (110 * NSEC_PER_SEC)  /* of silence: then a PING */
#define PONG_NSEC      (10 * NSEC_PER_SEC)   /* until the connection is given up */
#define ASK_NSEC       (100 * NSEC_PER_MSEC) /* without an answer to what we said: then a PING */
#define REFUSED_NSEC                                                                               \
    (5 * NSEC_PER_SEC / 2) /* likewise, when its machine says that nobody listens: a               \
                              NAT that forgot may say so until the next PING */
#define PATIENCE_NSEC     (200 * NSEC_PER_MSEC)
#define PATIENCE_NSEC_MAX (3 * NSEC_PER_SEC) /* whatever a stopped peer made of the round trip */
#define GIVE_UP_NSEC      (10 * NSEC_PER_SEC) /* of QUIC, whose packets are acknowledged one by one */

void carrier_init_quic(struct carrier *c, struct quic_conn *conn, struct task *owner)
{
    *c = (struct carrier){ .quic = conn };
    quic_conn_set_owner(conn, owner);
    quic_conn_peer_addr(conn, &c->peer);
}

static int ask_for_control(struct carrier *c, struct task *owner)
{
    static const struct h2_field FIELDS[] = {
        { { (const uint8_t *)H2_UPGRADE_FIELD, sizeof H2_UPGRADE_FIELD - 1 },
          { (const uint8_t *)H2_CONTROL_VALUE, sizeof H2_CONTROL_VALUE - 1 },
          false },
    };
    const struct h2_send_head head = { .method = SLICE("GET"),
                                       .scheme = SLICE("https"),
                                       .authority = SLICE("h2.cftunnel.com"),
                                       .path = SLICE("/"),
                                       .fields = FIELDS,
                                       .count = 1 };
    return h2_conn_request(c->h2, &head, false, owner, &c->h2_control);
}

static int open_h2(struct carrier *c, struct loop *loop, struct stream *under, struct task *owner)
{
    const struct h2_conf conf = {
        .stream_window = TUNNEL_H2_STREAM_WINDOW_BYTES,
        .conn_window = TUNNEL_H2_CONN_WINDOW_BYTES,
        .frame_bytes = TUNNEL_H2_FRAME_BYTES, /* for heads: many continuations would be abuse */
        .head_bytes = TUNNEL_H2_HEAD_BYTES_MAX,
        .keepalive = KEEPALIVE_NSEC,
        .pong = PONG_NSEC,
    };
    int r = h2_open(loop, &conf, under, owner, &c->h2);
    if (r < 0) {
        stream_abort(under, r);
        stream_release(under);
    }
    return r;
}

int carrier_init_stand_in(struct carrier *c, struct loop *loop, struct stream *s,
                          struct task *owner)
{
    *c = (struct carrier){ .has_control = true };
    return open_h2(c, loop, s, owner);
}

int carrier_init_h2(struct carrier *c, struct loop *loop, struct stream *tls,
                    const struct addr *peer, struct task *owner)
{
    *c = (struct carrier){ .peer = *peer };
    int r = open_h2(c, loop, tls, owner);
    if (r < 0)
        return r;
    r = ask_for_control(c, owner);
    if (r < 0)
        h2_conn_abort(c->h2);
    if (r < 0)
        c->h2 = NULL;
    return r;
}

void carrier_done(struct carrier *c)
{
    if (c->h2_control != NULL && !c->has_control)
        stream_release(h2_stream_body(c->h2_control));
    quic_conn_release(c->quic);
    h2_conn_release(c->h2);
    *c = (struct carrier){ 0 };
}

bool carrier_is_closed(struct carrier *c)
{
    if (c->quic != NULL) {
        struct quic_why why;
        if (quic_conn_state(c->quic) != QUIC_CLOSED)
            return false;
        quic_conn_why(c->quic, &why);
        (void)snprintf(c->why, sizeof c->why, "%s",
                       why.text[0] != 0 ? why.text : err_text(why.err));
        c->err = why.err;
        return true;
    }
    if (h2_conn_state(c->h2) != H2_CLOSED)
        return false;
    struct h2_why why;
    h2_conn_why(c->h2, &why);
    const char *text = why.text != NULL && why.text[0] != 0 ? why.text : err_text(why.err);
    (void)snprintf(c->why, sizeof c->why, "%s", text);
    c->err = why.err;
    return true;
}

/* Streams that the connector opens: the first is the control stream; later ones end UDP sessions,
 * of which we have none. */
static int quic_control(struct carrier *c, struct task *owner, struct stream **ret)
{
    struct stream *s;
    int found = ERR_AGAIN;
    while (quic_conn_accept(c->quic, NULL, &s) == 0) {
        if (!c->has_control) {
            c->has_control = true;
            s->owner = owner;
            *ret = s;
            found = 0;
            continue;
        }
        stream_abort(s, ERR_UNSUPPORTED);
        stream_release(s);
    }
    return found;
}

static int h2_control(struct carrier *c, struct stream **ret)
{
    const struct h2_head *head;
    if (c->has_control)
        return ERR_AGAIN;
    int r = h2_stream_head(c->h2_control, &head);
    if (r < 0)
        return r;
    if (head->status != 200)
        return ERR_PROTO;
    c->has_control = true;
    *ret = h2_stream_body(c->h2_control);
    return 0;
}

int carrier_control(struct carrier *c, struct task *owner, struct stream **ret)
{
    return c->quic != NULL ? quic_control(c, owner, ret) : h2_control(c, ret);
}

nsec carrier_rtt(const struct carrier *c)
{
    if (c->quic != NULL) {
        struct quic_stats stats;
        quic_conn_stats(c->quic, &stats);
        return stats.rtt_smoothed;
    }
    struct h2_stats stats;
    h2_conn_stats(c->h2, &stats);
    return stats.rtt;
}

static nsec longer(nsec a, nsec b)
{
    return a > b ? a : b;
}

static nsec patience_of(nsec round_trips)
{
    nsec most = round_trips < PATIENCE_NSEC_MAX ? round_trips : PATIENCE_NSEC_MAX;
    return longer(most, PATIENCE_NSEC);
}

static struct carrier_health quic_health(const struct carrier *c, nsec now)
{
    struct quic_stats s;
    quic_conn_stats(c->quic, &s);
    return (struct carrier_health){
        .is_owed = s.unacked_since > 0,
        .silent_for = s.unacked_since > 0 && now > s.unacked_since ? now - s.unacked_since : 0,
        .patience = s.is_refused ? 0 : patience_of(2 * s.pto),
        .give_up = s.is_refused ? REFUSED_NSEC : longer(6 * s.pto, GIVE_UP_NSEC),
        .written = s.bytes_sent,
    };
}

/* TCP tells nothing of the program behind it: a PING is what it must answer. It may stand behind
 * much else that was written before. */
static struct carrier_health h2_health(struct carrier *c, nsec now)
{
    struct h2_stats s;
    h2_conn_stats(c->h2, &s);
    if (s.said_at > 0 && now - s.said_at >= ASK_NSEC)
        h2_conn_ping(c->h2);
    return (struct carrier_health){
        .is_owed = s.said_at > 0,
        .silent_for = s.silent_since > 0 && now > s.silent_since ? now - s.silent_since : 0,
        .patience = patience_of(2 * s.rtt),
        .give_up = PONG_NSEC,
        .written = s.bytes_out,
    };
}

void carrier_probe(struct carrier *c)
{
    if (c->quic != NULL)
        quic_conn_ping(c->quic);
    else
        h2_conn_ping(c->h2);
}

struct carrier_health carrier_health(struct carrier *c, nsec now)
{
    return c->quic != NULL ? quic_health(c, now) : h2_health(c, now);
}
