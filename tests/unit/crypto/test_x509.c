#include "crypto/x509.h"

#include <time.h>

#include "test.h"

static const char *const NAMES[] = { "localhost", "*.localhost", "127.0.0.1", "::1", NULL };

TEST(a_certificate_names_what_it_was_issued_for)
{
    struct x509_pair ca, leaf;
    struct fault f = { 0 };
    CHECK_OK(x509_make_ca("Test CA", &ca, &f));
    CHECK_OK(x509_issue(&ca, NAMES, 30, &leaf, &f));
    CHECK(x509_names_are(slice_str(leaf.cert_pem), NAMES));
    static const char *const OTHERS[][2] = { { "example.com", NULL },
                                             { "a.b.localhost", NULL }, /* one level alone */
                                             { "127.0.0.2", NULL },
                                             { "::2", NULL },
                                             { "*.example.com", NULL } };
    for (size_t i = 0; i < 5; i++)
        CHECK(!x509_names_are(slice_str(leaf.cert_pem), OTHERS[i]));
    static const char *const BOTH[] = { "localhost", "example.com", NULL }, *const NONE[] = {
        NULL
    };
    CHECK(!x509_names_are(slice_str(leaf.cert_pem), BOTH)); /* all of them, not one */
    CHECK(!x509_names_are(slice_str(leaf.cert_pem), NONE)); /* nothing else either */
    CHECK(!x509_names_are(slice_str(ca.cert_pem), NAMES));
    /* The leaf, and its CA behind it. */
    CHECK(strstr(leaf.cert_pem, ca.cert_pem) != NULL && strcmp(leaf.cert_pem, ca.cert_pem) != 0);
    CHECK(strncmp(leaf.key_pem, "-----BEGIN PRIVATE KEY-----", 27) == 0);
    CHECK(strcmp(leaf.key_pem, ca.key_pem) != 0);
    x509_pair_free(&leaf);
    CHECK(leaf.cert_pem == NULL && leaf.key_pem == NULL);
    x509_pair_free(&leaf);
    x509_pair_free(&ca);
}

TEST(a_certificate_ends_when_it_was_told_to)
{
    struct x509_pair ca, leaf;
    int64_t end, before = (int64_t)time(NULL);
    CHECK_OK(x509_make_ca("Test CA", &ca, NULL));
    CHECK_OK(x509_issue(&ca, NAMES, 30, &leaf, NULL));
    int64_t after = (int64_t)time(NULL);
    CHECK_OK(x509_not_after(slice_str(leaf.cert_pem), &end));
    CHECK(end >= before + 30 * 86400 && end <= after + 30 * 86400);
    CHECK_OK(x509_not_after(slice_str(ca.cert_pem), &end));
    CHECK(end >= before + 3650 * 86400LL && end <= after + 3650 * 86400LL);
    x509_pair_free(&leaf);
    x509_pair_free(&ca);
}

TEST(a_pin_is_of_the_key_and_not_of_the_certificate)
{
    struct x509_pair ca, other, leaf;
    uint8_t one[32], two[32];
    CHECK_OK(x509_make_ca("Test CA", &ca, NULL));
    CHECK_OK(x509_make_ca("Test CA", &other, NULL));
    CHECK_OK(x509_issue(&ca, NAMES, 30, &leaf, NULL));
    CHECK_OK(x509_pin(slice_str(ca.cert_pem), one));
    CHECK_OK(x509_pin(slice_str(ca.cert_pem), two));
    CHECK(memcmp(one, two, 32) == 0);
    CHECK_OK(x509_pin(slice_str(other.cert_pem), two));
    CHECK(memcmp(one, two, 32) != 0);
    CHECK_OK(x509_pin(slice_str(leaf.cert_pem), two)); /* of the first in the text: the leaf */
    CHECK(memcmp(one, two, 32) != 0);
    x509_pair_free(&leaf);
    x509_pair_free(&other);
    x509_pair_free(&ca);
}

