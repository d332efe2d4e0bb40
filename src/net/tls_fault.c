/* Why a handshake failed: which check of a certificate, and what came instead of TLS. */
#include <arpa/inet.h>
#include <stdio.h>

#include "net/tls_int.h"

#define NAMES_SHOWN 3
#define NAME_SHOWN  64

/* The first that applies is what is to be mended first. */
static const struct {
    unsigned status;
    enum tls_fault fault;
} CHECKS[] = {
    { GNUTLS_CERT_REVOKED, TLS_FAULT_REVOKED },
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

/* A name of the certificate as text; false for kinds that a server is not asked for by. The name
 * comes from the peer: what does not belong into a line of text is not passed on. */
static bool name_text(int kind, const char *name, size_t n, char text[static NAME_SHOWN])
{
    if (kind == GNUTLS_SAN_IPADDRESS)
        return (n == 4 || n == 16) &&
               inet_ntop(n == 4 ? AF_INET : AF_INET6, name, text, NAME_SHOWN) != NULL;
    if (kind != GNUTLS_SAN_DNSNAME || n >= NAME_SHOWN)
        return false;
    for (size_t i = 0; i < n; i++)
        text[i] = name[i] > 0x20 && name[i] < 0x7f ? name[i] : '?';
    text[n] = 0;
    return true;
}

/* Appends "; it is for a.test, 192.0.2.1". */
static void add_names(gnutls_x509_crt_t crt, char *text, size_t size)
{
    unsigned shown = 0;
    for (unsigned i = 0; shown < NAMES_SHOWN; i++) {
        char name[NAME_SHOWN], printed[NAME_SHOWN];
        size_t n = sizeof name, at = strlen(text);
        int kind = gnutls_x509_crt_get_subject_alt_name(crt, i, name, &n, NULL);
        if (kind == GNUTLS_E_SHORT_MEMORY_BUFFER)
            continue;
        if (kind < 0)
            break;
        if (!name_text(kind, name, n, printed))
            continue;
        (void)snprintf(text + at, size - at, "%s%s", shown == 0 ? "; it is for " : ", ", printed);
        shown++;
    }
    if (shown == 0)
        (void)snprintf(text + strlen(text), size - strlen(text), "; it names no host");
}

/* The peer's own certificate; false when there is none that can be read. */
static bool peer_certificate(gnutls_session_t session, gnutls_x509_crt_t *ret)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t crt;
    if (count == 0 || gnutls_x509_crt_init(&crt) < 0)
        return false;
    if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) < 0) {
        gnutls_x509_crt_deinit(crt);
        return false;
    }
    *ret = crt;
    return true;
}

enum tls_fault tls_explain_certificate(gnutls_session_t session, const char *name, char *text,
                                       size_t size)
{
    gnutls_datum_t printed;
    gnutls_x509_crt_t crt;
    unsigned status = gnutls_session_get_verify_cert_status(session);
    enum tls_fault fault = tls_fault_of_status(status);
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &printed, 0) < 0)
        return fault;
    (void)snprintf(text, size, "certificate for %.60s: %s", name, (const char *)printed.data);
    gnutls_free(printed.data);
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '.'))
        text[--n] = 0;
    if (!peer_certificate(session, &crt))
        return fault;
    if ((status & GNUTLS_CERT_UNEXPECTED_OWNER) != 0)
        add_names(crt, text, size);
    if (fault == TLS_FAULT_ISSUER && gnutls_x509_crt_check_issuer(crt, crt) != 0)
        fault = TLS_FAULT_SELF;
    gnutls_x509_crt_deinit(crt);
    return fault;
}
