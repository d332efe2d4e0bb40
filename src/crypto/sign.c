#include "crypto/sign.h"

#include <stdlib.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/err.h"

#define RSA_BITS_MIN      2048
#define RSA_BITS_MAX      8192
#define RSA_EXPONENT_MAX  8 /* bytes: everybody uses three */
#define COORDINATE_BYTES  32
#define SIGNATURE_ES_SIZE (2 * COORDINATE_BYTES)
#define SIGNATURE_ED_SIZE 64

struct public_key {
    gnutls_pubkey_t key;
    enum sign_alg alg; /* the only one that it is for */
};

static const struct {
    const char *name;
    gnutls_sign_algorithm_t id;
} ALGS[] = {
    [SIGN_RS256] = { "RS256", GNUTLS_SIGN_RSA_SHA256 },
    [SIGN_ES256] = { "ES256", GNUTLS_SIGN_ECDSA_SHA256 },
    [SIGN_EDDSA] = { "EdDSA", GNUTLS_SIGN_EDDSA_ED25519 },
};

int sign_alg_of(struct slice name, enum sign_alg *ret)
{
    for (size_t i = 0; i < sizeof ALGS / sizeof ALGS[0]; i++) {
        if (slice_eq(name, slice_str(ALGS[i].name))) {
            *ret = (enum sign_alg)i;
            return 0;
        }
    }
    return ERR_UNSUPPORTED;
}

static gnutls_datum_t datum(struct slice s)
{
    return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)s.p, .size = (unsigned)s.n };
}

static struct public_key *key_new(enum sign_alg alg)
{
    struct public_key *k = calloc(1, sizeof *k);
    if (k != NULL && gnutls_pubkey_init(&k->key) < 0) {
        free(k);
        k = NULL;
    }
    if (k != NULL)
        k->alg = alg;
    return k;
}

/* `e` is what GnuTLS said to the numbers. */
static int key_give(struct public_key *k, int e, struct public_key **ret)
{
    if (e < 0) {
        public_key_free(k);
        return e == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_INVALID;
    }
    *ret = k;
    return 0;
}

void public_key_free(struct public_key *k)
{
    if (k == NULL)
        return;
    gnutls_pubkey_deinit(k->key);
    free(k);
}

int public_key_rsa(struct slice n, struct slice e, struct public_key **ret)
{
    gnutls_datum_t modulus = datum(n), exponent = datum(e);
    unsigned bits = 0;
    if (n.n == 0 || n.n > RSA_BITS_MAX / 8 + 1 || e.n == 0 || e.n > RSA_EXPONENT_MAX)
        return ERR_INVALID;
    struct public_key *k = key_new(SIGN_RS256);
    if (k == NULL)
        return ERR_NOMEM;
    int r = gnutls_pubkey_import_rsa_raw(k->key, &modulus, &exponent);
    if (r >= 0)
        (void)gnutls_pubkey_get_pk_algorithm(k->key, &bits);
    if (r >= 0 && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX))
        r = GNUTLS_E_INVALID_REQUEST;
    return key_give(k, r, ret);
}

int public_key_p256(struct slice x, struct slice y, struct public_key **ret)
{
    gnutls_datum_t at_x = datum(x), at_y = datum(y);
    if (x.n != COORDINATE_BYTES || y.n != COORDINATE_BYTES)
        return ERR_INVALID;
    struct public_key *k = key_new(SIGN_ES256);
    if (k == NULL)
        return ERR_NOMEM;
    int r = gnutls_pubkey_import_ecc_raw(k->key, GNUTLS_ECC_CURVE_SECP256R1, &at_x, &at_y);
    if (r >= 0)
        r = gnutls_pubkey_verify_params(k->key);
    return key_give(k, r, ret);
}

int public_key_ed25519(struct slice x, struct public_key **ret)
{
    gnutls_datum_t at = datum(x);
    if (x.n != COORDINATE_BYTES)
        return ERR_INVALID;
    struct public_key *k = key_new(SIGN_EDDSA);
    if (k == NULL)
        return ERR_NOMEM;
    return key_give(k, gnutls_pubkey_import_ecc_raw(k->key, GNUTLS_ECC_CURVE_ED25519, &at, NULL),
                    ret);
}

/* r and s as the ASN.1 that GnuTLS wants. */
static int check_es256(const struct public_key *k, const gnutls_datum_t *data,
                       struct slice signature)
{
    gnutls_datum_t r = datum(slice_sub(signature, 0, COORDINATE_BYTES));
    gnutls_datum_t s = datum(slice_sub(signature, COORDINATE_BYTES, COORDINATE_BYTES));
    gnutls_datum_t der = { 0 };
    if (signature.n != SIGNATURE_ES_SIZE)
        return ERR_AUTH;
    if (gnutls_encode_rs_value(&der, &r, &s) < 0)
        return ERR_NOMEM;
    int e = gnutls_pubkey_verify_data2(k->key, GNUTLS_SIGN_ECDSA_SHA256, 0, data, &der);
    gnutls_free(der.data);
    return e < 0 ? ERR_AUTH : 0;
}

int public_key_check(const struct public_key *k, enum sign_alg alg, struct slice text,
                     struct slice signature)
{
    gnutls_datum_t data = datum(text), sig = datum(signature);
    if (alg != k->alg)
        return ERR_UNSUPPORTED;
    if (signature.n == 0 || (alg == SIGN_EDDSA && signature.n != SIGNATURE_ED_SIZE))
        return ERR_AUTH;
    if (alg == SIGN_ES256)
        return check_es256(k, &data, signature);
    return gnutls_pubkey_verify_data2(k->key, ALGS[alg].id, 0, &data, &sig) < 0 ? ERR_AUTH : 0;
}
