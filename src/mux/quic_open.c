/* How connections begin: settings and transport parameters, an Initial packet that nobody knows,
 * and a dial. */
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "mux/quic_int.h"

#define RETRY_TOKEN_LIFE (10 * NSEC_PER_SEC)

static void settings_of(const struct quic_conn *c, const struct addr *remote, ngtcp2_settings *s,
                        ngtcp2_transport_params *p)
{
    ngtcp2_settings_default(s);
    s->initial_ts = loop_now_fresh(c->e->loop);
    /* Cubic takes every loss for a full queue: at 1 % of loss and 50 ms it carries a third of this,
     * at 5 % a fortieth. And ngtcp2 0.12 bounds its window by the least round trip ever seen, which
     * on a path as fast as its scheduler (loopback) is that of two idle processes. */
    s->cc_algo = QUIC_API_CC_BBR;
    s->handshake_timeout = c->conf.handshake;
    s->max_window = c->conf.conn_window_max;
    s->max_stream_window = c->conf.stream_window_max;
    s->ack_thresh = addr_is_loopback(remote) ? 8 : 10;
    s->initial_rtt = 50 * NSEC_PER_MSEC;
    s->max_tx_udp_payload_size = QUIC_PAYLOAD_BYTES;
    s->no_pmtud = !c->conf.pmtud;
    if (addr_is_loopback(remote)) {
        s->max_tx_udp_payload_size = QUIC_PAYLOAD_LOOPBACK_BYTES;
        s->no_tx_udp_payload_size_shaping = 1;
        s->no_pmtud = 1;
    }
    ngtcp2_transport_params_default(p);
    p->initial_max_stream_data_bidi_local = c->conf.stream_window;
    p->initial_max_stream_data_bidi_remote = c->conf.stream_window;
    p->initial_max_data = c->conf.conn_window;
    p->initial_max_streams_bidi = c->conf.streams_bidi;
    p->initial_max_streams_uni = 0;
    p->max_idle_timeout = c->conf.idle;
    p->max_udp_payload_size = 65527;
    p->active_connection_id_limit = 4;
    p->max_datagram_frame_size = c->conf.datagrams ? 16383 : 0;
}

/* ---- accepting ---- */

static void send_packet(struct quic_endpoint *e, const struct udp_packet *p, const uint8_t *data,
                        ngtcp2_ssize n)
{
    size_t sent;
    if (n > 0)
        (void)udp_send(e->udp, p->to, p->from, 0, slice_of(data, (size_t)n), (size_t)n, &sent);
}

/* Demands that the client shows that it gets what is sent to its address (RFC 9000 §8.1). */
static void send_retry(struct quic_endpoint *e, const struct udp_packet *p, const ngtcp2_pkt_hd *hd)
{
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN], packet[QUIC_PAYLOAD_BYTES];
    ngtcp2_cid scid = { .datalen = QUIC_CID_BYTES };
    quic_cid_make(e, scid.data, scid.datalen);
    ngtcp2_ssize n = ngtcp2_crypto_generate_retry_token(
        token, e->opts.secret, sizeof e->opts.secret, hd->version,
        (const ngtcp2_sockaddr *)&p->from->sa, p->from->size, &scid, &hd->dcid,
        loop_now_fresh(e->loop));
    if (n < 0)
        return;
    n = ngtcp2_crypto_write_retry(packet, sizeof packet, hd->version, &hd->scid, &scid, &hd->dcid,
                                  token, (size_t)n);
    send_packet(e, p, packet, n);
}

/* 0 with the original id when the token of a Retry is good; ERR_AGAIN without one; ERR_DENIED. */
static int check_token(struct quic_endpoint *e, const struct udp_packet *p, const ngtcp2_pkt_hd *hd,
                       ngtcp2_cid *ret)
{
    const uint8_t *token;
    size_t n = quic_api_header_token(hd, &token);
    if (n == 0 || token[0] != NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY)
        return ERR_AGAIN;
    return ngtcp2_crypto_verify_retry_token(ret, token, n, e->opts.secret, sizeof e->opts.secret,
                                            hd->version, (const ngtcp2_sockaddr *)&p->from->sa,
                                            p->from->size, &hd->dcid, RETRY_TOKEN_LIFE,
                                            loop_now_fresh(e->loop)) == 0
               ? 0
               : ERR_DENIED;
}

