#pragma once
/* ngtcp2 0.12 (Debian 12) and 1.x under one set of names: the 1.x ones. For mux/quic*.c alone. */
#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#if NGTCP2_VERSION_NUM < 0x010000
#define QUIC_API_0      1
#define QUIC_API_CC_BBR NGTCP2_CC_ALGO_BBR2 /* NGTCP2_CC_ALGO_BBR is BBR's first draft there */
typedef ngtcp2_connection_close_error ngtcp2_ccerr;
typedef ngtcp2_crypto_level ngtcp2_encryption_level;
typedef ngtcp2_conn_stat ngtcp2_conn_info;
#define ngtcp2_ccerr_default               ngtcp2_connection_close_error_default
#define ngtcp2_ccerr_set_application_error ngtcp2_connection_close_error_set_application_error
#define ngtcp2_ccerr_set_liberr            ngtcp2_connection_close_error_set_transport_error_liberr
#define ngtcp2_ccerr_set_tls_alert         ngtcp2_connection_close_error_set_transport_error_tls_alert
#define NGTCP2_CCERR_TYPE_APPLICATION      NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION
#define ngtcp2_conn_get_conn_info          ngtcp2_conn_get_conn_stat
#define ngtcp2_conn_in_closing_period      ngtcp2_conn_is_in_closing_period
#define ngtcp2_conn_in_draining_period     ngtcp2_conn_is_in_draining_period

static inline void quic_api_ccerr(ngtcp2_conn *conn, ngtcp2_ccerr *ret)
{
    ngtcp2_conn_get_connection_close_error(conn, ret);
}

static inline void quic_api_token(ngtcp2_settings *s, const uint8_t *token, size_t n)
{
    s->token = (ngtcp2_vec){ .base = (uint8_t *)(uintptr_t)token, .len = n };
}

static inline size_t quic_api_header_token(const ngtcp2_pkt_hd *hd, const uint8_t **ret)
{
    *ret = hd->token.base;
    return hd->token.len;
}

static inline void quic_api_original_dcid(ngtcp2_transport_params *p, const ngtcp2_cid *cid)
{
    p->original_dcid = *cid;
}

static inline int quic_api_shutdown(ngtcp2_conn *conn, int64_t id)
{
    return ngtcp2_conn_shutdown_stream(conn, id, 0);
}

static inline int quic_api_shutdown_read(ngtcp2_conn *conn, int64_t id)
{
    return ngtcp2_conn_shutdown_stream_read(conn, id, 0);
}
#else
#define QUIC_API_CC_BBR NGTCP2_CC_ALGO_BBR
static inline void quic_api_ccerr(ngtcp2_conn *conn, ngtcp2_ccerr *ret)
{
    *ret = *ngtcp2_conn_get_ccerr(conn);
}

static inline void quic_api_token(ngtcp2_settings *s, const uint8_t *token, size_t n)
{
    s->token = token;
    s->tokenlen = n;
    s->token_type = NGTCP2_TOKEN_TYPE_RETRY;
}

static inline size_t quic_api_header_token(const ngtcp2_pkt_hd *hd, const uint8_t **ret)
{
    *ret = hd->token;
    return hd->tokenlen;
}

static inline void quic_api_original_dcid(ngtcp2_transport_params *p, const ngtcp2_cid *cid)
{
    p->original_dcid = *cid;
    p->original_dcid_present = 1;
}

static inline int quic_api_shutdown(ngtcp2_conn *conn, int64_t id)
{
    return ngtcp2_conn_shutdown_stream(conn, 0, id, 0);
}

static inline int quic_api_shutdown_read(ngtcp2_conn *conn, int64_t id)
{
    return ngtcp2_conn_shutdown_stream_read(conn, 0, id, 0);
}
#endif
