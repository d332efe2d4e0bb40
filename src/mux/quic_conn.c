#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/log.h"
#include "mux/quic_int.h"

#define PEER_ACK_DELAY_NSEC (25 * NSEC_PER_MSEC) /* the default, which the reference keeps */
#define CLOSE_ANSWERS_MAX   16 /* packets after our close that are answered with it again */

void quic_path(ngtcp2_path *path, const struct addr *local, const struct addr *remote)
{
    *path = (ngtcp2_path){
        .local = { .addr = (ngtcp2_sockaddr *)(uintptr_t)&local->sa, .addrlen = local->size },
        .remote = { .addr = (ngtcp2_sockaddr *)(uintptr_t)&remote->sa, .addrlen = remote->size },
    };
}

/* ---- life ---- */

static ngtcp2_conn *conn_of_ref(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct quic_conn *)ref->user_data)->ng;
}

static void conf_defaults(struct quic_conf *conf)
{
    if (conf->idle == 0)
        conf->idle = QUIC_IDLE_MS * NSEC_PER_MSEC;
    if (conf->handshake == 0)
        conf->handshake = 5 * NSEC_PER_SEC;
    if (conf->stream_window == 0)
        conf->stream_window = QUIC_STREAM_WINDOW_BYTES;
    if (conf->stream_window_max == 0)
        conf->stream_window_max = QUIC_STREAM_WINDOW_BYTES_MAX;
    if (conf->conn_window == 0)
        conf->conn_window = QUIC_CONN_WINDOW_BYTES;
    if (conf->unread_max == 0)
        conf->unread_max = QUIC_UNREAD_BYTES_MAX;
    if (conf->conn_window_max == 0)
        conf->conn_window_max = QUIC_CONN_WINDOW_BYTES_MAX;
    if (conf->streams_bidi == 0)
        conf->streams_bidi = 1 << 20;
}

struct quic_conn *quic_conn_new(struct quic_endpoint *e, const struct quic_conf *conf,
                                struct task *owner)
{
    struct quic_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->e = e;
    c->conf = *conf;
    conf_defaults(&c->conf);
    c->creds = quic_creds_ref(conf->creds);
    c->owner = owner;
    c->ref = (ngtcp2_crypto_conn_ref){ .get_conn = conn_of_ref, .user_data = c };
    task_init_late(&c->send, e->loop, quic_send_run);
    struct list *lists[] = { &c->acceptable, &c->blocked_node, &c->cids,
                             &c->streams,    &c->sendable,     &c->peers,
                             &c->starved,    &c->datagrams_in, &c->datagrams_out };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    list_push_back(&e->conns, &c->node);
    e->conn_count++;
    e->handshake_count++;
    return c;
}

static void free_datagrams(struct list *l)
{
    for (struct list *node = list_pop(l); node != NULL; node = list_pop(l))
        free(container_of(node, struct quic_datagram, node));
}

static void end_streams(struct quic_conn *c, int why)
{
    list_each(it, &c->streams)
    {
        quic_stream_orphan(container_of(it, struct quic_stream, node), why);
    }
}

static void handshake_over(struct quic_conn *c)
{
    if (c->is_handshake_done)
        return;
    c->is_handshake_done = true;
    c->e->handshake_count--;
}

static void reap(struct reaper *r)
{
    struct quic_conn *c = container_of(r, struct quic_conn, reaper);
    if (c->ng != NULL)
        ngtcp2_conn_del(c->ng);
    if (c->tls != NULL)
        gnutls_deinit(c->tls);
    quic_creds_unref(c->creds);
    free(c->close_packet);
    free(c->blocked);
    free(c);
}

void quic_conn_destroy(struct quic_conn *c)
{
    struct quic_endpoint *e = c->e;
    end_streams(c, ERR_CLOSED);
    handshake_over(c);
    list_each(it, &c->cids)
    {
        struct quic_cid *cid = container_of(it, struct quic_cid, in_conn);
        quic_cid_remove(c, cid->bytes, cid->n);
    }
    free_datagrams(&c->datagrams_in);
    free_datagrams(&c->datagrams_out);
    deadline_clear(&c->expiry);
    task_done(&c->send);
    list_remove(&c->acceptable);
    list_remove(&c->blocked_node);
    list_remove(&c->node);
    e->conn_count--;
    bool is_client = c->owns_endpoint;
    loop_reap(e->loop, &c->reaper, reap);
    if (is_client)
        quic_endpoint_free(e);
}

/* ---- the end ---- */

