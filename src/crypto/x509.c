#include "crypto/x509.h"

#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "crypto/hash.h"
#include "crypto/random.h"

#define PEM_BYTES_MAX    32768 /* a leaf with the names of API_DOMAINS_MAX long domains */
#define CA_DAYS          3650
#define DAY_SECONDS      86400
#define BACKDATE_SECONDS 3600 /* clocks of connectors differ */

void x509_pair_free(struct x509_pair *p)
{
    if (p->key_pem != NULL)
        explicit_bzero(p->key_pem, strlen(p->key_pem));
    free(p->cert_pem);
    free(p->key_pem);
    *p = (struct x509_pair){ 0 };
}

static int tls_fault(struct fault *fault, const char *what, int r)
{
    return fault_set(fault, ERR_CERT, "%s: %s", what, gnutls_strerror(r));
}

/* ---- texts ---- */

static char *pem_of_cert(gnutls_x509_crt_t crt)
{
    size_t n = PEM_BYTES_MAX;
    char *text = calloc(1, PEM_BYTES_MAX + 1);
    if (text != NULL && gnutls_x509_crt_export(crt, GNUTLS_X509_FMT_PEM, text, &n) == 0)
        return text;
    free(text);
    return NULL;
}

static char *pem_of_key(gnutls_x509_privkey_t key)
{
    size_t n = PEM_BYTES_MAX;
    char *text = calloc(1, PEM_BYTES_MAX + 1);
    if (text != NULL && gnutls_x509_privkey_export_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
                                                         GNUTLS_PKCS_PLAIN, text, &n) == 0)
        return text;
    free(text);
    return NULL;
}

static int import_cert(struct slice pem, gnutls_x509_crt_t *ret)
{
    gnutls_datum_t d = { .data = (unsigned char *)(uintptr_t)pem.p, .size = (unsigned)pem.n };
    gnutls_x509_crt_t crt;
    int r = gnutls_x509_crt_init(&crt);
    if (r != 0)
        return r;
    r = gnutls_x509_crt_import(crt, &d, GNUTLS_X509_FMT_PEM);
    if (r != 0)
        gnutls_x509_crt_deinit(crt);
    else
        *ret = crt;
    return r;
}

/* ---- making ---- */

static int new_key(gnutls_x509_privkey_t *ret)
{
    gnutls_x509_privkey_t key;
    int r = gnutls_x509_privkey_init(&key);
    if (r != 0)
        return r;
    r = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                     GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (r != 0)
        gnutls_x509_privkey_deinit(key);
    else
        *ret = key;
    return r;
}

static int new_cert(gnutls_x509_privkey_t key, const char *common_name, unsigned days,
                    gnutls_x509_crt_t *ret)
{
    uint8_t serial[16];
    gnutls_x509_crt_t c;
    time_t now = time(NULL);
    random_bytes(serial, sizeof serial);
    serial[0] &= 0x7f;
    int r = gnutls_x509_crt_init(&c);
    if (r != 0)
        return r;
    (void)gnutls_x509_crt_set_version(c, 3);
    (void)gnutls_x509_crt_set_serial(c, serial, sizeof serial);
    (void)gnutls_x509_crt_set_activation_time(c, now - BACKDATE_SECONDS);
    (void)gnutls_x509_crt_set_expiration_time(c, now + (time_t)days * DAY_SECONDS);
    r = gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0, common_name,
                                      (unsigned)strlen(common_name));
    if (r == 0)
        r = gnutls_x509_crt_set_key(c, key);
    uint8_t id[20];
    size_t id_bytes = sizeof id;
    if (r == 0 && gnutls_x509_crt_get_key_id(c, 0, id, &id_bytes) == 0)
        (void)gnutls_x509_crt_set_subject_key_id(c, id, id_bytes);
    if (r != 0)
        gnutls_x509_crt_deinit(c);
    else
        *ret = c;
    return r;
}

