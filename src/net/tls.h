#pragma once
/* TLS as a stream over a stream (GnuTLS). One session is used on one loop; credentials are counted
 * and immutable, and may be shared by all threads. */
#include "base/fault.h"
#include "net/stream.h"

struct tls_creds;

/* Any thread. */
struct tls_creds *tls_creds_ref(struct tls_creds *c);
void tls_creds_unref(struct tls_creds *c); /* NULL is accepted */

/* Server: PEM chain and key; further pairs are chosen by the names in the certificate and the
 * client's SNI, first one without a match. `alpn`: NULL-terminated list offered in order, or NULL.
 */
struct tls_server_pair {
    struct slice chain_pem, key_pem;
};
int tls_creds_server(const struct tls_server_pair *pairs, size_t count, const char *const *alpn,
                     struct tls_creds **ret, struct fault *fault)
    __attribute__((warn_unused_result));

struct tls_client_opts {
    struct slice ca_pem;            /* extra or only roots */
    bool system_roots;              /* also the system's store (loaded once for each creds) */
    bool verify;                    /* chain and name */
    const char *const *alpn;        /* NULL-terminated, or NULL */
    struct slice cert_pem, key_pem; /* client certificate, or empty */
};
int tls_creds_client(const struct tls_client_opts *opts, struct tls_creds **ret,
                     struct fault *fault) __attribute__((warn_unused_result));

/* Wraps `under`, taking it over on success. The handshake runs by itself; until it is over reads
 * and writes give ERR_AGAIN. Failures: ERR_CERT with tls_failure() telling which check, ERR_TLS, or
 * what the stream below said. An end of the stream below without close_notify is ERR_CUT (RFC 8446
 * §6.1), never ERR_EOF. */
int tls_accept(struct loop *loop, struct tls_creds *creds, struct stream *under, struct task *owner,
               struct stream **ret) __attribute__((warn_unused_result));
/* `name`: SNI and the name that is verified (an IP literal is verified as such and sends no SNI).
 */
int tls_connect(struct loop *loop, struct tls_creds *creds, struct slice name, struct stream *under,
                struct task *owner, struct stream **ret) __attribute__((warn_unused_result));

bool tls_is_ready(const struct stream *s);
/* Chosen ALPN, "" when none. Valid until release. */
const char *tls_alpn(const struct stream *s);
/* Client's SNI at a server, "" when none. */
const char *tls_sni(const struct stream *s);
/* Why the handshake failed, for a human; "" when it did not. Valid until release. */
const char *tls_failure(const struct stream *s);
