#include <stdlib.h>

#include "base/err.h"
#include "base/text.h"
#include "codec/jwt.h"

#define NUMBER_BYTES_MAX 1100 /* a modulus of 8192 bits, and a zero before it */

struct jwks_key {
    char id[JWT_KEY_ID_MAX + 1];
    size_t id_bytes;
    enum sign_alg alg;
    struct public_key *key;
};

struct jwks {
    size_t count;
    struct jwks_key keys[JWKS_KEYS_MAX];
};

/* A number in base64url. `bytes` is the caller's, of NUMBER_BYTES_MAX. */
static int take_number(const json_t *key, const char *name, uint8_t *bytes, struct slice *ret)
{
    struct slice text = json_member_slice(key, name);
    size_t n;
    if (text.n == 0 || text.n / 4 * 3 + 3 > NUMBER_BYTES_MAX ||
        base64_decode(text, BASE64_URL, false, false, bytes, &n) < 0)
        return ERR_INVALID;
    *ret = slice_of(bytes, n);
    return 0;
}

static int make_key(const json_t *key, struct jwks_key *k)
{
    uint8_t first[NUMBER_BYTES_MAX], second[NUMBER_BYTES_MAX];
    struct slice type = json_member_slice(key, "kty"), curve = json_member_slice(key, "crv"), a, b;
    if (slice_eq(type, SLICE("RSA"))) {
        k->alg = SIGN_RS256;
        if (take_number(key, "n", first, &a) < 0 || take_number(key, "e", second, &b) < 0)
            return ERR_INVALID;
        return public_key_rsa(a, b, &k->key);
    }
    if (slice_eq(type, SLICE("EC")) && slice_eq(curve, SLICE("P-256"))) {
        k->alg = SIGN_ES256;
        if (take_number(key, "x", first, &a) < 0 || take_number(key, "y", second, &b) < 0)
            return ERR_INVALID;
        return public_key_p256(a, b, &k->key);
    }
    if (slice_eq(type, SLICE("OKP")) && slice_eq(curve, SLICE("Ed25519"))) {
        k->alg = SIGN_EDDSA;
        return take_number(key, "x", first, &a) < 0 ? ERR_INVALID : public_key_ed25519(a, &k->key);
    }
    return ERR_UNSUPPORTED;
}

/* Keys for another use, or another algorithm than the one that their kind has here, say so. */
static bool is_for_us(const json_t *key, enum sign_alg alg)
{
    const json_t *use = json_object_get(key, "use"), *named = json_object_get(key, "alg");
    enum sign_alg other;
    if (use != NULL && !slice_eq(json_member_slice(key, "use"), SLICE("sig")))
        return false;
    return named == NULL ||
           (sign_alg_of(json_member_slice(key, "alg"), &other) == 0 && other == alg);
}

static int take_key(struct jwks *set, const json_t *key)
{
    struct jwks_key k = { 0 };
    struct slice id = json_member_slice(key, "kid");
    if (!json_is_object(key) || id.n > JWT_KEY_ID_MAX)
        return 0;
    int r = make_key(key, &k);
    if (r < 0)
        return r == ERR_NOMEM ? r : 0;
    if (!is_for_us(key, k.alg)) {
        public_key_free(k.key);
        return 0;
    }
    k.id_bytes = id.n;
    if (id.n > 0)
        memcpy(k.id, id.p, id.n);
    set->keys[set->count++] = k;
    return 0;
}

static int take_keys(struct jwks *set, const json_t *root, struct fault *f)
{
    const json_t *keys = json_object_get(root, "keys");
    if (!json_is_array(keys))
        return fault_set(f, ERR_PARSE, "the key set has no list of keys");
    if (json_array_size(keys) > JWKS_KEYS_MAX)
        return fault_set(f, ERR_LIMIT, "the key set has too many keys");
    int r = 0;
    for (size_t i = 0; i < json_array_size(keys) && r == 0; i++)
        r = take_key(set, json_array_get(keys, i));
    return r < 0 ? fault_set(f, r, "out of memory") : 0;
}

int jwks_parse(struct slice text, struct jwks **ret, struct fault *fault)
{
    json_t *root;
    if (text.n > JWKS_BYTES_MAX)
        return fault_set(fault, ERR_TOOLARGE, "the key set is too large");
    int r = json_parse(text, &root, fault);
    if (r < 0)
        return r;
    struct jwks *set = calloc(1, sizeof *set);
    r = set != NULL ? take_keys(set, root, fault) : fault_set(fault, ERR_NOMEM, "out of memory");
    json_decref(root);
    if (r < 0) {
        jwks_free(set);
        return r;
    }
    *ret = set;
    return 0;
}

size_t jwks_count(const struct jwks *k)
{
    return k->count;
}

int jwks_check(const struct jwks *set, const struct jwt *t)
{
    int r = ERR_NOTFOUND;
    for (size_t i = 0; i < set->count; i++) {
        const struct jwks_key *k = &set->keys[i];
        if (t->key_id.n > 0 && !slice_eq(t->key_id, slice_of(k->id, k->id_bytes)))
            continue;
        if (t->key_id.n == 0 && k->alg != t->alg)
            continue;
        if (public_key_check(k->key, t->alg, t->signed_text, t->signature) == 0)
            return 0;
        /* Which one it was is not known without a key id: a newer one may be. */
        if (t->key_id.n > 0)
            r = ERR_AUTH;
    }
    return r;
}

void jwks_free(struct jwks *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++)
        public_key_free(set->keys[i].key);
    free(set);
}
