#pragma once
/* A pinned CA: a peer's chain is believed when it ends in a certificate whose key has a known hash,
 * and verifies with that as the only root. What a tunnel token carries. Any thread. */
#include <gnutls/gnutls.h>
#include <stdint.h>

#define TLS_PIN_BYTES 32 /* SHA-256 of SubjectPublicKeyInfo */

/* Looks at the peer's chain within its handshake. NULL when it is believed, for this host name;
 * else a static text, or "" when *ret_status (gnutls_certificate_status_t) says why. */
const char *tls_pin_check(gnutls_session_t session, const char *name,
                          const uint8_t pin[TLS_PIN_BYTES], unsigned *ret_status);
