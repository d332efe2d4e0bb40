#include "net/tls_pin.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>

#include "base/slice.h"

#define CHAIN_MAX 8 /* certificates of a peer that are looked at */

static bool has_pin(gnutls_x509_crt_t crt, const uint8_t pin[32])
{
    uint8_t hash[32];
    gnutls_pubkey_t key;
    gnutls_datum_t spki = { 0 };
    bool is_equal = false;
    if (gnutls_pubkey_init(&key) < 0)
        return false;
    if (gnutls_pubkey_import_x509(key, crt, 0) == 0 &&
        gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &spki) == 0) {
        is_equal = gnutls_hash_fast(GNUTLS_DIG_SHA256, spki.data, spki.size, hash) == 0 &&
                   slice_eq_secret(slice_of(hash, 32), slice_of(pin, 32));
        gnutls_free(spki.data);
    }
    gnutls_pubkey_deinit(key);
    return is_equal;
}

/* The last one is our CA: with it as the only root the chain is verified like any other. */
static int verify_with(gnutls_x509_crt_t chain[], unsigned count, const char *name,
                       unsigned *ret_status)
{
    gnutls_x509_trust_list_t list = NULL;
    gnutls_typed_vdata_st host = { .type = GNUTLS_DT_DNS_HOSTNAME,
                                   .data = (unsigned char *)(uintptr_t)name };
    int r = gnutls_x509_trust_list_init(&list, 0);
    if (r < 0)
        return r;
    (void)gnutls_x509_trust_list_add_cas(list, &chain[count - 1], 1, 0);
    r = gnutls_x509_trust_list_verify_crt2(list, chain, count, &host, 1, 0, ret_status, NULL);
    gnutls_x509_trust_list_deinit(list, 0);
    return r;
}

const char *tls_pin_check(gnutls_session_t session, const char *name,
                          const uint8_t pin[TLS_PIN_BYTES], unsigned *ret_status)
{
    unsigned count = 0, have = 0;
    gnutls_x509_crt_t chain[CHAIN_MAX] = { 0 };
    const gnutls_datum_t *peers = gnutls_certificate_get_peers(session, &count);
    int r = peers == NULL || count == 0 || count > CHAIN_MAX ? GNUTLS_E_CERTIFICATE_ERROR : 0;
    for (; r == 0 && have < count; have++) {
        r = gnutls_x509_crt_init(&chain[have]);
        if (r == 0)
            r = gnutls_x509_crt_import(chain[have], &peers[have], GNUTLS_X509_FMT_DER);
    }
    bool is_ours = r == 0 && has_pin(chain[count - 1], pin);
    *ret_status = 0;
    if (is_ours)
        r = verify_with(chain, count, name, ret_status);
    for (unsigned i = 0; i < have; i++)
        if (chain[i] != NULL)
            gnutls_x509_crt_deinit(chain[i]);
    if (r != 0)
        return "the chain cannot be read";
    if (!is_ours)
        return "not the CA that the token pins";
    return *ret_status != 0 ? "" : NULL;
}
