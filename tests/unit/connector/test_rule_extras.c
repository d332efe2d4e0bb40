/* The keys of a rule that the reference does not have: what is taken, what is refused, and which
 * requests meet the conditions. */
#include "connector/rule_extras.h"

#include "connector/ingress.h"
#include "test.h"

static int load(const char *text, struct ingress **ret, struct fault *f)
{
    struct arena a;
    struct yaml_node *root = NULL;
    *ret = NULL;
    arena_init(&a, 1 << 20);
    int r = yaml_parse(slice_str(text), "config.yml", &a, &root, f);
    if (r == 0)
        r = ingress_from_yaml(root, "config.yml", ret, f);
    arena_done(&a); /* the rules do not need the document any more */
    return r;
}

/* The rules with the first one's keys in flow style. */
static struct ingress *rules(const char *keys)
{
    static char text[4096];
    struct ingress *in;
    struct fault f = { 0 };
    (void)snprintf(
        text, sizeof text,
        "ingress:\n- {service: 'http://a', hostname: h.example, %s}\n- service: http_status:404\n",
        keys);
    if (load(text, &in, &f) < 0)
        fail_msg("%s: %s", keys, f.text);
    return in;
}

static void add(struct request *q, const char *name, const char *value)
{
    assert_int_equal(fields_add(&q->fields, slice_str(name), slice_str(value)), 0);
}

/* Which rule a request meets: "GET" or "GET Name=value Name=value". */
static size_t rule_of(const struct ingress *in, const char *method, const char *const *headers)
{
    struct arena a;
    struct request q = { .method = slice_str(method), .host = SLICE("h.example") };
    arena_init(&a, 1 << 20);
    fields_init(&q.fields, &a);
    for (; headers != NULL && headers[0] != NULL; headers += 2)
        add(&q, headers[0], headers[1]);
    size_t got = ingress_match_request(in, &q, SLICE("/"));
    arena_done(&a);
    return got;
}

#define HEADERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

TEST(a_rule_may_be_for_some_methods_alone)
{
    struct ingress *in = rules("method: [GET, PURGE]");
    CHECK(rule_of(in, "GET", NULL) == 0 && rule_of(in, "PURGE", NULL) == 0);
    CHECK(rule_of(in, "HEAD", NULL) == 1 && rule_of(in, "get", NULL) == 1);
    ingress_unref(in);
    in = rules("method: POST");
    CHECK(rule_of(in, "POST", NULL) == 0 && rule_of(in, "GET", NULL) == 1);
    CHECK(ingress_match(in, SLICE("h.example"), SLICE("/")) == 0); /* by host and path alone */
    ingress_unref(in);
}

TEST(a_rule_may_be_for_requests_with_a_field)
{
    struct ingress *in = rules("headers: {X-Beta: 'on', Accept: '~(?i)\\bjson$', Cookie: '*'}");
    CHECK(rule_of(in, "GET", HEADERS("x-beta", "on", "ACCEPT", "text/JSON", "Cookie", "")) == 0);
    CHECK(rule_of(in, "GET", HEADERS("x-beta", "on", "Accept", "text/json")) == 1);
    CHECK(rule_of(in, "GET", HEADERS("X-Beta", "on ", "Accept", "json", "Cookie", "a")) == 1);
    CHECK(rule_of(in, "GET", HEADERS("X-Beta", "ON", "Accept", "json", "Cookie", "a")) == 1);
    CHECK(rule_of(in, "GET", HEADERS("X-Beta", "on", "Accept", "json5", "Cookie", "a")) == 1);
    /* One line of several is enough. */
    CHECK(rule_of(in, "GET",
                  HEADERS("X-Beta", "off", "X-Beta", "on", "Accept", "a", "Accept", "json",
                          "Cookie", "a")) == 0);
    ingress_unref(in);
}

TEST(a_rule_with_conditions_does_not_catch_all)
{
    struct ingress *in;
    struct fault f = { 0 };
    CHECK_OK(load("ingress:\n- {service: 'http://a', method: GET}\n"
                  "- {service: 'http://b', headers: {X: y}}\n- service: http://c\n",
                  &in, &f));
    CHECK(rule_of(in, "POST", HEADERS("X", "y")) == 1 && rule_of(in, "POST", NULL) == 2);
    ingress_unref(in);
    CHECK_ERR(ERR_PARSE, load("ingress:\n- {service: 'http://a', method: GET}\n", &in, &f));
    CHECK(strstr(f.text, "must match all URLs") != NULL);
}

TEST(a_rule_without_extras_has_none_and_null_counts_as_absent)
{
    struct ingress *in = rules("method: null, headers: ~");
    CHECK(ingress_rule(in, 0)->extras == NULL && ingress_rule(in, 1)->extras == NULL);
    ingress_unref(in);
}

