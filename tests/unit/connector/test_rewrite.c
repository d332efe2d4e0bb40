/* What a rule changes in requests and responses. */
#include "connector/rewrite.h"

#include "base/limits.h"
#include "connector/ingress.h"
#include "net/addr.h"
#include "test.h"

struct site {
    struct loop *loop;
    struct task left;
    struct exchange *ex;
    struct ingress *in;
    const struct rule_extras *x;
};

#define DOUBLED "$1$1$1$1$1$1$1$1"

static void nothing(struct task *t)
{
    (void)t;
}

static void site_open(struct site *s, const char *keys, struct slice target)
{
    static char text[8192];
    struct arena a;
    struct yaml_node *root = NULL;
    struct fault f = { 0 };
    memset(s, 0, sizeof *s);
    (void)snprintf(text, sizeof text, "ingress:\n- {service: 'http://a', %s}\n", keys);
    arena_init(&a, 1 << 20);
    int r = yaml_parse(slice_str(text), "t", &a, &root, &f);
    if (r == 0)
        r = ingress_from_yaml(root, "t", &s->in, &f);
    if (r < 0)
        fail_msg("%s: %s", keys, f.text);
    arena_done(&a);
    s->x = ingress_rule(s->in, 0)->extras;
    assert_int_equal(loop_new(&s->loop), 0);
    task_init(&s->left, s->loop, nothing);
    s->ex = exchange_new(s->loop, &s->left);
    assert_non_null(s->ex);
    s->ex->request.method = SLICE("GET");
    s->ex->request.host = SLICE("shop.example:8443");
    s->ex->request.target = target;
}

static void site_close(struct site *s)
{
    exchange_leave(s->ex, EX_LEFT);
    task_done(&s->left);
    loop_turn(s->loop, 0);
    loop_free(s->loop);
    ingress_unref(s->in);
}

static void add(struct site *s, const char *name, const char *value)
{
    assert_int_equal(fields_add(&s->ex->request.fields, slice_str(name), slice_str(value)), 0);
}

static int rewrite(struct site *s)
{
    return rewrite_request(s->ex, s->x, s->ex->request.host);
}

/* "Name: value\n" for each line. */
static const char *lines(const struct fields *f)
{
    static char text[4096];
    int n = 0;
    text[0] = 0;
    for (size_t i = 0; i < f->count; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%.*s: %.*s\n",
                      SLICE_FMT(f->lines[i].name), SLICE_FMT(f->lines[i].value));
    return text;
}

static void check_target(const char *keys, const char *target, const char *want)
{
    void **state_ = NULL;
    struct site s;
    site_open(&s, keys, slice_str(target));
    CHECK_OK(rewrite(&s));
    if (!slice_eq(s.ex->request.target, slice_str(want)))
        fail_msg("%s with %s: %.*s, want %s", target, keys, SLICE_FMT(s.ex->request.target), want);
    site_close(&s);
}

