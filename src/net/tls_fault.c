/* Why a handshake failed: which check of a certificate, and what came instead of TLS. */
#include <stdio.h>

#include "net/tls_int.h"

#define NAMES_SHOWN 3
#define NAME_SHOWN  64

/* The first that applies is what is to be mended first. */
static const struct {
    unsigned status;
    enum tls_fault fault;
} CHECKS[] = {
    { GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA, TLS_FAULT_ISSUER },
    { GNUTLS_CERT_EXPIRED, TLS_FAULT_EXPIRED },
    { GNUTLS_CERT_NOT_ACTIVATED, TLS_FAULT_EARLY },
    { GNUTLS_CERT_UNEXPECTED_OWNER, TLS_FAULT_NAME },
    { GNUTLS_CERT_INSECURE_ALGORITHM, TLS_FAULT_WEAK },
};

enum tls_fault tls_fault_of_status(unsigned status)
{
    for (size_t i = 0; i < sizeof CHECKS / sizeof CHECKS[0]; i++)
        if ((status & CHECKS[i].status) != 0)
            return CHECKS[i].fault;
    return TLS_FAULT_CERT;
}

/* Appends "; it is for a.test, b.test". */
static void add_names(gnutls_session_t session, char *text, size_t size)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t crt;
    if (count == 0 || gnutls_x509_crt_init(&crt) < 0)
        return;
    unsigned shown = 0;
    if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) == 0)
        for (unsigned i = 0; shown < NAMES_SHOWN; i++) {
            char name[NAME_SHOWN];
            size_t n = sizeof name, at = strlen(text);
            int kind = gnutls_x509_crt_get_subject_alt_name(crt, i, name, &n, NULL);
            if (kind < 0)
                break;
            if (kind != GNUTLS_SAN_DNSNAME)
                continue;
            (void)snprintf(text + at, size - at, "%s%s", shown == 0 ? "; it is for " : ", ", name);
            shown++;
        }
    gnutls_x509_crt_deinit(crt);
}

enum tls_fault tls_explain_certificate(gnutls_session_t session, const char *name, char *text,
                                       size_t size)
{
    gnutls_datum_t printed;
    unsigned status = gnutls_session_get_verify_cert_status(session);
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &printed, 0) < 0)
        return tls_fault_of_status(status);
    (void)snprintf(text, size, "certificate for %.60s: %s", name, (const char *)printed.data);
    gnutls_free(printed.data);
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '.'))
        text[--n] = 0;
    if ((status & GNUTLS_CERT_UNEXPECTED_OWNER) != 0)
        add_names(session, text, size);
    return tls_fault_of_status(status);
}
