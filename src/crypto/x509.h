#pragma once
/* The edge's own CA and what it issues. PEM texts from malloc, NUL-terminated; the caller frees
 * them. Any thread. */
#include <stdint.h>

#include "base/fault.h"
#include "base/slice.h"

struct x509_pair {
    char *cert_pem, *key_pem;
};
/* Wipes the key. */
void x509_pair_free(struct x509_pair *p);

/* ECDSA P-256, ten years. */
int x509_make_ca(const char *common_name, struct x509_pair *ret, struct fault *fault)
    __attribute__((warn_unused_result));
/* A server's certificate by that CA: DNS names (wildcards too) and IP literals, NULL-terminated.
 * cert_pem is the leaf, followed by the CA. */
int x509_issue(const struct x509_pair *ca, const char *const *names, unsigned days,
               struct x509_pair *ret, struct fault *fault) __attribute__((warn_unused_result));
/* End of the first certificate's validity, seconds since 1970. */
int x509_not_after(struct slice cert_pem, int64_t *ret) __attribute__((warn_unused_result));
/* Whether the first certificate names all of these and nothing else. */
bool x509_names_are(struct slice cert_pem, const char *const *names);
/* SHA-256 of the first certificate's SubjectPublicKeyInfo: what tokens pin. */
int x509_pin(struct slice cert_pem, uint8_t ret[static 32]) __attribute__((warn_unused_result));
