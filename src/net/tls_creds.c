#include <stdlib.h>

#include "base/err.h"
#include "net/tls_int.h"

#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

struct tls_creds *tls_creds_ref(struct tls_creds *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_creds_unref(struct tls_creds *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < c->alpn_count; i++)
        free(c->alpn[i].data);
    if (c->tickets.data != NULL)
        gnutls_memset(c->tickets.data, 0, c->tickets.size);
    gnutls_free(c->tickets.data);
    tls_cert_unref(c->own);
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

static int creds_new(bool is_server, const char *const *alpn, struct tls_creds **ret,
                     struct fault *fault)
{
    struct tls_creds *c = calloc(1, sizeof *c);
    if (c == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    atomic_init(&c->refs, 1);
    c->is_server = is_server;
    int r = gnutls_certificate_allocate_credentials(&c->cert);
    if (r == 0)
        r = gnutls_priority_init(&c->priority, PRIORITY, NULL);
    if (r == 0 && is_server)
        r = gnutls_session_ticket_key_generate(&c->tickets);
    for (; r == 0 && alpn != NULL && alpn[c->alpn_count] != NULL && c->alpn_count < 8;
         c->alpn_count++) {
        struct slice name = slice_str(alpn[c->alpn_count]);
        c->alpn[c->alpn_count] =
            (gnutls_datum_t){ .data = (unsigned char *)slice_dup(name), .size = (unsigned)name.n };
    }
    if (r != 0) {
        tls_creds_unref(c);
        return fault_set(fault, ERR_TLS, "TLS could not be set up: %s", gnutls_strerror(r));
    }
    *ret = c;
    return 0;
}

/* ---- certificates ---- */

struct tls_cert *tls_cert_ref(struct tls_cert *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_cert_unref(struct tls_cert *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < c->count; i++)
        gnutls_pcert_deinit(&c->chain[i]);
    if (c->key != NULL)
        gnutls_privkey_deinit(c->key);
    free(c);
}

int tls_cert_new(struct slice chain_pem, struct slice key_pem, struct tls_cert **ret,
                 struct fault *fault)
{
    gnutls_datum_t chain = datum(chain_pem), key = datum(key_pem);
    struct tls_cert *c = calloc(1, sizeof *c);
    if (c == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    atomic_init(&c->refs, 1);
    unsigned count = TLS_CHAIN_MAX;
    int r = gnutls_pcert_list_import_x509_raw(c->chain, &count, &chain, GNUTLS_X509_FMT_PEM, 0);
    if (r >= 0) {
        c->count = count;
        r = gnutls_privkey_init(&c->key);
    }
    if (r >= 0)
        r = gnutls_privkey_import_x509_raw(c->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (r < 0) {
        tls_cert_unref(c);
        return fault_set(fault, ERR_CERT, "a server's certificate cannot be used: %s",
                         gnutls_strerror(r));
    }
    *ret = c;
    return 0;
}

/* ---- servers ---- */

/* What GnuTLS asks in the middle of a handshake. The session keeps the certificate alive. */
static int on_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                       gnutls_pcert_st **certs, unsigned *count, gnutls_ocsp_data_st **ocsp,
                       unsigned *ocsp_count, gnutls_privkey_t *key, unsigned *flags)
{
    const struct tls_cert *c = tls_session_cert(session);
    (void)info;
    *certs = (gnutls_pcert_st *)(uintptr_t)c->chain;
    *count = c->count;
    *ocsp = NULL;
    *ocsp_count = 0;
    *key = c->key;
    *flags = 0;
    return 0;
}

int tls_creds_server(const struct tls_server_opts *opts, struct tls_creds **ret,
                     struct fault *fault)
{
    struct tls_creds *c;
    int r = creds_new(true, opts->alpn, &c, fault);
    if (r < 0)
        return r;
    r = tls_cert_new(opts->chain_pem, opts->key_pem, &c->own, fault);
    if (r < 0) {
        tls_creds_unref(c);
        return r;
    }
    c->choose = opts->choose;
    c->choose_ctx = opts->ctx;
    gnutls_certificate_set_retrieve_function3(c->cert, on_retrieve);
    *ret = c;
    return 0;
}

/* ---- clients ---- */

int tls_creds_client(const struct tls_client_opts *opts, struct tls_creds **ret,
                     struct fault *fault)
{
    struct tls_creds *c;
    int r = creds_new(false, opts->alpn, &c, fault);
    if (r < 0)
        return r;
    c->verifies = opts->verify;
    c->has_pin = opts->pin != NULL;
    if (c->has_pin)
        memcpy(c->pin, opts->pin, sizeof c->pin);
    const char *what = "the certificates";
    int e = 0;
    if (opts->ca_pem.n > 0) {
        gnutls_datum_t ca = datum(opts->ca_pem);
        e = gnutls_certificate_set_x509_trust_mem(c->cert, &ca, GNUTLS_X509_FMT_PEM);
        if (e == 0)
            e = GNUTLS_E_NO_CERTIFICATE_FOUND;
    }
    if (e >= 0 && opts->system_roots && opts->verify)
        (void)gnutls_certificate_set_x509_system_trust(c->cert);
    if (e >= 0 && opts->cert_pem.n > 0) {
        gnutls_datum_t cert = datum(opts->cert_pem), key = datum(opts->key_pem);
        e = gnutls_certificate_set_x509_key_mem(c->cert, &cert, &key, GNUTLS_X509_FMT_PEM);
        what = "the client certificate and its key";
    }
    if (e < 0) {
        tls_creds_unref(c);
        return fault_set(fault, ERR_CERT, "%s cannot be used: %s", what, gnutls_strerror(e));
    }
    *ret = c;
    return 0;
}