/* `openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum` says the same. */
static const char FIXED[] = "-----BEGIN CERTIFICATE-----\n"
                            "MIIBmjCCAT+gAwIBAgIUF9Ro5gkLJ1ThLnXY1OrhKpD+8NwwCgYIKoZIzj0EAwIw\n"
                            "FjEUMBIGA1UEAwwLcGluLmV4YW1wbGUwHhcNMjYxMTI1MDMxNjQzWhcNMzYxMTIy\n"
                            "MDMxNjQzWjAWMRQwEgYDVQQDDAtwaW4uZXhhbXBsZTBZMBMGByqGSM49AgEGCCqG\n"
                            "SM49AwEHA0IABFIDwshPz32FXk6LQX2WB3iJ3JEtQLRZQMLZPZI3nUTCH7nHvlVG\n"
                            "XD0oLThG1DQxfXfCx8Ro+Jo2ZmJMSObCapOjazBpMB0GA1UdDgQWBBQKJRWRyx9e\n"
                            "XRPNinA3VL8lQtudbTAfBgNVHSMEGDAWgBQKJRWRyx9eXRPNinA3VL8lQtudbTAP\n"
                            "BgNVHRMBAf8EBTADAQH/MBYGA1UdEQQPMA2CC3Bpbi5leGFtcGxlMAoGCCqGSM49\n"
                            "BAMCA0kAMEYCIQCLZlJCrEBW+pJjm3P5SyPjVLFx2PUSB8AVdlZ0r7JgZwIhAMGW\n"
                            "t1HI50YuwMEiX3++qxuBO5ZRj4BzdhwSwhIkqjPA\n"
                            "-----END CERTIFICATE-----\n";

TEST(a_pin_is_what_others_compute)
{
    static const uint8_t WANT[32] = { 0x27, 0x63, 0x75, 0xa9, 0x08, 0xdf, 0xf7, 0x6e,
                                      0xd8, 0xd8, 0x55, 0x13, 0x9c, 0x65, 0xbb, 0x1b,
                                      0xfb, 0xca, 0x56, 0x3f, 0x95, 0xf0, 0x61, 0x1b,
                                      0x11, 0x37, 0xd1, 0x43, 0xac, 0x26, 0xc9, 0x48 };
    uint8_t pin[32];
    CHECK_OK(x509_pin(SLICE(FIXED), pin));
    CHECK(memcmp(pin, WANT, 32) == 0);
    int64_t end;
    CHECK_OK(x509_not_after(SLICE(FIXED), &end));
    CHECK(end == 2110936603LL);
    static const char *const NAME[] = { "pin.example", NULL };
    CHECK(x509_names_are(SLICE(FIXED), NAME));
}

TEST(what_is_no_certificate_is_refused)
{
    struct x509_pair ca, leaf = { 0 };
    struct fault f = { 0 };
    uint8_t pin[32] = { 7 };
    int64_t end = 7;
    CHECK_OK(x509_make_ca("Test CA", &ca, NULL));
    size_t n = (size_t)(strstr(ca.cert_pem, "-----END") - ca.cert_pem);
    for (size_t cut = 0; cut < n; cut += 7) {
        CHECK_ERR(ERR_CERT, x509_pin(slice_of(ca.cert_pem, cut), pin));
        CHECK_ERR(ERR_CERT, x509_not_after(slice_of(ca.cert_pem, cut), &end));
        CHECK(!x509_names_are(slice_of(ca.cert_pem, cut), NAMES));
    }
    CHECK(pin[0] == 7 && end == 7);
    CHECK_ERR(ERR_CERT, x509_pin(slice_str(ca.key_pem), pin));
    char *key = ca.key_pem;
    ca.key_pem = ca.cert_pem; /* no key to sign with */
    CHECK_ERR(ERR_CERT, x509_issue(&ca, NAMES, 1, &leaf, &f));
    CHECK(leaf.cert_pem == NULL && strstr(f.text, "could not be issued") != NULL);
    ca.key_pem = key;
    char *cert = ca.cert_pem;
    ca.cert_pem = key;
    CHECK_ERR(ERR_CERT, x509_issue(&ca, NAMES, 1, &leaf, &f));
    ca.cert_pem = cert;
    x509_pair_free(&ca);
}

/* A hostname may have 253 characters; a common name no more than 64. */
TEST(a_long_hostname_gets_its_certificate)
{
    struct x509_pair ca, leaf;
    struct fault f = { 0 };
    char name[254];
    for (size_t i = 0; i < sizeof name - 1; i++)
        name[i] = i % 60 == 59 ? '.' : 'a';
    name[sizeof name - 1] = 0;
    const char *const names[] = { name, NULL };
    CHECK_OK(x509_make_ca("Test CA", &ca, &f));
    CHECK_OK(x509_issue(&ca, names, 1, &leaf, &f));
    CHECK(x509_names_are(slice_str(leaf.cert_pem), names));
    x509_pair_free(&leaf);
    x509_pair_free(&ca);
}

TESTS(RUN(a_certificate_names_what_it_was_issued_for), RUN(a_certificate_ends_when_it_was_told_to),
      RUN(a_pin_is_of_the_key_and_not_of_the_certificate), RUN(a_pin_is_what_others_compute),
      RUN(what_is_no_certificate_is_refused), RUN(a_long_hostname_gets_its_certificate))
