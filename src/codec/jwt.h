#pragma once
/* JSON Web Tokens in the compact form (RFC 7515 §7.1, RFC 7519), and the key sets that check them
 * (RFC 7517). Strict and bounded; reading proves nothing: a token means something once
 * jwks_check has said 0 and the caller has looked at issuer, times and audience. One thread. */
#include "base/fault.h"
#include "codec/json.h"
#include "crypto/sign.h"

#define JWT_BYTES_MAX     (16 * 1024) /* a field's value; those of Access have one or two KiB */
#define JWT_KEY_ID_MAX    256
#define JWKS_BYTES_MAX    (64 * 1024)
#define JWKS_KEYS_MAX     32 /* an issuer has two or three: each may be tried for one token */
#define JWT_AUDIENCES_MAX 64

struct jwt {
    enum sign_alg alg;
    struct slice key_id; /* kid; empty when there is none */
    struct slice issuer; /* iss; empty when there is none */
    bool has_expiry;
    int64_t expires, not_before, issued; /* seconds since 1970; 0 = not said */
    struct slice signed_text;            /* what the signature is of: a view of the token */
    struct slice signature;
    uint8_t *bytes; /* the decoded parts */
    json_t *header, *claims;
};

/* `text` must outlive *ret. Three parts of base64url without padding, objects without repeated
 * names; no `crit`, no `b64`; algorithms are those of crypto/sign.h. The fault says what is wrong.
 * ERR_PARSE, ERR_UNSUPPORTED, ERR_TOOLARGE, ERR_NOMEM. */
int jwt_parse(struct slice text, struct jwt *ret, struct fault *fault)
    __attribute__((warn_unused_result));
/* aud is that text, or a list with it. */
bool jwt_has_audience(const struct jwt *t, struct slice audience);
/* Safe on a zeroed one. */
void jwt_done(struct jwt *t);

struct jwks;

/* Keys of other kinds and uses than signatures by the algorithms that we check are passed over, as
 * are malformed ones; more than JWKS_KEYS_MAX are ERR_LIMIT. A set may be empty. */
int jwks_parse(struct slice text, struct jwks **ret, struct fault *fault)
    __attribute__((warn_unused_result));
size_t jwks_count(const struct jwks *k);
/* 0; ERR_AUTH: a key that the token names did not make its signature; ERR_NOTFOUND: no key in the
 * set is the one. Without a key id every key of the token's algorithm is tried. */
int jwks_check(const struct jwks *k, const struct jwt *t) __attribute__((warn_unused_result));
void jwks_free(struct jwks *k); /* NULL is accepted */