static int pair_of(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, struct x509_pair *ret)
{
    struct x509_pair p = { .cert_pem = pem_of_cert(crt), .key_pem = pem_of_key(key) };
    if (p.cert_pem == NULL || p.key_pem == NULL) {
        x509_pair_free(&p);
        return GNUTLS_E_MEMORY_ERROR;
    }
    *ret = p;
    return 0;
}

int x509_make_ca(const char *common_name, struct x509_pair *ret, struct fault *fault)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    int r = new_key(&key);
    if (r != 0)
        return tls_fault(fault, "a CA's key could not be made", r);
    r = new_cert(key, common_name, CA_DAYS, &crt);
    if (r == 0) {
        (void)gnutls_x509_crt_set_basic_constraints(crt, 1, 0);
        (void)gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
        r = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
        if (r == 0)
            r = pair_of(crt, key, ret);
        gnutls_x509_crt_deinit(crt);
    }
    gnutls_x509_privkey_deinit(key);
    return r == 0 ? 0 : tls_fault(fault, "a CA could not be made", r);
}

static int add_name(gnutls_x509_crt_t crt, const char *name)
{
    uint8_t ip[16];
    if (inet_pton(AF_INET, name, ip) == 1)
        return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, ip, 4,
                                                    GNUTLS_FSAN_APPEND);
    if (inet_pton(AF_INET6, name, ip) == 1)
        return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, ip, 16,
                                                    GNUTLS_FSAN_APPEND);
    return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name,
                                                (unsigned)strlen(name), GNUTLS_FSAN_APPEND);
}

static int sign_leaf(gnutls_x509_crt_t leaf, gnutls_x509_crt_t ca, gnutls_x509_privkey_t ca_key,
                     const char *const *names)
{
    int r = 0;
    uint8_t id[64];
    size_t n = sizeof id;
    for (size_t i = 0; names[i] != NULL && r == 0; i++)
        r = add_name(leaf, names[i]);
    (void)gnutls_x509_crt_set_basic_constraints(leaf, 0, -1);
    (void)gnutls_x509_crt_set_key_usage(leaf, GNUTLS_KEY_DIGITAL_SIGNATURE);
    (void)gnutls_x509_crt_set_key_purpose_oid(leaf, GNUTLS_KP_TLS_WWW_SERVER, 0);
    if (gnutls_x509_crt_get_subject_key_id(ca, id, &n, NULL) == 0)
        (void)gnutls_x509_crt_set_authority_key_id(leaf, id, n);
    return r == 0 ? gnutls_x509_crt_sign2(leaf, ca, ca_key, GNUTLS_DIG_SHA256, 0) : r;
}

/* The leaf first, then the CA: a client that knows only the CA's pin finds it in the chain. */
static int append_ca(struct x509_pair *p, const char *ca_pem)
{
    size_t leaf = strlen(p->cert_pem), ca = strlen(ca_pem);
    char *both = malloc(leaf + ca + 1);
    if (both == NULL)
        return GNUTLS_E_MEMORY_ERROR;
    memcpy(both, p->cert_pem, leaf);
    memcpy(both + leaf, ca_pem, ca + 1);
    free(p->cert_pem);
    p->cert_pem = both;
    return 0;
}

