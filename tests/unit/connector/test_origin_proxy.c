/* The proxies of the environment: which origin is asked through which, and what one must say before
 * TLS begins. */
#include "connector/origin_proxy.h"

#include "connector/proxy_tunnel.h"
#include "net/loop.h"
#include "net/pipe.h"
#include "test.h"

static struct origin_proxies *proxies(const char *http, const char *https, const char *none)
{
    struct origin_proxies *p = NULL;
    assert_int_equal(origin_proxies_new(http, https, none, &p), 0);
    return p;
}

TEST(a_proxy_is_read_as_people_write_it)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
        const char *authorization;
        bool is_usable;
    } CASES[] = {
        { "http://proxy.test:3128", "proxy.test", 3128, "", true },
        { "proxy.test:3128", "proxy.test", 3128, "", true },
        { "HTTP://proxy.test/", "proxy.test", 80, "", true },
        { "http://[::1]:8080", "::1", 8080, "", true },
        { "http://me:it%27s%20me@proxy.test", "proxy.test", 80, "Basic bWU6aXQncyBtZQ==", true },
        { "http://me@proxy.test", "proxy.test", 80, "Basic bWU6", true },
        { "socks5://proxy.test:1080", "proxy.test", 1080, "", false },
        { "https://proxy.test", "proxy.test", 443, "", false },
        { "http://", "", 0, "", false },
        { "http://pro xy", "", 0, "", false },
        { "http://proxy.test:99999", "", 0, "", false },
        { "http://a%zz@proxy.test", "", 0, "", false },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct origin_proxies *p = proxies(CASES[i].text, NULL, NULL);
        const struct origin_proxy *got = origin_proxy_for(p, false, SLICE("origin.test"), 80);
        CHECK(got != NULL && origin_proxy_for(p, true, SLICE("origin.test"), 443) == NULL);
        if (got->is_usable != CASES[i].is_usable)
            fail_msg("%s: usable %d", CASES[i].text, got->is_usable);
        CHECK_SLICE(got->host, slice_str(CASES[i].host));
        CHECK(got->port == CASES[i].port);
        CHECK_SLICE(got->authorization, slice_str(CASES[i].authorization));
        CHECK(memmem(got->text.p, got->text.n, "it", 2) == NULL); /* no password is shown */
        origin_proxies_free(p);
    }
}

TEST(no_proxy_says_who_is_asked_directly)
{
    static const struct {
        const char *no_proxy, *host;
        uint16_t port;
        bool is_direct;
    } CASES[] = {
        { "", "origin.test", 80, false },
        { NULL, "origin.test", 80, false },
        { "", "localhost", 80, true },
        { "", "LOCALHOST", 80, true },
        { "", "127.9.9.9", 80, true },
        { "", "::1", 80, true },
        { "", "localhost.test", 80, false },
        { "*", "origin.test", 80, true },
        { "origin.test", "origin.test", 80, true },
        { "Origin.Test", "oRIGIN.tEST", 80, true },
        { "origin.test", "a.origin.test", 80, true },
        { "origin.test", "aorigin.test", 80, false },
        { "origin.test", "test", 80, false },
        { ".origin.test", "a.origin.test", 80, true },
        { ".origin.test", "origin.test", 80, false },
        { "*.origin.test", "a.b.origin.test", 80, true },
        { "*.origin.test", "origin.test", 80, false },
        { "other.test, ,origin.test:81", "origin.test", 81, true },
        { "other.test,origin.test:81", "origin.test", 80, false },
        { "192.0.2.7", "192.0.2.7", 80, true },
        { "192.0.2.7:80", "192.0.2.7", 80, true },
        { "192.0.2.7:80", "192.0.2.7", 81, false },
        { "192.0.2.0/24", "192.0.2.7", 80, true },
        { "192.0.2.0/24", "192.0.3.7", 80, false },
        { "192.0.2.0/24", "name.test", 80, false },
        { "2001:db8::/32", "2001:db8::7", 80, true },
        { "2001:db8::7", "2001:db8::7", 80, true },
        { "[2001:db8::7]:81", "2001:db8::7", 81, true },
        { "a b,,:,://,origin.test", "origin.test", 80, true },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct origin_proxies *p = proxies("proxy.test", "secure.test:99", CASES[i].no_proxy);
        struct slice host = slice_str(CASES[i].host);
        const struct origin_proxy *got = origin_proxy_for(p, false, host, CASES[i].port),
                                  *tls = origin_proxy_for(p, true, host, CASES[i].port);
        if ((got == NULL) != CASES[i].is_direct || (tls == NULL) != CASES[i].is_direct)
            fail_msg("%s with %s: %s", CASES[i].host, CASES[i].no_proxy,
                     got != NULL ? "through the proxy" : "directly");
        CHECK(got == NULL || (got->port == 80 && tls->port == 99));
        origin_proxies_free(p);
    }
    CHECK(origin_proxy_for(NULL, false, SLICE("origin.test"), 80) == NULL);
}

