#include "crypto/hash.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

void sha256(struct slice s, uint8_t out[static SHA256_BYTES])
{
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, s.p, s.n, out) != 0)
        abort();
}

void hmac_sha256(struct slice key, struct slice s, uint8_t out[static SHA256_BYTES])
{
    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, key.p, key.n, s.p, s.n, out) != 0)
        abort();
}