int x509_issue(const struct x509_pair *ca, const char *const *names, unsigned days,
               struct x509_pair *ret, struct fault *fault)
{
    gnutls_x509_privkey_t ca_key = NULL, key = NULL;
    gnutls_x509_crt_t ca_crt = NULL, leaf = NULL;
    gnutls_datum_t key_pem = { .data = (unsigned char *)ca->key_pem,
                               .size = (unsigned)strlen(ca->key_pem) };
    struct x509_pair p = { 0 };
    int r = import_cert(slice_str(ca->cert_pem), &ca_crt);
    if (r == 0)
        r = gnutls_x509_privkey_init(&ca_key);
    if (r == 0)
        r = gnutls_x509_privkey_import(ca_key, &key_pem, GNUTLS_X509_FMT_PEM);
    if (r == 0)
        r = new_key(&key);
    if (r == 0) /* a common name has 64 characters at most (RFC 5280, appendix A.1) */
        r = new_cert(key, strlen(names[0]) <= 64 ? names[0] : "Adit edge", days, &leaf);
    if (r == 0)
        r = sign_leaf(leaf, ca_crt, ca_key, names);
    if (r == 0)
        r = pair_of(leaf, key, &p);
    if (r == 0)
        r = append_ca(&p, ca->cert_pem);
    if (leaf != NULL)
        gnutls_x509_crt_deinit(leaf);
    if (key != NULL)
        gnutls_x509_privkey_deinit(key);
    if (ca_key != NULL)
        gnutls_x509_privkey_deinit(ca_key);
    if (ca_crt != NULL)
        gnutls_x509_crt_deinit(ca_crt);
    if (r != 0) {
        x509_pair_free(&p);
        return tls_fault(fault, "a certificate could not be issued", r);
    }
    *ret = p;
    return 0;
}

/* ---- reading ---- */

int x509_not_after(struct slice cert_pem, int64_t *ret)
{
    gnutls_x509_crt_t c;
    if (import_cert(cert_pem, &c) != 0)
        return ERR_CERT;
    *ret = (int64_t)gnutls_x509_crt_get_expiration_time(c);
    gnutls_x509_crt_deinit(c);
    return 0;
}

/* Whether the certificate has this very name. No host is matched with it: libraries refuse
 * wildcards below a single label, such as *.localhost, whatever the certificate says. */
static bool has_name(gnutls_x509_crt_t c, const char *name)
{
    char san[300];
    uint8_t ip[16];
    size_t ip_size = inet_pton(AF_INET, name, ip) == 1    ? 4
                     : inet_pton(AF_INET6, name, ip) == 1 ? 16
                                                          : 0;
    for (unsigned i = 0;; i++) {
        size_t n = sizeof san;
        int r = gnutls_x509_crt_get_subject_alt_name(c, i, san, &n, NULL);
        struct slice got = slice_of(san, n);
        if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return false;
        if (r == GNUTLS_SAN_IPADDRESS && ip_size > 0 && slice_eq(got, slice_of(ip, ip_size)))
            return true;
        if (r == GNUTLS_SAN_DNSNAME && slice_eq_nocase(got, slice_str(name)))
            return true;
        if (r < 0 && r != GNUTLS_E_SHORT_MEMORY_BUFFER)
            return false;
    }
}

static size_t name_count(gnutls_x509_crt_t c)
{
    char san[300];
    for (unsigned i = 0;; i++) {
        size_t n = sizeof san;
        int r = gnutls_x509_crt_get_subject_alt_name(c, i, san, &n, NULL);
        if (r < 0 && r != GNUTLS_E_SHORT_MEMORY_BUFFER)
            return i;
    }
}

bool x509_names_are(struct slice cert_pem, const char *const *names)
{
    gnutls_x509_crt_t c;
    size_t count = 0;
    bool are = true;
    if (import_cert(cert_pem, &c) != 0)
        return false;
    for (; names[count] != NULL && are; count++)
        are = has_name(c, names[count]);
    are = are && name_count(c) == count;
    gnutls_x509_crt_deinit(c);
    return are;
}

int x509_pin(struct slice cert_pem, uint8_t ret[static 32])
{
    gnutls_x509_crt_t c;
    gnutls_pubkey_t key;
    gnutls_datum_t spki = { 0 };
    if (import_cert(cert_pem, &c) != 0)
        return ERR_CERT;
    int r = gnutls_pubkey_init(&key);
    if (r == 0) {
        r = gnutls_pubkey_import_x509(key, c, 0);
        if (r == 0)
            r = gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &spki);
        if (r == 0)
            sha256(slice_of(spki.data, spki.size), ret);
        gnutls_free(spki.data);
        gnutls_pubkey_deinit(key);
    }
    gnutls_x509_crt_deinit(c);
    return r == 0 ? 0 : ERR_CERT;
}