TEST(edits_are_kept_in_the_order_in_which_they_are_done)
{
    struct ingress *in = rules("requestHeaders: {add: {A: [1, '$$2']}, set: {B: ' x '}, "
                               "remove: [C, D]}, responseHeaders: {remove: E}");
    const struct rule_extras *x = ingress_rule(in, 0)->extras;
    static const struct {
        enum header_act act;
        const char *name, *value;
    } WANT[] = { { HEADER_REMOVE, "C", "" },
                 { HEADER_REMOVE, "D", "" },
                 { HEADER_SET, "B", "x" },
                 { HEADER_ADD, "A", "1" },
                 { HEADER_ADD, "A", "$$2" } };
    CHECK(x->request.count == 5 && x->response.count == 1);
    for (size_t i = 0; i < 5; i++) {
        CHECK(x->request.list[i].act == WANT[i].act);
        CHECK(x->request.list[i].has_variables == (i == 4));
        CHECK_SLICE(x->request.list[i].name, slice_str(WANT[i].name));
        CHECK_SLICE(x->request.list[i].value, slice_str(WANT[i].value));
    }
    CHECK_SLICE(x->response.list[0].name, SLICE("E"));
    ingress_unref(in);
}

TEST(what_is_wrong_is_told_with_its_key_and_place)
{
    (void)state_;
    static const struct {
        const char *service, *keys, *says;
    } CASES[] = {
        { "http://a", "method: get", "method: one of them: methods are written in capitals" },
        { "http://a", "method: [GET, get]", "method: methods are written in capitals" },
        { "http://a", "method: 'G T'", "\"G T\" is no HTTP method" },
        { "http://a", "method: []", "a method or a list of methods is wanted" },
        { "http://a", "method: {a: b}", "a method or a list of methods is wanted" },
        { "http://a", "method: [[GET]]", "a text is wanted" },
        { "http://a", "headers: [a]", "headers: a map of names and values is wanted" },
        { "http://a", "headers: {'a b': c}", "\"a b\" is no name of a header field" },
        { "http://a", "headers: {Host: c}", "use the rule's hostname" },
        { "http://a", "headers: {content-length: 1}", "frames the message" },
        { "http://a", "headers: {a: '~('}", "a: error parsing regexp" },
        { "http://a", "headers: {a: [b]}", "a: a text is wanted" },
        { "http://a", "headers: {a: \"b\\nc\"}", "no header field can have this value" },
        { "http://a", "pathPrefixStrip: api", "pathPrefixStrip: a path such as /api is wanted" },
        { "http://a", "pathPrefixStrip: /", "a path such as /api is wanted" },
        { "http://a", "pathPrefixStrip: /api/", "a path such as /api is wanted" },
        { "http://a", "pathPrefixStrip: '/a?b'", "a path such as /api is wanted" },
        { "http://a", "pathPrefixStrip: '/a%20b'", "a path such as /api is wanted" },
        { "http://a", "pathPrefixStrip: '/a b'", "a path such as /api is wanted" },
        { "http://a", "pathRewrite: /a", "the keys match and to" },
        { "http://a", "pathRewrite: {match: a}", "the keys match and to" },
        { "http://a", "pathRewrite: {match: a, to: b, flags: i}", "the keys match and to" },
        { "http://a", "pathRewrite: {match: '(', to: b}", "match: error parsing regexp" },
        { "http://a", "pathRewrite: {match: '(a)', to: '$2'}", "the expression has no group $2" },
        { "http://a", "pathRewrite: {match: a, to: '/$x'}", "$0 to $9 are what was matched" },
        { "http://a", "pathRewrite: {match: a, to: '/$'}", "$0 to $9 are what was matched" },
        { "http://a", "pathRewrite: {match: a, to: '/ b'}", "no space, query or fragment" },
        { "http://a", "pathRewrite: {match: a, to: '/?q'}", "no space, query or fragment" },
        { "http://a", "pathRewrite: {match: a, to: \"/\\r\\n\"}", "no space, query or fragment" },
        { "http://a", "requestHeaders: [a]", "the keys set, add and remove" },
        { "http://a", "requestHeaders: {put: {a: b}}", "put: there are the keys set, add" },
        { "http://a", "requestHeaders: {set: [a]}", "set: a map of names and values" },
        { "http://a", "requestHeaders: {set: {a: [b]}}", "a: a text is wanted" },
        { "http://a", "requestHeaders: {set: {a: ~}}", "a: a text is wanted" },
        { "http://a", "requestHeaders: {remove: {a: b}}", "remove: a list of names is wanted" },
        { "http://a", "requestHeaders: {set: {Host: b}}", "originRequest.httpHostHeader" },
        { "http://a", "requestHeaders: {set: {transfer-ENCODING: b}}", "frames the message" },
        { "http://a", "requestHeaders: {add: {Content-Length: 5}}", "frames the message" },
        { "http://a", "requestHeaders: {remove: [Connection]}", "frames the message" },
        { "http://a", "responseHeaders: {set: {Upgrade: b}}", "frames the message" },
        { "http://a", "responseHeaders: {set: {Trailer: b}}", "frames the message" },
        { "http://a", "requestHeaders: {set: {Expect: b}}", "frames the message" },
        { "http://a", "requestHeaders: {set: {'a:': b}}", "is no name of a header field" },
        { "http://a", "requestHeaders: {set: {a: \"b\\r\\nX: y\"}}", "can have this value" },
        { "http://a", "requestHeaders: {set: {a: '${visitor}'}}", "${visitor} is no variable" },
        { "http://a", "proxyProtocol: 2", "proxyProtocol: v1 or v2 is wanted" },
        { "https://a", "clientCertificate: a.pem", "the keys certificate and key" },
        { "https://a", "clientCertificate: {certificate: a}", "the keys certificate and key" },
        { "https://a", "clientCertificate: {certificate: a, key: ''}", "a path is empty" },
        { "http://a", "clientCertificate: {certificate: a, key: b}", "a service with TLS" },
        { "tcp://a:1", "pathPrefixStrip: /a", "which the service tcp://a:1 is not" },
        { "tcp://a:1", "responseHeaders: {set: {a: b}}", "which the service tcp://a:1 is not" },
        { "bastion", "proxyProtocol: v1", "which the service bastion is not" },
        { "http_status:404", "requestHeaders: {set: {a: b}}", "http_status:404 is not" },
    };
    char text[1024];
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct ingress *in;
        struct fault f = { 0 };
        (void)snprintf(text, sizeof text,
                       "ingress:\n- service: '%s'\n  hostname: a.example\n  %s\n"
                       "- service: http_status:404\n",
                       CASES[i].service, CASES[i].keys);
        int r = load(text, &in, &f);
        if (r != ERR_PARSE || strstr(f.text, CASES[i].says) == NULL)
            fail_msg("%s: %d \"%s\", want \"%s\"", CASES[i].keys, r, r < 0 ? f.text : "",
                     CASES[i].says);
        if (strcmp(f.where, "config.yml") != 0 || f.line < 2 || f.line > 4)
            fail_msg("%s: at %s:%u", CASES[i].keys, f.where, f.line);
    }
}

