/* From a rule to what its origin is reached by. */
#include "connector/origin_target.h"

#include "codec/proxy_protocol.h"
#include "connector/rule_extras.h"
#include "test.h"

static void nothing(struct task *t)
{
    (void)t;
}

TEST(times_and_counts_mean_what_they_mean_to_the_reference)
{
    struct origin_request o;
    struct origin_target t = { 0 };
    origin_request_defaults(&o);
    origin_target_tune(&t, &o);
    CHECK(t.connect_timeout == 30 * NSEC_PER_SEC && t.tls_timeout == 10 * NSEC_PER_SEC);
    CHECK(t.tcp_keepalive == 30 * NSEC_PER_SEC && t.idle_timeout == 90 * NSEC_PER_SEC);
    CHECK(t.idle_max == 100 && !t.no_happy_eyeballs);
    o = (struct origin_request){ .no_happy_eyeballs = true };
    origin_target_tune(&t, &o);
    CHECK(t.connect_timeout == 0 && t.tls_timeout == 0); /* for ever */
    CHECK(t.tcp_keepalive == 15 * NSEC_PER_SEC && t.idle_timeout == 0);
    CHECK(t.idle_max == 2 && t.no_happy_eyeballs);
    o = (struct origin_request){ .connect_timeout = -5,
                                 .tls_timeout = -5,
                                 .tcp_keepalive = -5,
                                 .keepalive_timeout = -5,
                                 .keepalive_connections = -5 };
    origin_target_tune(&t, &o);
    CHECK(t.connect_timeout == 1 && t.tls_timeout == 1); /* at once */
    CHECK(t.tcp_keepalive == 0 && t.idle_timeout == 0 && t.idle_max == 0);
    o.keepalive_connections = INT32_MAX;
    origin_target_tune(&t, &o);
    CHECK(t.idle_max == 1000000);
}

struct site {
    struct loop *loop;
    struct task left;
    struct exchange *ex;
};

static void site_open(struct site *s, const char *host, const char *ip, const char *scheme)
{
    assert_int_equal(loop_new(&s->loop), 0);
    task_init(&s->left, s->loop, nothing);
    s->ex = exchange_new(s->loop, &s->left);
    s->ex->request.host = slice_str(host);
    if (ip != NULL)
        assert_int_equal(
            fields_add(&s->ex->request.fields, SLICE("Cf-Connecting-Ip"), slice_str(ip)), 0);
    if (scheme != NULL)
        assert_int_equal(
            fields_add(&s->ex->request.fields, SLICE("X-Forwarded-Proto"), slice_str(scheme)), 0);
}

static void site_close(struct site *s)
{
    exchange_leave(s->ex, EX_LEFT);
    task_done(&s->left);
    loop_turn(s->loop, 0);
    loop_free(s->loop);
}

TEST(the_name_in_tls_is_the_services_the_rules_or_the_hosts)
{
    struct site s;
    struct arena a;
    struct service https, unix_tls, plain;
    struct origin_target t = { 0 };
    struct tls_creds *creds;
    struct tls_client_opts opts = { 0 };
    arena_init(&a, 4096);
    CHECK_OK(tls_creds_client(&opts, &creds, NULL));
    CHECK_OK(service_parse(SLICE("https://service.test:8443"), &a, &https, NULL));
    CHECK_OK(service_parse(SLICE("unix+tls:/run/x.sock"), &a, &unix_tls, NULL));
    CHECK_OK(service_parse(SLICE("http://service.test"), &a, &plain, NULL));
    struct rule rule = { .service = https, .tls = creds };
    site_open(&s, "asked.test:99", NULL, NULL);
    origin_target_aim(&t, s.ex, &rule, &https);
    CHECK(t.port == 8443 && t.tls == creds && !t.is_unix);
    CHECK_SLICE(t.tls_name, SLICE("service.test"));
    rule.request.server_name = SLICE("named.test");
    origin_target_aim(&t, s.ex, &rule, &https);
    CHECK_SLICE(t.tls_name, SLICE("named.test"));
    rule.request.match_sni = true;
    origin_target_aim(&t, s.ex, &rule, &https);
    CHECK_SLICE(t.tls_name, SLICE("asked.test"));
    origin_target_aim(&t, s.ex, &rule, &unix_tls); /* matchSNItoHost has no effect there */
    CHECK(t.is_unix);
    CHECK_SLICE(t.tls_name, SLICE("named.test"));
    rule.request.server_name = (struct slice){ 0 };
    origin_target_aim(&t, s.ex, &rule, &unix_tls);
    CHECK_SLICE(t.tls_name, SLICE("localhost"));
    CHECK_SLICE(t.host, SLICE("/run/x.sock"));
    /* A further service without TLS, of a rule that has credentials. */
    origin_target_aim(&t, s.ex, &rule, &plain);
    CHECK(t.tls == NULL && t.tls_name.n == 0 && t.port == 80 && !t.is_unix);
    site_close(&s);
    tls_creds_unref(creds);
    arena_done(&a);
}

TEST(the_proxy_header_says_who_asks_and_what_port)
{
    static const struct {
        const char *host, *ip, *scheme, *want;
    } CASES[] = {
        { "h.test", "192.0.2.7", "http", "PROXY TCP4 192.0.2.7 0.0.0.0 0 80\r\n" },
        { "h.test", "192.0.2.7", "https", "PROXY TCP4 192.0.2.7 0.0.0.0 0 443\r\n" },
        { "h.test:8443", "2001:db8::1", "https", "PROXY TCP6 2001:db8::1 :: 0 8443\r\n" },
        { "h.test", NULL, "https", "PROXY UNKNOWN\r\n" },
        { "h.test", "nobody", NULL, "PROXY UNKNOWN\r\n" },
    };
    struct rule_extras v1 = { .proxy_protocol = 1 }, v2 = { .proxy_protocol = 2 }, none = { 0 };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct site s;
        struct origin_target t = { 0 };
        struct proxy_header one, two;
        site_open(&s, CASES[i].host, CASES[i].ip, CASES[i].scheme);
        CHECK_OK(origin_target_announce(&t, s.ex, &v1));
        CHECK_SLICE(t.prelude, slice_str(CASES[i].want));
        CHECK(proxy_header_decode(t.prelude, &one) == (int)t.prelude.n);
        CHECK_OK(origin_target_announce(&t, s.ex, &v2));
        CHECK(proxy_header_decode(t.prelude, &two) == (int)t.prelude.n && t.prelude.p[0] == '\r');
        CHECK(memcmp(&one, &two, sizeof one) == 0);
        t.prelude = (struct slice){ 0 };
        CHECK_OK(origin_target_announce(&t, s.ex, &none));
        CHECK_OK(origin_target_announce(&t, s.ex, NULL));
        CHECK(t.prelude.n == 0);
        site_close(&s);
    }
}

TESTS(RUN(times_and_counts_mean_what_they_mean_to_the_reference),
      RUN(the_name_in_tls_is_the_services_the_rules_or_the_hosts),
      RUN(the_proxy_header_says_who_asks_and_what_port))
