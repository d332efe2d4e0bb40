#pragma once
/* TLS as a stream over a stream (GnuTLS). One session is used on one loop; credentials are counted
 * and immutable, and may be shared by all threads. */
#include "base/fault.h"
#include "net/stream.h"

struct tls_creds;

/* Any thread. */
struct tls_creds *tls_creds_ref(struct tls_creds *c);
void tls_creds_unref(struct tls_creds *c); /* NULL is accepted */

/* One certificate with its chain and key: counted, immutable. */
struct tls_cert;
int tls_cert_new(struct slice chain_pem, struct slice key_pem, struct tls_cert **ret,
                 struct fault *fault) __attribute__((warn_unused_result));
struct tls_cert *tls_cert_ref(struct tls_cert *c);
void tls_cert_unref(struct tls_cert *c); /* NULL is accepted */

/* Picks a server's certificate: `name` is the client's SNI in lower case, "" when it sent none.
 * Returns a reference of its own, or NULL for the credentials' certificate. Called on the session's
 * thread from within its handshake: it must be quick. */
typedef struct tls_cert *tls_choose(void *ctx, const char *name);

/* Server: PEM chain and key, shown to whoever `choose` has nothing for. `alpn`: NULL-terminated
 * list offered in order, or NULL. `choose` may be NULL; with it the credentials belong to ctx's
 * thread.
 */
struct tls_server_opts {
    struct slice chain_pem, key_pem;
    const char *const *alpn;
    tls_choose *choose;
    void *ctx;
};
int tls_creds_server(const struct tls_server_opts *opts, struct tls_creds **ret,
                     struct fault *fault) __attribute__((warn_unused_result));

struct tls_client_opts {
    struct slice ca_pem;            /* extra or only roots */
    bool system_roots;              /* also the system's store (loaded once for each creds) */
    bool verify;                    /* chain and name */
    const uint8_t *pin;             /* the roots are not asked but this (tls_pin.h); or NULL */
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

enum tls_fault {
    TLS_FAULT_NONE,
    TLS_FAULT_OTHER,   /* alerts, versions, ciphers: the text says which */
    TLS_FAULT_NOT_TLS, /* what came is not TLS */
    TLS_FAULT_NAME,    /* the certificate is for other names */
    TLS_FAULT_EXPIRED,
    TLS_FAULT_EARLY,  /* not valid yet */
    TLS_FAULT_ISSUER, /* unknown */
    TLS_FAULT_SELF,   /* it signed itself, and is not among the roots */
    TLS_FAULT_REVOKED,
    TLS_FAULT_WEAK,
    TLS_FAULT_CERT,   /* another check */
    TLS_FAULT_WANTED, /* the peer wants a certificate of ours */
};
/* The same for programs. Loop thread. */
enum tls_fault tls_fault_of(const struct stream *s);