TEST(the_number_of_conditions_and_edits_is_bounded)
{
    static char text[32768];
    struct ingress *in;
    struct fault f = { 0 };
    for (int many = 0; many < 2; many++) {
        int n = snprintf(text, sizeof text,
                         "ingress:\n- service: http://a\n  requestHeaders:\n"
                         "    set:\n");
        for (int i = 0; i < EXTRA_LIST_MAX + many; i++)
            n += snprintf(text + n, sizeof text - (size_t)n, "      X-%d: y\n", i);
        CHECK_ERR(many ? ERR_PARSE : 0, load(text, &in, &f));
        ingress_unref(in);
        n = snprintf(text, sizeof text, "ingress:\n- service: http://a\n  headers:\n");
        for (int i = 0; i < EXTRA_LIST_MAX + many; i++)
            n += snprintf(text + n, sizeof text - (size_t)n, "    X-%d: y\n", i);
        (void)snprintf(text + n, sizeof text - (size_t)n, "- service: http://a\n");
        CHECK_ERR(many ? ERR_PARSE : 0, load(text, &in, &f));
        ingress_unref(in);
    }
}

TEST(memory_that_is_short_is_told_wherever_it_ends)
{
    struct arena doc, a;
    struct yaml_node *root = NULL;
    struct rule_extras *x = NULL;
    int r = ERR_NOMEM;
    size_t failures = 0;
    arena_init(&doc, 1 << 20);
    CHECK_OK(yaml_parse(SLICE("{method: [GET, PUT], headers: {A: '1', B: '~b', C: '*'}, "
                              "pathPrefixStrip: /a, pathRewrite: {match: (b), to: $1}, "
                              "requestHeaders: {set: {A: b}, add: {C: [d, e]}, remove: [F]}, "
                              "responseHeaders: {remove: G}, proxyProtocol: v1, "
                              "clientCertificate: {certificate: a, key: b}, "
                              "services: [http://b], balance: round-robin}"),
                        "t", &doc, &root, NULL));
    for (size_t max = 0; r != 0 && max < 65536; max += 64) {
        struct fault f = { 0 };
        arena_init(&a, max);
        r = rule_extras_from_yaml(root, "t", &a, &x, &f);
        CHECK(r == 0 || r == ERR_NOMEM);
        failures += r != 0;
        arena_done(&a);
    }
    CHECK(r == 0 && failures > 4);
    arena_done(&doc);
}

TESTS(RUN(memory_that_is_short_is_told_wherever_it_ends), RUN(a_rule_may_be_for_some_methods_alone),
      RUN(a_rule_may_be_for_requests_with_a_field), RUN(a_rule_with_conditions_does_not_catch_all),
      RUN(a_rule_without_extras_has_none_and_null_counts_as_absent),
      RUN(edits_are_kept_in_the_order_in_which_they_are_done),
      RUN(what_is_wrong_is_told_with_its_key_and_place),
      RUN(the_number_of_conditions_and_edits_is_bounded))
