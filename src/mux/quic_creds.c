/* TLS 1.3 for QUIC: credentials, sessions, and whom to believe. */
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "mux/quic_int.h"
#include "net/tls_pin.h"

/* The reference offers X25519MLKEM768 and P-256, never plain X25519: P-256 must be here. A newer
 * GnuTLS also has the first. */
#define PRIORITY_BASE                                                                              \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:-"     \
    "GROUP-ALL:"
#define PRIORITY_PLAIN                                                                             \
    PRIORITY_BASE "+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%DISABLE_TLS13_COMPAT_MODE"
#define PRIORITY_HYBRID                                                                            \
    PRIORITY_BASE                                                                                  \
    "+GROUP-X25519-MLKEM768:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%DISABLE_TLS13_"       \
    "COMPAT_MODE"

static int creds_new(bool is_server, struct quic_creds **ret, struct fault *fault)
{
    struct quic_creds *c = calloc(1, sizeof *c);
    if (c == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    atomic_init(&c->refs, 1);
    c->is_server = is_server;
    int r = gnutls_certificate_allocate_credentials(&c->cert);
    if (r == 0)
        r = gnutls_priority_init(&c->priority, PRIORITY_HYBRID, NULL);
    if (r != 0 && c->cert != NULL)
        r = gnutls_priority_init(&c->priority, PRIORITY_PLAIN, NULL);
    if (r != 0) {
        quic_creds_unref(c);
        return fault_set(fault, ERR_TLS, "TLS could not be set up: %s", gnutls_strerror(r));
    }
    *ret = c;
    return 0;
}

struct quic_creds *quic_creds_ref(struct quic_creds *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void quic_creds_unref(struct quic_creds *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (c->priority != NULL)
        gnutls_priority_deinit(c->priority);
    if (c->cert != NULL)
        gnutls_certificate_free_credentials(c->cert);
    free(c);
}

static gnutls_datum_t datum(struct slice s)
{
    return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)s.p, .size = (unsigned)s.n };
}

int quic_creds_server(struct slice chain_pem, struct slice key_pem, struct quic_creds **ret,
                      struct fault *fault)
{
    struct quic_creds *c;
    int r = creds_new(true, &c, fault);
    if (r < 0)
        return r;
    gnutls_datum_t chain = datum(chain_pem), key = datum(key_pem);
    r = gnutls_certificate_set_x509_key_mem(c->cert, &chain, &key, GNUTLS_X509_FMT_PEM);
    if (r < 0) {
        quic_creds_unref(c);
        return fault_set(fault, ERR_CERT, "the edge's certificate cannot be used: %s",
                         gnutls_strerror(r));
    }
    *ret = c;
    return 0;
}

int quic_creds_client(struct slice ca_pem, struct quic_creds **ret, struct fault *fault)
{
    struct quic_creds *c;
    int r = creds_new(false, &c, fault);
    if (r < 0)
        return r;
    if (ca_pem.n > 0) {
        gnutls_datum_t ca = datum(ca_pem);
        r = gnutls_certificate_set_x509_trust_mem(c->cert, &ca, GNUTLS_X509_FMT_PEM);
    } else {
        r = gnutls_certificate_set_x509_system_trust(c->cert);
    }
    if (r <= 0) {
        quic_creds_unref(c);
        return fault_set(fault, ERR_CERT, "no CA certificate could be read: %s",
                         r < 0 ? gnutls_strerror(r) : "there is none in the file");
    }
    *ret = c;
    return 0;
}

int quic_creds_client_pin(const uint8_t pin[32], struct quic_creds **ret, struct fault *fault)
{
    struct quic_creds *c;
    int r = creds_new(false, &c, fault);
    if (r < 0)
        return r;
    c->has_pin = true;
    memcpy(c->pin, pin, sizeof c->pin);
    *ret = c;
    return 0;
}

/* ---- whom to believe ---- */

static int refuse(struct quic_conn *c, const char *text)
{
    c->why.err = ERR_CERT;
    (void)snprintf(c->why.text, sizeof c->why.text, "certificate for %.60s: %s", c->server_name,
                   text);
    return GNUTLS_E_CERTIFICATE_ERROR;
}

static int refuse_status(struct quic_conn *c, unsigned status)
{
    gnutls_datum_t text;
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0)
        return refuse(c, "not trusted");
    int r = refuse(c, (const char *)text.data);
    gnutls_free(text.data);
    return r;
}

static int on_verify(gnutls_session_t session)
{
    ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);
    struct quic_conn *c = ref->user_data;
    unsigned status = 0;
    if (c->creds->has_pin) {
        const char *text = tls_pin_check(session, c->server_name, c->creds->pin, &status);
        return text == NULL ? 0 : text[0] != 0 ? refuse(c, text) : refuse_status(c, status);
    }
    if (gnutls_certificate_verify_peers3(session, c->server_name, &status) < 0)
        return refuse(c, "it could not be verified");
    return status != 0 ? refuse_status(c, status) : 0;
}

/* ---- sessions ---- */

static int session_configure(struct quic_conn *c)
{
    gnutls_datum_t alpn = { .data = (unsigned char *)(uintptr_t)c->conf.alpn,
                            .size = (unsigned)strlen(c->conf.alpn) };
    int r = gnutls_priority_set(c->tls, c->creds->priority);
    if (r == 0)
        r = c->e->is_server ? ngtcp2_crypto_gnutls_configure_server_session(c->tls)
                            : ngtcp2_crypto_gnutls_configure_client_session(c->tls);
    if (r == 0)
        r = gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->creds->cert);
    if (r == 0)
        r = gnutls_alpn_set_protocols(c->tls, &alpn, 1, GNUTLS_ALPN_MANDATORY);
    if (r == 0 && !c->e->is_server)
        r = gnutls_server_name_set(c->tls, GNUTLS_NAME_DNS, c->server_name, strlen(c->server_name));
    return r;
}

int quic_tls_new(struct quic_conn *c)
{
    unsigned flags = c->e->is_server
                         ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET | GNUTLS_NO_END_OF_EARLY_DATA
                         : GNUTLS_CLIENT | GNUTLS_NO_END_OF_EARLY_DATA;
    if (gnutls_init(&c->tls, flags | GNUTLS_NO_TICKETS) < 0)
        return ERR_NOMEM;
    gnutls_session_set_ptr(c->tls, &c->ref);
    if (session_configure(c) != 0)
        return ERR_TLS;
    if (!c->e->is_server)
        gnutls_session_set_verify_function(c->tls, on_verify);
    ngtcp2_conn_set_tls_native_handle(c->ng, c->tls);
    return 0;
}