static int server_start(struct quic_conn *c, const struct udp_packet *p, const ngtcp2_pkt_hd *hd,
                        const ngtcp2_cid *original)
{
    ngtcp2_callbacks cb;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_cid scid = { .datalen = QUIC_CID_BYTES };
    ngtcp2_path path;
    const uint8_t *token;
    quic_callbacks(&cb, true);
    settings_of(c, p->from, &settings, &params);
    quic_api_original_dcid(&params, original != NULL ? original : &hd->dcid);
    if (original != NULL) {
        size_t n = quic_api_header_token(hd, &token);
        quic_api_token(&settings, token, n);
        params.retry_scid = hd->dcid;
        params.retry_scid_present = 1;
    }
    quic_cid_make(c->e, scid.data, scid.datalen);
    params.stateless_reset_token_present = 1;
    if (ngtcp2_crypto_generate_stateless_reset_token(
            params.stateless_reset_token, c->e->opts.secret, sizeof c->e->opts.secret, &scid) != 0)
        return ERR_NOMEM;
    quic_path(&path, p->to, p->from);
    if (ngtcp2_conn_server_new(&c->ng, &hd->scid, &scid, &path, hd->version, &cb, &settings,
                               &params, NULL, c) != 0)
        return ERR_NOMEM;
    int r = quic_tls_new(c);
    if (r == 0)
        r = quic_cid_add(c, scid.data, scid.datalen);
    if (r == 0)
        r = quic_cid_add(c, hd->dcid.data, hd->dcid.datalen);
    return r;
}

int quic_conn_accept_new(struct quic_endpoint *e, const struct udp_packet *p)
{
    ngtcp2_pkt_hd hd;
    ngtcp2_cid original;
    if (ngtcp2_accept(&hd, p->data.p, p->data.n) != 0) {
        log_debug("quic: no first packet", LU64("bytes", p->data.n));
        return ERR_PROTO;
    }
    int token = check_token(e, p, &hd, &original);
    size_t conns_max = e->opts.conns_max > 0 ? e->opts.conns_max : QUIC_CONNS_MAX;
    if (e->conn_count >= conns_max || e->is_stopped)
        return ERR_LIMIT;
    if (token == ERR_DENIED)
        return ERR_DENIED;
    if (token == ERR_AGAIN && e->handshake_count >= QUIC_HANDSHAKES_MAX) {
        send_retry(e, p, &hd);
        return ERR_AGAIN;
    }
    struct quic_conn *c = quic_conn_new(e, &e->opts.conf, NULL);
    if (c == NULL)
        return ERR_NOMEM;
    int r = server_start(c, p, &hd, token == 0 ? &original : NULL);
    if (r < 0) {
        quic_conn_destroy(c);
        return r;
    }
    ngtcp2_path path;
    ngtcp2_pkt_info pi = { .ecn = p->ecn };
    quic_path(&path, p->to, p->from);
    r = ngtcp2_conn_read_pkt(c->ng, &path, &pi, p->data.p, p->data.n, loop_now_fresh(e->loop));
    log_debug("quic: first packet", LI64("result", r), LU64("bytes", p->data.n));
    if (r == NGTCP2_ERR_RETRY) {
        /* The second part of a ClientHello came first: without the beginning nothing can be kept.
         */
        send_retry(e, p, &hd);
        quic_conn_destroy(c);
        return ERR_AGAIN;
    }
    if (r == NGTCP2_ERR_DROP_CONN) {
        /* Noise that looks like a first packet: it must cost no memory beyond this moment. */
        quic_conn_destroy(c);
        return ERR_PROTO;
    }
    if (r != 0)
        quic_conn_fail(c, r);
    else
        task_wake(&c->send);
    return 0;
}

/* ---- dialling ---- */

int quic_dial(struct loop *loop, const struct quic_conf *conf, const struct addr *to,
              const struct addr *bind, const char *server_name, struct task *owner,
              struct quic_conn **ret)
{
    struct addr any;
    struct quic_endpoint *e;
    if (bind == NULL || bind->sa.ss_family != to->sa.ss_family) {
        (void)addr_parse(to->sa.ss_family == AF_INET ? SLICE("0.0.0.0:0") : SLICE("[::]:0"), &any);
        bind = &any;
    }
    const struct udp_opts udp = { .fd = -1 };
    int r = quic_endpoint_new(loop, bind, &udp, &e);
    if (r < 0)
        return r;
    struct quic_conn *c = quic_conn_new(e, conf, owner);
    if (c == NULL) {
        quic_endpoint_free(e);
        return ERR_NOMEM;
    }
    c->owns_endpoint = true;
    (void)snprintf(c->server_name, sizeof c->server_name, "%s", server_name);
    ngtcp2_callbacks cb;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_cid scid = { .datalen = QUIC_CID_BYTES }, dcid = { .datalen = QUIC_CID_BYTES + 2 };
    ngtcp2_path path;
    quic_callbacks(&cb, false);
    settings_of(c, to, &settings, &params);
    quic_cid_make(e, scid.data, scid.datalen);
    quic_cid_make(e, dcid.data, dcid.datalen);
    quic_path(&path, &e->local, to);
    if (ngtcp2_conn_client_new(&c->ng, &dcid, &scid, &path, NGTCP2_PROTO_VER_V1, &cb, &settings,
                               &params, NULL, c) != 0)
        r = ERR_NOMEM;
    if (r == 0)
        r = quic_tls_new(c);
    if (r == 0)
        r = quic_cid_add(c, scid.data, scid.datalen);
    if (r < 0) {
        quic_conn_destroy(c);
        return r;
    }
    task_wake(&c->send);
    *ret = c;
    return 0;
}
