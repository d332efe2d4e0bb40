/* What ngtcp2 tells us: every callback marks state, copies bytes, wakes a task, and returns. */
#include <stdlib.h>
#include <sys/random.h>

#include "base/err.h"
#include "mux/quic_int.h"

/* Credit for new streams is given back by this share of the whole: a frame of its own for each
 * stream that ended would be a datagram for each. */
#define STREAMS_GRANT_SHARE 8

static int on_stream_data(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t offset,
                          const uint8_t *data, size_t n, void *user, void *stream_user)
{
    struct quic_conn *c = user;
    struct quic_stream *s = stream_user;
    (void)id;
    (void)offset;
    /* The connection's credit follows arrival, the stream's follows the reader: one slow reader
     * must not stall the rest. quic_conn_read bounds what all of them leave unread. */
    ngtcp2_conn_extend_max_offset(ng, n);
    if (s == NULL || s->is_released || s->in_err < 0)
        return 0;
    if (n > 0 && quic_stream_take(s, slice_of(data, n)) < 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    if ((flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0)
        s->is_fin_received = true;
    task_wake(s->stream.owner);
    (void)c;
    return 0;
}

static int on_acked(ngtcp2_conn *ng, int64_t id, uint64_t offset, uint64_t n, void *user,
                    void *stream_user)
{
    struct quic_stream *s = stream_user;
    (void)ng;
    (void)id;
    (void)offset;
    (void)user;
    if (s == NULL)
        return 0;
    quic_stream_acked(s, n);
    return 0;
}

static int on_stream_open(ngtcp2_conn *ng, int64_t id, void *user)
{
    struct quic_conn *c = user;
    if (ngtcp2_is_bidi_stream(id) == 0)
        return 0;
    struct quic_stream *s = quic_stream_new(c, id);
    if (s == NULL)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    (void)ngtcp2_conn_set_stream_user_data(ng, id, s);
    list_push_back(&c->peers, &s->peer);
    task_wake(c->owner);
    return 0;
}

static int on_stream_close(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t code, void *user,
                           void *stream_user)
{
    struct quic_conn *c = user;
    struct quic_stream *s = stream_user;
    (void)code;
    if (ngtcp2_conn_is_local_stream(ng, id) == 0 && ngtcp2_is_bidi_stream(id) != 0 &&
        ++c->streams_to_grant >= c->conf.streams_bidi / STREAMS_GRANT_SHARE) {
        ngtcp2_conn_extend_max_streams_bidi(ng, c->streams_to_grant);
        c->streams_to_grant = 0;
    }
    if (s != NULL)
        quic_stream_closed(s, (flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) != 0);
    return 0;
}

static int on_stream_reset(ngtcp2_conn *ng, int64_t id, uint64_t size, uint64_t code, void *user,
                           void *stream_user)
{
    struct quic_stream *s = stream_user;
    (void)ng;
    (void)id;
    (void)size;
    (void)code;
    (void)user;
    if (s == NULL)
        return 0;
    if (s->in_err == 0 && !(s->is_fin_received && buf_is_empty(&s->in)))
        s->in_err = ERR_RESET;
    task_wake(s->stream.owner);
    return 0;
}

static int on_stream_credit(ngtcp2_conn *ng, int64_t id, uint64_t max, void *user,
                            void *stream_user)
{
    struct quic_conn *c = user;
    struct quic_stream *s = stream_user;
    (void)ng;
    (void)id;
    (void)max;
    if (s != NULL && quic_stream_has_output(s) && !list_has_neighbours(&s->sendable))
        list_push_back(&c->sendable, &s->sendable);
    task_wake(&c->send);
    return 0;
}

static int on_streams_credit(ngtcp2_conn *ng, uint64_t max, void *user)
{
    struct quic_conn *c = user;
    (void)ng;
    (void)max;
    if (c->wants_stream_credit)
        task_wake(c->owner);
    c->wants_stream_credit = false;
    return 0;
}

static int on_handshake_completed(ngtcp2_conn *ng, void *user)
{
    struct quic_conn *c = user;
    gnutls_datum_t alpn;
    (void)ng;
    if (gnutls_alpn_get_selected_protocol(c->tls, &alpn) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    if (!c->is_handshake_done)
        c->e->handshake_count--;
    c->is_handshake_done = true;
    c->state = QUIC_OPEN;
    quic_note_traffic(c);
    if (c->e->is_server) {
        list_push_back(&c->e->acceptable, &c->acceptable);
        task_wake(c->e->owner);
    } else {
        task_wake(c->owner);
    }
    return 0;
}

static void on_rand(uint8_t *dest, size_t n, const ngtcp2_rand_ctx *ctx)
{
    (void)ctx;
    if (getrandom(dest, n, 0) != (ssize_t)n)
        abort();
}

static int on_new_cid(ngtcp2_conn *ng, ngtcp2_cid *cid, uint8_t *token, size_t n, void *user)
{
    struct quic_conn *c = user;
    (void)ng;
    quic_cid_make(c->e, cid->data, n);
    cid->datalen = n;
    if (ngtcp2_crypto_generate_stateless_reset_token(token, c->e->opts.secret,
                                                     sizeof c->e->opts.secret, cid) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return quic_cid_add(c, cid->data, n) < 0 ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_remove_cid(ngtcp2_conn *ng, const ngtcp2_cid *cid, void *user)
{
    (void)ng;
    quic_cid_remove(user, cid->data, cid->datalen);
    return 0;
}

static int on_reset_token(ngtcp2_conn *ng, const ngtcp2_pkt_stateless_reset *reset, void *user)
{
    struct quic_conn *c = user;
    (void)ng;
    (void)reset;
    c->why = (struct quic_why){ .err = ERR_RESET,
                                .text = "the peer does not know the connection any more" };
    return 0;
}

static int on_datagram(ngtcp2_conn *ng, uint32_t flags, const uint8_t *data, size_t n, void *user)
{
    struct quic_conn *c = user;
    (void)ng;
    (void)flags;
    struct quic_datagram *d =
        c->datagrams_in_count < QUIC_DATAGRAMS_IN_MAX ? malloc(sizeof *d + n) : NULL;
    if (d == NULL)
        return 0;
    d->n = n;
    memcpy(d->data, data, n);
    list_push_back(&c->datagrams_in, &d->node);
    c->datagrams_in_count++;
    task_wake(c->owner);
    return 0;
}

void quic_callbacks(ngtcp2_callbacks *cb, bool is_server)
{
    *cb = (ngtcp2_callbacks){
        .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
        .handshake_completed = on_handshake_completed,
        .encrypt = ngtcp2_crypto_encrypt_cb,
        .decrypt = ngtcp2_crypto_decrypt_cb,
        .hp_mask = ngtcp2_crypto_hp_mask_cb,
        .recv_stream_data = on_stream_data,
        .acked_stream_data_offset = on_acked,
        .stream_open = on_stream_open,
        .stream_close = on_stream_close,
        .recv_stateless_reset = on_reset_token,
        .extend_max_local_streams_bidi = on_streams_credit,
        .rand = on_rand,
        .get_new_connection_id = on_new_cid,
        .remove_connection_id = on_remove_cid,
        .update_key = ngtcp2_crypto_update_key_cb,
        .stream_reset = on_stream_reset,
        .extend_max_stream_data = on_stream_credit,
        .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
        .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
        .recv_datagram = on_datagram,
        .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
        .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    };
    if (is_server) {
        cb->recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    } else {
        cb->client_initial = ngtcp2_crypto_client_initial_cb;
        cb->recv_retry = ngtcp2_crypto_recv_retry_cb;
    }
}