TEST(a_prefix_is_stripped_at_a_segments_end_alone)
{
    (void)state_;
    static const struct {
        const char *target, *want;
    } CASES[] = {
        { "/api", "/" },
        { "/api/", "/" },
        { "/api?x=/api", "/?x=/api" },
        { "/api/v1/%61?x=%20", "/v1/%61?x=%20" },
        { "/apix", "/apix" },
        { "/apix/api", "/apix/api" },
        { "/a", "/a" },
        { "/", "/" },
        { "/API/x", "/API/x" },
        { "/api//x", "//x" },
        { "/x/api/y", "/x/api/y" },
        { "/%61p%69/x", "/x" },     /* the rule's path sees it decoded: so does this */
        { "%2fapi/x", "%2fapi/x" }, /* no path at all */
        { "/api%2fx", "/api%2fx" }, /* the escape is no end of a segment */
        { "/api%", "/api%" },
        { "*", "*" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        check_target("pathPrefixStrip: /api", CASES[i].target, CASES[i].want);
    check_target("pathPrefixStrip: /a/b", "/a/b/c", "/c");
    check_target("pathPrefixStrip: /a/b", "/a%2Fb/c", "/a%2Fb/c");
}

TEST(what_was_stripped_is_told_by_us_alone)
{
    struct site s;
    site_open(&s, "pathPrefixStrip: /api", SLICE("/api/x"));
    add(&s, "x-forwarded-prefix", "/forged");
    CHECK_OK(rewrite(&s));
    CHECK_SLICE(slice_str(lines(&s.ex->request.fields)), SLICE("X-Forwarded-Prefix: /api\n"));
    site_close(&s);
    site_open(&s, "pathPrefixStrip: /api", SLICE("/other"));
    add(&s, "x-forwarded-prefix", "/forged");
    CHECK_OK(rewrite(&s));
    CHECK_SLICE(slice_str(lines(&s.ex->request.fields)), SLICE(""));
    site_close(&s);
}

TEST(a_path_is_rewritten_where_the_expression_matches)
{
    (void)state_;
    check_target("pathRewrite: {match: '^/v1/(.*)$', to: '/v2/$1'}", "/v1/a%20b?q=/v1/",
                 "/v2/a%20b?q=/v1/");
    check_target("pathRewrite: {match: '^/v1/(.*)$', to: '/v2/$1'}", "/v3/a?b", "/v3/a?b");
    check_target("pathRewrite: {match: 'b', to: '[$0]$$1'}", "/abab", "/a[b]$1ab");
    check_target("pathRewrite: {match: '(x)?(a)', to: '$1$2$2'}", "/a", "/aa");
    check_target("pathRewrite: {match: '^/', to: ''}", "/a", "/a");
    check_target("pathRewrite: {match: '^.*$', to: ''}", "/a?q", "/?q");
    check_target("pathRewrite: {match: '^/a$', to: 'b/c'}", "/a", "/b/c");
    check_target("pathRewrite: {match: '$', to: '/end'}", "/a?q", "/a/end?q");
    check_target("pathRewrite: {match: '.', to: 'x'}", "*", "*");
    /* The prefix goes first. */
    check_target("pathPrefixStrip: /api, pathRewrite: {match: '^/a', to: /b}", "/api/a", "/b");
}

TEST(what_cannot_be_rewritten_is_refused)
{
    struct site s;
    static char target[TARGET_BYTES_MAX];
    site_open(&s, "pathRewrite: {match: '^/a(.*)$', to: '/b$1'}", SLICE("/a\r\nX: y"));
    CHECK_OK(rewrite(&s)); /* a dot is no line's end: nothing matches */
    CHECK_SLICE(s.ex->request.target, SLICE("/a\r\nX: y"));
    site_close(&s);
    site_open(&s, "pathRewrite: {match: '(?s)^/a(.*)$', to: '/b$1'}", SLICE("/a\r\nX: y"));
    CHECK_ERR(ERR_PARSE, rewrite(&s));
    site_close(&s);
    site_open(&s, "pathRewrite: {match: '^/a', to: '/b'}", SLICE("/a b"));
    CHECK_ERR(ERR_PARSE, rewrite(&s));
    site_close(&s);
    site_open(&s, "pathRewrite: {match: '^/a', to: '/b'}", SLICE("/a\xff"));
    CHECK_ERR(ERR_PARSE, rewrite(&s));
    site_close(&s);
    /* A result that is far too long, and one that only its query makes so. */
    memset(target, 'a', sizeof target);
    target[0] = '/';
    site_open(&s, "pathRewrite: {match: '^(.*)$', to: '" DOUBLED DOUBLED DOUBLED DOUBLED "'}",
              slice_of(target, sizeof target));
    CHECK_ERR(ERR_LIMIT, rewrite(&s));
    site_close(&s);
    target[sizeof target - 8] = '?';
    site_open(&s, "pathRewrite: {match: '^', to: '/longer'}", slice_of(target, sizeof target));
    CHECK_ERR(ERR_LIMIT, rewrite(&s));
    site_close(&s);
}

TEST(a_requests_fields_are_removed_set_and_added)
{
    struct site s;
    site_open(&s,
              "requestHeaders: {remove: [x-gone], set: {X-Set: new, X-New: there}, "
              "add: {X-Add: [b, c]}}",
              SLICE("/"));
    add(&s, "X-Gone", "1");
    add(&s, "x-set", "old");
    add(&s, "X-Add", "a");
    add(&s, "X-GONE", "2");
    add(&s, "x-set", "older");
    CHECK_OK(rewrite(&s));
    CHECK_SLICE(slice_str(lines(&s.ex->request.fields)),
                SLICE("X-Add: a\nX-Set: new\nX-New: there\nX-Add: b\nX-Add: c\n"));
    site_close(&s);
}

TEST(a_value_may_have_variables)
{
    struct site s;
    char want[200];
    site_open(&s,
              "requestHeaders: {set: {A: '${request_id}/${visitor_ip}', "
              "B: '$${host} ${host}$', C: '$5 {host}'}}",
              SLICE("/"));
    add(&s, "CF-Connecting-IP", "2001:DB8::1");
    CHECK_OK(rewrite(&s));
    (void)snprintf(want, sizeof want,
                   "CF-Connecting-IP: 2001:DB8::1\nA: %s/2001:db8::1\n"
                   "B: ${host} shop.example:8443$\nC: $5 {host}\n",
                   s.ex->id);
    CHECK_SLICE(slice_str(lines(&s.ex->request.fields)), slice_str(want));
    site_close(&s);
}

TEST(an_address_that_is_none_is_no_visitors)
{
    static const char *const BAD[] = { "", "1.2.3", "a\r\nb", "1.2.3.4, 5.6.7.8", "1.2.3.4:80" };
    struct addr a;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0] + 1; i++) {
        struct site s;
        site_open(&s, "requestHeaders: {set: {A: '<${visitor_ip}>'}}", SLICE("/"));
        if (i > 0)
            add(&s, "Cf-Connecting-Ip", BAD[i - 1]);
        CHECK(!rewrite_visitor_addr(s.ex, &a));
        CHECK_OK(rewrite(&s));
        CHECK_SLICE(fields_get(&s.ex->request.fields, SLICE("A"))->value, SLICE("<>"));
        site_close(&s);
    }
    struct site s;
    site_open(&s, "pathPrefixStrip: /a", SLICE("/"));
    add(&s, "Cf-Connecting-Ip", "1.2.3.4");
    CHECK(rewrite_visitor_addr(s.ex, &a));
    add(&s, "Cf-Connecting-Ip", "1.2.3.4"); /* which of two would it be? */
    CHECK(!rewrite_visitor_addr(s.ex, &a));
    site_close(&s);
}

