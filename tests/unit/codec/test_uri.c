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

TEST(a_host_and_port_are_told_apart)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool is_ipv6;
    } GOOD[] = {
        { "a", "a", 0, false },
        { "a:1", "a", 1, false },
        { "a:65535", "a", 65535, false },
        { "a:00080", "a", 80, false },
        { "192.0.2.1:80", "192.0.2.1", 80, false },
        { "_a-b~.c", "_a-b~.c", 0, false },
        { "[::]", "::", 0, true },
        { "[2001:db8::1]:443", "2001:db8::1", 443, true },
        { "[::ffff:192.0.2.1]:1", "::ffff:192.0.2.1", 1, true },
    };
    static const struct slice BAD[] = {
        SLICE(""),
        SLICE(":"),
        SLICE(":80"),
        SLICE("a:"),
        SLICE("a:0"),
        SLICE("a:65536"),
        SLICE("a:99999999999999999999"),
        SLICE("a:+1"),
        SLICE("a: 1"),
        SLICE("a:1 "),
        SLICE("a:1:2"),
        SLICE("a b"),
        SLICE("a/b"),
        SLICE("a@b"),
        SLICE("a%20"),
        SLICE("\xc3\xa9"),
        SLICE("a\0"),
        SLICE("::1"),
        SLICE("["),
        SLICE("[]"),
        SLICE("[::1"),
        SLICE("[::1]:"),
        SLICE("[::1]x"),
        SLICE("[::1]80"),
        SLICE("[1.2.3.4]"),
        SLICE("[::1%eth0]"),
        SLICE("[::g]"),
        SLICE("[::1]]"),
        SLICE("[\0::1]"),
        SLICE("[::1\0]"),
        SLICE("[[::1]]"),
        SLICE("[1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222:3333]"),
    };
    struct host_port at;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        CHECK_OK(host_port_parse(slice_str(GOOD[i].text), &at));
        CHECK_SLICE(at.host, slice_str(GOOD[i].host));
        CHECK(at.port == GOOD[i].port && at.has_port == (at.port != 0));
        CHECK(at.is_ipv6 == GOOD[i].is_ipv6);
    }
    at.port = 7;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        if (host_port_parse(BAD[i], &at) != ERR_PARSE)
            fail_msg("%.*s is taken", SLICE_FMT(BAD[i]));
    CHECK(at.port == 7);
}

TEST(every_byte_is_taken_in_its_place_alone)
{
    for (unsigned c = 0; c < 256; c++) {
        char text[] = "http://a/?#";
        struct uri u;
        text[9] = (char)c; /* in the path: it may be anything that is visible */
        bool is_visible = c > 0x20 && c < 0x7f && c != '%';
        bool is_good = is_visible && c != '#'; /* a second '#' would stand in the fragment */
        CHECK_ERR(is_good ? 0 : ERR_PARSE, uri_parse(slice_of(text, sizeof text - 1), &u));
        char host[] = "http://a_b/";
        host[8] = (char)c;
        bool is_unreserved = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                             (c >= 'A' && c <= 'Z') || (c != 0 && strchr("-._~", (int)c) != NULL);
        bool ends_host = c == '/' || c == '?' || c == '#' || c == '@';
        CHECK_ERR(is_unreserved || ends_host ? 0 : ERR_PARSE,
                  uri_parse(slice_of(host, sizeof host - 1), &u));
    }
}

TEST(every_prefix_of_a_url_is_whole_or_refused)
{
    static const char TEXT[] = "https://us:er@ex-ample.com:8443/a%20/b?c=%41#e";
    for (size_t n = 0; n < sizeof TEXT; n++) {
        struct uri u;
        uint8_t *copy = malloc(n + (n == 0));
        memcpy(copy, TEXT, n);
        int r = uri_parse(slice_of(copy, n), &u);
        bool in_escape = (n > 0 && TEXT[n - 1] == '%') || (n > 1 && TEXT[n - 2] == '%');
        /* With the scheme and its colon alone it is "https:" of an empty path. */
        bool is_whole =
            n == 6 || n == 7 || (n > 8 && n != 14 && n != 27 && !in_escape && n < sizeof TEXT);
        if (n >= 12 && n < 14)
            is_whole = false; /* "us:e" is no port yet */
        if (n == 11)
            is_whole = false; /* "us:" */
        CHECK_ERR(is_whole ? 0 : ERR_PARSE, r);
        free(copy);
    }
}

TESTS(RUN(a_service_url_is_split), RUN(a_broken_url_is_refused),
      RUN(a_host_and_port_are_told_apart), RUN(every_byte_is_taken_in_its_place_alone),
      RUN(every_prefix_of_a_url_is_whole_or_refused), RUN(escapes_are_decoded_once),
      RUN(a_scheme_implies_a_port))
