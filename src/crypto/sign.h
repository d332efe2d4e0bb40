#pragma once
/* Signatures of others, checked with their public keys (GnuTLS). Only asymmetric algorithms exist
 * here: whoever can check a signature must not be able to make one. A key is immutable; one thread
 * for each. */
#include "base/slice.h"

enum sign_alg { SIGN_RS256, SIGN_ES256, SIGN_EDDSA };

/* The names of RFC 7518 §3.1 and RFC 8037. ERR_UNSUPPORTED for all others, "none" among them. */
int sign_alg_of(struct slice name, enum sign_alg *ret) __attribute__((warn_unused_result));

struct public_key;

/* RSA, 2048 to 8192 bits (a larger one would make checking dear), e of at most eight bytes. Numbers
 * are big-endian. ERR_INVALID, ERR_NOMEM. */
int public_key_rsa(struct slice n, struct slice e, struct public_key **ret)
    __attribute__((warn_unused_result));
/* A point of P-256, 32 bytes each; one that is not on the curve is refused. */
int public_key_p256(struct slice x, struct slice y, struct public_key **ret)
    __attribute__((warn_unused_result));
/* Ed25519, 32 bytes. */
int public_key_ed25519(struct slice x, struct public_key **ret) __attribute__((warn_unused_result));
void public_key_free(struct public_key *k); /* NULL is accepted */

/* 0; ERR_UNSUPPORTED when the algorithm is not the key's; ERR_AUTH when it is not its signature. An
 * ECDSA signature is r and s, 32 bytes each (RFC 7518 §3.4). */
int public_key_check(const struct public_key *k, enum sign_alg alg, struct slice text,
                     struct slice signature) __attribute__((warn_unused_result));
