#pragma once
/* The certificates that one worker shows to visitors: one for each hostname that somebody asked
 * for, issued when it is first asked for and signed by the edge's CA, because clients take no
 * wildcard directly below a top-level domain such as localhost. At most VISITOR_CERTS_MAX are kept;
 * the one that was asked for longest ago goes first. Loop thread. */
#include "crypto/x509.h"
#include "net/tls.h"

struct certs;

/* `ca` is borrowed. NULL when memory is short. */
struct certs *certs_new(const struct x509_pair *ca);
void certs_free(struct certs *c); /* NULL is accepted */
/* The certificate for exactly this hostname (lower case), a reference of its own; NULL when the
 * name is none or it cannot be issued. Takes the time of one key and two signatures when it is new.
 */
struct tls_cert *certs_get(struct certs *c, const char *hostname);
