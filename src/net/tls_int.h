#pragma once
/* What the files of TLS share. */
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "net/tls.h"
#include "net/tls_pin.h"

#define TLS_CHAIN_MAX 8

struct tls_cert {
    _Atomic unsigned refs;
    gnutls_pcert_st chain[TLS_CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
};

struct tls_creds {
    _Atomic unsigned refs;
    bool is_server, verifies, has_pin;
    uint8_t pin[TLS_PIN_BYTES];
    gnutls_certificate_credentials_t cert;
    gnutls_priority_t priority;
    gnutls_datum_t tickets; /* key of session tickets, a server's */
    gnutls_datum_t alpn[8]; /* copies */
    unsigned alpn_count;
    struct tls_cert *own; /* a server's, when nothing better is chosen */
    tls_choose *choose;   /* or NULL */
    void *choose_ctx;
};

/* tls.c: the certificate of a server's session, by what the client asks for. Borrowed from the
 * session. */
const struct tls_cert *tls_session_cert(gnutls_session_t session);

/* tls_fault.c: which of the checks that a verification status names is to be mended first. */
enum tls_fault tls_fault_of_status(unsigned status);
/* Writes why the peer's certificate was not accepted, with the names that it is for. */
enum tls_fault tls_explain_certificate(gnutls_session_t session, const char *name, char *text,
                                       size_t size);