TEST(a_host_that_would_break_the_line_is_refused)
{
    struct site s;
    site_open(&s, "requestHeaders: {set: {A: '${host}'}}", SLICE("/"));
    s.ex->request.host = SLICE("a\r\nX: y");
    CHECK_ERR(ERR_PARSE, rewrite(&s));
    site_close(&s);
}

TEST(a_responses_fields_are_changed_and_too_many_are_told)
{
    struct site s;
    site_open(&s, "responseHeaders: {remove: server, add: {Via: '${host}'}}", SLICE("/"));
    CHECK_OK(rewrite_response(s.ex, s.x, SLICE("h"))); /* there is none yet */
    struct response *r = response_new(s.ex, 200);
    CHECK_OK(fields_add(&r->fields, SLICE("Server"), SLICE("secret/1.0")));
    exchange_respond(s.ex, r);
    CHECK_OK(rewrite_response(s.ex, s.x, SLICE("h.example")));
    CHECK_SLICE(slice_str(lines(&r->fields)), SLICE("Via: h.example\n"));
    while (fields_add(&r->fields, SLICE("A"), SLICE("b")) == 0)
        continue;
    CHECK_ERR(ERR_LIMIT, rewrite_response(s.ex, s.x, SLICE("h.example")));
    site_close(&s);
}

TESTS(RUN(a_prefix_is_stripped_at_a_segments_end_alone), RUN(what_was_stripped_is_told_by_us_alone),
      RUN(a_path_is_rewritten_where_the_expression_matches),
      RUN(what_cannot_be_rewritten_is_refused), RUN(a_requests_fields_are_removed_set_and_added),
      RUN(a_value_may_have_variables), RUN(an_address_that_is_none_is_no_visitors),
      RUN(a_host_that_would_break_the_line_is_refused),
      RUN(a_responses_fields_are_changed_and_too_many_are_told))
