#include "crypto/seal.h"

#include <gnutls/crypto.h>

#include "base/err.h"
#include "crypto/random.h"

#define VERSION     1
#define NONCE_BYTES 12
#define TAG_BYTES   16

static int open_cipher(const uint8_t *key, gnutls_aead_cipher_hd_t *ret)
{
    gnutls_datum_t k = { .data = (unsigned char *)(uintptr_t)key, .size = SEAL_KEY_BYTES };
    return gnutls_aead_cipher_init(ret, GNUTLS_CIPHER_AES_256_GCM, &k) == 0 ? 0 : ERR_NOMEM;
}

int seal(const uint8_t key[static SEAL_KEY_BYTES], struct slice about, struct slice plain,
         uint8_t *out)
{
    gnutls_aead_cipher_hd_t cipher;
    size_t n = plain.n + TAG_BYTES;
    int r = open_cipher(key, &cipher);
    if (r < 0)
        return r;
    out[0] = VERSION;
    random_bytes(out + 1, NONCE_BYTES);
    if (gnutls_aead_cipher_encrypt(cipher, out + 1, NONCE_BYTES, about.p, about.n, TAG_BYTES,
                                   plain.p, plain.n, out + 1 + NONCE_BYTES, &n) != 0)
        r = ERR_NOMEM;
    gnutls_aead_cipher_deinit(cipher);
    return r;
}

int seal_open(const uint8_t key[static SEAL_KEY_BYTES], struct slice about, struct slice sealed,
              uint8_t *out)
{
    gnutls_aead_cipher_hd_t cipher;
    if (sealed.n < SEAL_OVERHEAD || sealed.p[0] != VERSION)
        return ERR_DENIED;
    size_t n = sealed.n - SEAL_OVERHEAD;
    int r = open_cipher(key, &cipher);
    if (r < 0)
        return r;
    if (gnutls_aead_cipher_decrypt(cipher, sealed.p + 1, NONCE_BYTES, about.p, about.n, TAG_BYTES,
                                   sealed.p + 1 + NONCE_BYTES, sealed.n - 1 - NONCE_BYTES, out,
                                   &n) != 0)
        r = ERR_DENIED;
    gnutls_aead_cipher_deinit(cipher);
    return r;
}
