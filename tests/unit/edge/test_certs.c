#include "edge/certs.h"

#include "base/limits.h"
#include "test.h"

static struct certs *open_certs(struct x509_pair *ca)
{
    struct certs *c;
    assert_int_equal(x509_make_ca("test", ca, NULL), 0);
    c = certs_new(ca);
    assert_non_null(c);
    return c;
}

TEST(a_hostname_has_one_certificate_and_another_has_another)
{
    struct x509_pair ca;
    struct certs *c = open_certs(&ca);
    struct tls_cert *one = certs_get(c, "a.localhost"), *again = certs_get(c, "a.localhost");
    struct tls_cert *other = certs_get(c, "b.localhost");
    CHECK(one != NULL && one == again && other != NULL && other != one);
    tls_cert_unref(one);
    tls_cert_unref(again);
    certs_free(c);
    tls_cert_unref(other); /* outlives the table */
    certs_free(NULL);
    x509_pair_free(&ca);
}

TEST(what_is_no_hostname_has_none)
{
    struct x509_pair ca;
    struct certs *c = open_certs(&ca);
    char large[HOSTNAME_BYTES_MAX + 2];
    memset(large, 'a', sizeof large - 1);
    large[sizeof large - 1] = 0;
    static const char *const BAD[] = { "", "a b", "a:80", "a/b", "a\r\nb", "user@a" };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        if (certs_get(c, BAD[i]) != NULL)
            fail_msg("a certificate for \"%s\"", BAD[i]);
    CHECK(certs_get(c, large) == NULL);
    certs_free(c);
    x509_pair_free(&ca);
}

TEST(a_long_hostname_has_one_though_a_common_name_has_no_room_for_it)
{
    struct x509_pair ca;
    struct certs *c = open_certs(&ca);
    char name[200];
    memset(name, 'a', sizeof name);
    for (size_t i = 50; i < sizeof name; i += 50)
        name[i] = '.';
    name[sizeof name - 1] = 0;
    struct tls_cert *cert = certs_get(c, name);
    CHECK(cert != NULL);
    tls_cert_unref(cert);
    certs_free(c);
    x509_pair_free(&ca);
}

TEST(the_table_is_bounded_and_forgets_who_was_asked_for_longest_ago)
{
    struct x509_pair ca;
    struct certs *c = open_certs(&ca);
    struct tls_cert *first = certs_get(c, "first.localhost"),
                    *second = certs_get(c, "second.localhost");
    for (int i = 2; i < VISITOR_CERTS_MAX; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "h%d.localhost", i);
        tls_cert_unref(certs_get(c, name));
    }
    struct tls_cert *again = certs_get(c, "first.localhost"); /* now it is recent */
    CHECK(again == first);
    tls_cert_unref(again);
    tls_cert_unref(certs_get(c, "one-too-many.localhost"));
    again = certs_get(c, "first.localhost");
    CHECK(again == first);
    tls_cert_unref(again);
    again = certs_get(c, "second.localhost");
    CHECK(again != NULL && again != second); /* it had gone */
    tls_cert_unref(again);
    tls_cert_unref(first);
    tls_cert_unref(second);
    certs_free(c);
    x509_pair_free(&ca);
}

TESTS(RUN(a_hostname_has_one_certificate_and_another_has_another),
      RUN(what_is_no_hostname_has_none),
      RUN(a_long_hostname_has_one_though_a_common_name_has_no_room_for_it),
      RUN(the_table_is_bounded_and_forgets_who_was_asked_for_longest_ago))