/* What an answer of the proxy comes to. */
static int answer(const char *text, bool ends, unsigned *ret_status)
{
    struct loop *loop;
    struct stream *ours, *proxys;
    struct buf in, out;
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(pipe_new(loop, 64 * 1024, &ours, &proxys), 0);
    buf_init(&in, loop_chunks(loop), PROXY_ANSWER_BYTES_MAX);
    buf_init(&out, loop_chunks(loop), 64 * 1024);
    assert_int_equal(buf_put(&out, slice_str(text)), 0);
    if (text[0] != 0)
        assert_int_equal(stream_write(proxys, &out), 0);
    if (ends)
        stream_finish(proxys);
    loop_turn(loop, 0);
    int r = proxy_tunnel_answer(ours, &in, ret_status);
    if (r == ERR_AGAIN && ends)
        r = proxy_tunnel_answer(ours, &in, ret_status);
    buf_done(&in);
    buf_done(&out);
    stream_release(ours);
    stream_release(proxys);
    loop_turn(loop, 0);
    loop_free(loop);
    return r;
}

TEST(a_tunnel_stands_when_the_proxy_says_so_and_nothing_else)
{
    static char endless[PROXY_ANSWER_BYTES_MAX + 100] = "HTTP/1.1 200 OK\r\nX: ";
    unsigned status = 0;
    CHECK_OK(answer("HTTP/1.1 200 Connection established\r\n\r\n", false, &status));
    CHECK_OK(answer("HTTP/1.0 204\r\nVia: x\r\n\r\n", false, &status));
    CHECK_ERR(ERR_AGAIN, answer("", false, &status));
    CHECK_ERR(ERR_AGAIN, answer("HTTP/1.1 200 OK\r\nVia: x\r\n", false, &status));
    CHECK_ERR(ERR_CUT, answer("HTTP/1.1 200 OK\r\n", true, &status));
    CHECK_ERR(ERR_DENIED, answer("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", false, &status));
    CHECK(status == 407);
    CHECK_ERR(ERR_PROTO, answer("HTTP/1.1 100 Continue\r\n\r\n", false, &status));
    CHECK_ERR(ERR_PROTO, answer("HTTP/1.1 2000 OK\r\n\r\n", false, &status));
    CHECK_ERR(ERR_PROTO, answer("HTTP/2 200 OK\r\n\r\n", false, &status));
    CHECK_ERR(ERR_PROTO, answer("SSH-2.0-x\r\n\r\n", false, &status));
    CHECK_ERR(ERR_PROTO, answer("HTTP/1.1 200 OK\r\n\r\nmore", false, &status));
    memset(endless + 20, 'x', sizeof endless - 21);
    CHECK_ERR(ERR_PROTO, answer(endless, false, &status));
}

TESTS(RUN(a_proxy_is_read_as_people_write_it), RUN(no_proxy_says_who_is_asked_directly),
      RUN(a_tunnel_stands_when_the_proxy_says_so_and_nothing_else))