void quic_conn_ended(struct quic_conn *c, const struct quic_why *why)
{
    if (c->state == QUIC_CLOSED)
        return;
    bool is_nobodys =
        !c->owns_endpoint && (c->state == QUIC_HANDSHAKE || list_has_neighbours(&c->acceptable));
    c->state = QUIC_CLOSED;
    c->why = *why;
    end_streams(c, why->err);
    handshake_over(c);
    list_remove(&c->acceptable);
    /* Late packets find the connection id for a while yet, and not a new connection (RFC 9000
     * §10.2). */
    log_debug("quic connection ended", LSTR("why", why->text), LERR(why->err),
              LBOOL("handshake", is_nobodys));
    nsec pto = ngtcp2_conn_get_pto(c->ng);
    deadline_set(&c->expiry, &c->send, loop_now_fresh(c->e->loop) + 3 * pto);
    task_wake(c->owner);
    if (is_nobodys)
        c->is_released = true;
}

static int err_of(int ng_error)
{
    switch (ng_error) {
    case NGTCP2_ERR_IDLE_CLOSE:
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        return ERR_TIMEOUT;
    case NGTCP2_ERR_CRYPTO:
        return ERR_TLS;
    case NGTCP2_ERR_NOMEM:
        return ERR_NOMEM;
    case NGTCP2_ERR_NO_VIABLE_PATH:
        return ERR_UNREACH;
    default:
        return ERR_PROTO;
    }
}

static void send_close(struct quic_conn *c, const ngtcp2_ccerr *ccerr)
{
    uint8_t packet[QUIC_PAYLOAD_BYTES];
    ngtcp2_path_storage ps;
    ngtcp2_pkt_info pi;
    if (ngtcp2_conn_in_closing_period(c->ng) != 0 || ngtcp2_conn_in_draining_period(c->ng) != 0)
        return;
    ngtcp2_path_storage_zero(&ps);
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(c->ng, &ps.path, &pi, packet, sizeof packet,
                                                        ccerr, loop_now_fresh(c->e->loop));
    if (n <= 0)
        return;
    struct addr to = { .size = ps.path.remote.addrlen }, from = { .size = ps.path.local.addrlen };
    memcpy(&to.sa, ps.path.remote.addr, to.size);
    memcpy(&from.sa, ps.path.local.addr, from.size);
    size_t sent;
    (void)udp_send(c->e->udp, c->e->is_server ? &from : NULL, &to, 0, slice_of(packet, (size_t)n),
                   (size_t)n, &sent);
    c->close_packet = malloc((size_t)n);
    if (c->close_packet != NULL)
        memcpy(c->close_packet, packet, (size_t)n);
    c->close_bytes = c->close_packet != NULL ? (size_t)n : 0;
    c->blocked_to = to;
    c->blocked_from = from;
}

static void why_of_peer(struct quic_conn *c, struct quic_why *why)
{
    ngtcp2_ccerr ccerr;
    quic_api_ccerr(c->ng, &ccerr);
    why->err = ERR_CLOSED;
    why->is_application = ccerr.type == NGTCP2_CCERR_TYPE_APPLICATION;
    why->code = ccerr.error_code;
    /* CRYPTO_ERROR 0x100-0x1ff carries a TLS alert (RFC 9001 §4.8). */
    if (!why->is_application && ccerr.error_code >= 0x100 && ccerr.error_code < 0x200) {
        why->err = ERR_TLS;
        (void)snprintf(
            why->text, sizeof why->text, "the peer refused the handshake: %s",
            gnutls_alert_get_name((gnutls_alert_description_t)(ccerr.error_code & 0xff)));
    } else if (ccerr.reasonlen > 0) {
        (void)snprintf(why->text, sizeof why->text, "%.*s", (int)ccerr.reasonlen,
                       (const char *)ccerr.reason);
    }
}

void quic_conn_fail(struct quic_conn *c, int ng_error)
{
    struct quic_why why = { 0 };
    if (c->state == QUIC_CLOSED)
        return;
    if (ng_error == NGTCP2_ERR_DRAINING && c->why.err == ERR_RESET) {
        why = c->why; /* a stateless reset: nobody closed it */
    } else if (ng_error == NGTCP2_ERR_DRAINING) {
        why_of_peer(c, &why);
    } else {
        why = c->why; /* a failed certificate check left its reason */
        if (why.err == 0)
            why.err = err_of(ng_error);
        if (why.text[0] == 0)
            (void)snprintf(why.text, sizeof why.text, "%s",
                           ng_error == NGTCP2_ERR_IDLE_CLOSE
                               ? "nothing came from the peer for too long"
                           : ng_error == NGTCP2_ERR_HANDSHAKE_TIMEOUT ? "the peer did not answer"
                                                                      : ngtcp2_strerror(ng_error));
        bool is_silent = ng_error == NGTCP2_ERR_IDLE_CLOSE ||
                         ng_error == NGTCP2_ERR_HANDSHAKE_TIMEOUT ||
                         ng_error == NGTCP2_ERR_DROP_CONN || ng_error == NGTCP2_ERR_NOMEM;
        if (!is_silent) {
            ngtcp2_ccerr ccerr;
            ngtcp2_ccerr_default(&ccerr);
            uint8_t alert = ngtcp2_conn_get_tls_alert(c->ng);
            if (alert != 0) /* CRYPTO_ERROR: the peer learns which check failed (RFC 9001 §4.8) */
                ngtcp2_ccerr_set_tls_alert(&ccerr, alert, NULL, 0);
            else
                ngtcp2_ccerr_set_liberr(&ccerr, ng_error, NULL, 0);
            send_close(c, &ccerr);
        }
    }
    quic_conn_ended(c, &why);
}

