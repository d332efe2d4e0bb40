#include "crypto/sha1.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/err.h"

int sha1(struct slice message, uint8_t out[static SHA1_BYTES])
{
    if (gnutls_hash_fast(GNUTLS_DIG_SHA1, message.p, message.n, out) < 0)
        return ERR_UNSUPPORTED;
    return 0;
}
