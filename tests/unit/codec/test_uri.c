#include "codec/uri.h"

#include "test.h"

TEST(a_service_url_is_split)
{
    struct uri u;
    CHECK_OK(uri_parse(SLICE("https://us:er@ex-ample.com:8443/a/b?c=d#e"), &u));
    CHECK_SLICE(u.scheme, SLICE("https"));
    CHECK_SLICE(u.userinfo, SLICE("us:er"));
    CHECK_SLICE(u.authority, SLICE("ex-ample.com:8443"));
    CHECK_SLICE(u.at.host, SLICE("ex-ample.com"));
    CHECK(u.at.has_port && u.at.port == 8443 && !u.at.is_ipv6);
    CHECK_SLICE(u.path, SLICE("/a/b"));
    CHECK_SLICE(u.query, SLICE("c=d"));
    CHECK_SLICE(u.fragment, SLICE("e"));
    CHECK_OK(uri_parse(SLICE("http://[::1]"), &u));
    CHECK_SLICE(u.at.host, SLICE("::1"));
    CHECK(u.at.is_ipv6 && !u.at.has_port && u.path.n == 0 && !u.has_query && !u.has_userinfo);
    CHECK_OK(uri_parse(SLICE("http://a?x=y:/@"), &u));
    CHECK(u.path.n == 0 && u.has_query);
    CHECK_SLICE(u.query, SLICE("x=y:/@"));
    CHECK_OK(uri_parse(SLICE("unix:/run/app.sock"), &u));
    CHECK(!u.has_authority);
    CHECK_SLICE(u.scheme, SLICE("unix"));
    CHECK_SLICE(u.path, SLICE("/run/app.sock"));
    CHECK_OK(uri_parse(SLICE("unix+tls:/run/app.sock"), &u));
}

TEST(a_broken_url_is_refused)
{
    static const struct slice BAD[] = {
        SLICE(""),
        SLICE("a"),
        SLICE("/a"),
        SLICE("//a"),
        SLICE(":a"),
        SLICE("://a"),
        SLICE("1a://b"),
        SLICE("a_b://c"),
        SLICE("http://"),
        SLICE("http:///a"),
        SLICE("http://:80"),
        SLICE("http://a:"),
        SLICE("http://a:0"),
        SLICE("http://a:65536"),
        SLICE("http://a:b"),
        SLICE("http://a b"),
        SLICE("http://a/\r\n"),
        SLICE("http://a/%zz"),
        SLICE("http://a/%2"),
        SLICE("http://[::1"),
        SLICE("http://[::1]a"),
        SLICE("http://\xc3\xa9"),
        SLICE("http://a\0b"),
        SLICE("http://a%41"),
        SLICE("http://u@"),
        SLICE("http://a/#a#b"),
    };
    struct uri u;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        CHECK_ERR(ERR_PARSE, uri_parse(BAD[i], &u));
}

TEST(escapes_are_decoded_once)
{
    uint8_t out[32];
    size_t n;
    CHECK_OK(uri_unescape(SLICE("/a%20b%2fc%00+%25%34%31"), out, &n));
    CHECK_SLICE(slice_of(out, n), SLICE("/a b/c\0+%41"));
    CHECK_ERR(ERR_PARSE, uri_unescape(SLICE("%"), out, &n));
    CHECK_ERR(ERR_PARSE, uri_unescape(SLICE("%4"), out, &n));
    CHECK_ERR(ERR_PARSE, uri_unescape(SLICE("%g0"), out, &n));
    for (size_t size = 1; size < 3; size++) { /* nothing is read past the end */
        uint8_t *copy = malloc(size);
        memcpy(copy, "%4", size);
        CHECK_ERR(ERR_PARSE, uri_unescape(slice_of(copy, size), out, &n));
        free(copy);
    }
    CHECK_OK(uri_unescape(SLICE(""), out, &n));
    CHECK(n == 0);
}

TEST(a_scheme_implies_a_port)
{
    CHECK(uri_default_port(SLICE("HTTP")) == 80 && uri_default_port(SLICE("wss")) == 443);
    CHECK(uri_default_port(SLICE("https")) == 443 && uri_default_port(SLICE("ws")) == 80);
    CHECK(uri_default_port(SLICE("ssh")) == 0);
}

TESTS(RUN(a_service_url_is_split), RUN(a_broken_url_is_refused), RUN(escapes_are_decoded_once),
      RUN(a_scheme_implies_a_port))