void quic_conn_close(struct quic_conn *c, uint64_t code, const char *reason)
{
    if (c->state == QUIC_CLOSED)
        return;
    ngtcp2_ccerr ccerr;
    ngtcp2_ccerr_default(&ccerr);
    ngtcp2_ccerr_set_application_error(&ccerr, code, (const uint8_t *)reason, strlen(reason));
    send_close(c, &ccerr);
    struct quic_why why = { .err = ERR_CLOSED, .is_application = true, .code = code };
    quic_conn_ended(c, &why);
}

void quic_conn_release(struct quic_conn *c)
{
    if (c == NULL)
        return;
    quic_conn_close(c, 0, "");
    c->owner = NULL;
    c->is_released = true;
    if (c->owns_endpoint || !deadline_is_set(&c->expiry))
        quic_conn_destroy(c);
}

/* ---- packets ---- */

void quic_conn_read(struct quic_conn *c, const struct udp_packet *p)
{
    c->bytes_received += p->data.n;
    if (c->state == QUIC_CLOSED) {
        size_t sent;
        bool answers = c->close_bytes > 0 && c->close_answers++ < CLOSE_ANSWERS_MAX;
        if (answers)
            (void)udp_send(c->e->udp, c->e->is_server ? &c->blocked_from : NULL, &c->blocked_to, 0,
                           slice_of(c->close_packet, c->close_bytes), c->close_bytes, &sent);
        return;
    }
    ngtcp2_path path;
    ngtcp2_pkt_info pi = { .ecn = p->ecn };
    quic_path(&path, c->e->is_server ? p->to : &c->e->local, p->from);
    int r = ngtcp2_conn_read_pkt(c->ng, &path, &pi, p->data.p, p->data.n, loop_now(c->e->loop));
    if (r != 0) {
        quic_conn_fail(c, r);
        return;
    }
    quic_note_heard(c);
    if (!list_is_empty(&c->starved) && ngtcp2_conn_get_max_data_left(c->ng) > 0)
        list_splice(&c->sendable, &c->starved);
    while (c->unread > c->conf.unread_max || c->e->unread > QUIC_UNREAD_ALL_BYTES_MAX)
        if (!quic_stream_reset_worst(c))
            break;
    quic_send_gather(c, 1);
}

/* ---- looking at it ---- */

enum quic_state quic_conn_state(const struct quic_conn *c)
{
    return c->state;
}

void quic_conn_why(const struct quic_conn *c, struct quic_why *ret)
{
    *ret = c->why;
}

void quic_conn_tell_left(struct quic_conn *c, size_t count)
{
    c->tells_left = true;
    c->left = count;
}

size_t quic_conn_streams(const struct quic_conn *c)
{
    return c->stream_count;
}

void quic_conn_set_owner(struct quic_conn *c, struct task *owner)
{
    c->owner = owner;
}

static void path_addrs(const struct quic_conn *c, struct addr *local, struct addr *remote)
{
    const ngtcp2_path *path = ngtcp2_conn_get_path(c->ng);
    *local = (struct addr){ .size = path->local.addrlen };
    *remote = (struct addr){ .size = path->remote.addrlen };
    memcpy(&local->sa, path->local.addr, local->size);
    memcpy(&remote->sa, path->remote.addr, remote->size);
}

void quic_conn_peer_addr(const struct quic_conn *c, struct addr *ret)
{
    struct addr local;
    path_addrs(c, &local, ret);
}

void quic_conn_local_addr(const struct quic_conn *c, struct addr *ret)
{
    struct addr remote;
    path_addrs(c, ret, &remote);
}

void quic_conn_stats(const struct quic_conn *c, struct quic_stats *ret)
{
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(c->ng, &info);
    *ret = (struct quic_stats){
        .rtt_smoothed = info.smoothed_rtt,
        .rtt_latest = info.latest_rtt,
        .rtt_min = info.min_rtt,
        .cwnd = info.cwnd,
        .bytes_in_flight = info.bytes_in_flight,
        .bytes_sent = c->bytes_sent,
        .bytes_received = c->bytes_received,
        .mtu = ngtcp2_conn_get_path_max_tx_udp_payload_size(c->ng),
        .streams = c->stream_count,
        .unacked_since = c->unacked_since,
        .is_refused = c->is_refused,
        .pto = info.smoothed_rtt +
               (4 * info.rttvar > NSEC_PER_MSEC ? 4 * info.rttvar : NSEC_PER_MSEC) +
               PEER_ACK_DELAY_NSEC,
    };
}
