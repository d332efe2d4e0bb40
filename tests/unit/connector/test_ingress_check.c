#include <jansson.h>

#include "base/strb.h"
#include "connector/config_schema.h"
#include "connector/ingress_check.h"
#include "test.h"

static const char *option(void *ctx, size_t index)
{
    static const char *const NAMES[] = { "loglevel", "protocol", "credentials-file", NULL };
    (void)ctx;
    return NAMES[index < 3 ? index : 3];
}

static void check(const char *yaml, struct arena *a, struct ingress_report *ret)
{
    static const struct ingress_check_conf CONF = { .where = "config.yml", .option = option };
    struct yaml_node *root = NULL;
    struct fault f = { 0 };
    arena_init(a, 8 << 20);
    if (yaml_parse(slice_str(yaml), "config.yml", a, &root, &f) < 0)
        fail_msg("%s: %s", yaml, f.text);
    ingress_check(root, &CONF, a, ret);
}

#define LAST "- service: http_status:404\n"
#define BY   "  service: http://a\n"

/* A file, and its one finding. */
static const struct {
    const char *yaml;
    bool is_warning;
    unsigned line, column;
    const char *text, *hint; /* parts of them; hint NULL = there is none */
} FINDINGS[] = {
    /* mistakes */
    { "ingress:\n- hostname: a.b\n  service: http://x/y\n" LAST, false, 3, 12,
      "different path on the origin", "write http://x:" },
    { "ingress:\n- hostname: a.b\n  service: localhost:80\n" LAST, false, 3, 12,
      "localhost:80 is an invalid address", "did you mean http://localhost:80?" },
    { "ingress:\n- hostname: a.b\n  service: 8000\n" LAST, false, 3, 12, "8000 is an invalid",
      "did you mean http://localhost:8000?" },
    { "ingress:\n- hostname: a.b\n  service: /run/x\n" LAST, false, 3, 12, "/run/x is an invalid",
      "unix:/run/x" },
    { "ingress:\n- hostname: a.b\n  service: hello_wrld\n" LAST, false, 3, 12,
      "hello_wrld is an invalid", "did you mean hello_world?" },
    { "ingress:\n- hostname: a.b\n" LAST, false, 2, 3, " is an invalid address", "every rule" },
    { "ingress:\n- hostname: a.b\n  service: http_status:x\n" LAST, false, 3, 12,
      "invalid HTTP status code", "http_status:404" },
    { "ingress:\n- hostname: a.b:80\n" BY LAST, false, 2, 13, "cannot contain a port",
      "write the name alone: a.b" },
    { "ingress:\n- hostname: https://a.b/\n" BY LAST, false, 2, 13, "cannot contain a port",
      "write the name alone: a.b" },
    { "ingress:\n- hostname: a.*.b\n" BY LAST, false, 2, 13, "at most one wildcard",
      "*.b takes names of any depth" },
    { "ingress:\n- hostname: a.b\n" BY, false, 2, 13, "The last ingress rule must",
      "add a rule behind it" },
    { "ingress:\n- path: /x\n" BY, false, 2, 3, "The last ingress rule must",
      "add a rule behind it" },
    { "ingress:\n- service: http://x\n" LAST, false, 2, 3, "Rule #1 is matching",
      "put this rule last" },
    { "ingress:\n- hostname: a.b\n  path: '*.png'\n" BY LAST, false, 3, 9, "invalid regex",
      ".* stands for anything" },
    { "ingress:\n- hostname: a.b\n  path: '('\n" BY LAST, false, 3, 9, "invalid regex", NULL },
    { "originRequest: {tlsTimeout: 5}\ningress:\n" LAST, false, 1, 29, "tlsTimeout: a duration",
      "write 5s" },
    { "originRequest: {tlsTimeout: 5 s}\ningress:\n" LAST, false, 1, 29, "tlsTimeout: a duration",
      "units: ms" },
    { "originRequest: {tlsTimeout: []}\ningress:\n" LAST, false, 1, 29, "tlsTimeout: a duration",
      "such as 30s" },
    { "originRequest: {noTLSVerify: 1}\ningress:\n" LAST, false, 1, 30, "true or false", NULL },
    { "originRequest: []\ningress:\n" LAST, false, 1, 16, "a map is wanted", NULL },
    { "warp-routing: {connectTimeout: 5}\ningress:\n" LAST, false, 1, 32, "a duration is wanted",
      "write 5s" },
    { "warp-routing: {maxActiveFlows: -1}\ningress:\n" LAST, false, 1, 32, "a whole number", NULL },
    { "ingress:\n- a.b\n" LAST, false, 2, 3, "a rule is a map", "- service: http_status:404" },
    { "ingress:\n- hostname: [a]\n" BY LAST, false, 2, 13, "a text is wanted", NULL },
    { "ingress:\n- hostname: a.b\n  method: get\n" BY LAST, false, 3, 11, "in capitals", NULL },
    { "ingress:\n- hostname: a.b\n  service: socks-proxy\n  originRequest: {ipRules: [{}]}\n" LAST,
      false, 4, 18, "no prefix provided", NULL },
    { "ingress:\n- hostname: a.b\n  originRequest: {access: {required: true, audTag: [x]}}\n" BY
          LAST,
      false, 3, 18, "access.TeamName cannot be blank", NULL },
    { "x: 1\n", false, 0, 0, "doesn't contain any ingress rules", "write ingress:" },
    { "ingress: {}\n", false, 1, 10, "must be a list", NULL },
    /* keys that nobody knows */
    { "ingres: []\ningress:\n" LAST, true, 1, 1, "no key or option ingres",
      "did you mean ingress?" },
    { "logleve: debug\ningress:\n" LAST, true, 1, 1, "no key or option logleve", "loglevel?" },
    { "Tunnel: x\ningress:\n" LAST, true, 1, 1, "no key or option Tunnel", "did you mean tunnel?" },
    { "logfile: x\ningress:\n" LAST, true, 1, 1, "no key or option logfile", NULL },
    { "originRequest: {conectTimeout: 3s}\ningress:\n" LAST, true, 1, 17, "no key conectTimeout",
      "did you mean connectTimeout?" },
    { "ingress:\n- hostname: a.b\n" BY "  noTLSVerify: true\n" LAST, true, 4, 3,
      "no key noTLSVerify", "noTLSVerify belongs under originRequest" },
    { "ingress:\n- Hostname: a.b\n  path: /x\n" BY LAST, true, 2, 3, "no key Hostname",
      "did you mean hostname?" },
    { "ingress:\n- hostname: a.b\n  methods: GET\n" BY LAST, true, 3, 3, "no key methods",
      "did you mean method?" },
    { "originRequest: {access: {teamname: x}}\ningress:\n" LAST, true, 1, 26, "no key teamname",
      "did you mean teamName?" },
    { "originRequest: {ipRules: [{port: 1}]}\ningress:\n" LAST, true, 1, 28, "no key port",
      "did you mean ports?" },
    { "connectTimeout: 3s\ningress:\n" LAST, true, 1, 1, "no key or option connectTimeout",
      "belongs under originRequest" },
    /* rules that no request reaches */
    { "ingress:\n- hostname: a.b\n" BY "- hostname: a.b\n" BY LAST, true, 4, 3,
      "rule #2 can never match: rule #1 of line 2 has the same", "remove one of them" },
    { "ingress:\n- hostname: '*.b'\n" BY "- hostname: a.b\n" BY LAST, true, 4, 3,
      "rule #2 can never match: rule #1 of line 2 comes first", "in front of rule #1" },
    { "ingress:\n- hostname: '*.b'\n" BY "- hostname: '*.a.b'\n" BY LAST, true, 4, 3, "rule #2",
      "front" },
    { "ingress:\n- hostname: a.b\n" BY "- hostname: a.b\n  path: /x\n" BY LAST, true, 4, 3,
      "rule #2", "front" },
    { "ingress:\n- path: /\n" BY "- hostname: a.b\n  path: /x\n" BY LAST, true, 4, 3, "rule #2",
      "front" },
    { "ingress:\n- path: /x\n" BY "- hostname: a.b\n  path: /x\n" BY LAST, true, 4, 3, "rule #2",
      "front" },
    { "ingress:\n- hostname: a.b\n" BY "- hostname: a.b\n  method: GET\n" BY LAST, true, 4, 3,
      "rule #2", "front" },
    /* hostnames that nobody sends */
    { "ingress:\n- hostname: '*.B.c'\n" BY LAST, true, 2, 13, "names in small letters",
      "write *.b.c" },
    { "ingress:\n- hostname: '*.b\xc3\xbc.c'\n" BY LAST, true, 2, 13, "in their ASCII form",
      "write *.xn--b-eha.c" },
    { "ingress:\n- hostname: '*b.c'\n" BY LAST, true, 2, 13, "a star stands",
      "did you mean *.b.c?" },
    { "ingress:\n- hostname: a b\n" BY LAST, true, 2, 13, "no hostname has such characters", NULL },
    { "ingress:\n- hostname: a..b\n" BY LAST, true, 2, 13, "an empty label", NULL },
    { "ingress:\n- hostname: a.b.\n" BY LAST, true, 2, 13, "an empty label", NULL },
    /* paths that match nothing */
    { "ingress:\n- path: ^api\n" BY LAST, true, 2, 9, "^api wants something else than the slash",
      "did you mean ^/api?" },
    { "ingress:\n- path: '^[^/]'\n" BY LAST, true, 2, 9, "something else than the slash", NULL },
    /* without effect */
    { "ingress:\n- hostname: a.b\n  originRequest: {noTLSVerify: true}\n" BY LAST, true, 3, 19,
      "noTLSVerify has no effect", "https://" },
    { "ingress:\n- hostname: a.b\n  originRequest: {originServerName: x}\n" BY LAST, true, 3, 19,
      "originServerName has no effect", "https://" },
    { "ingress:\n- hostname: a.b\n  originRequest: {httpHostHeader: x}\n  service: unix:/x\n" LAST,
      true, 3, 19, "httpHostHeader has no effect", NULL },
    { "ingress:\n- hostname: a.b\n  originRequest: {access: {required: true, teamName: t}}\n" BY
          LAST,
      true, 3, 19, "nobody is let in", "audience tag" },
    { "ingress:\n- hostname: a.b\n  service: https://a\n  originRequest: {caPool: "
      "/nowhere/x}\n" LAST,
      true, 4, 27, "/nowhere/x cannot be read", NULL },
};

TEST(each_mistake_has_its_place_its_words_and_a_hint)
{
    for (size_t i = 0; i < sizeof FINDINGS / sizeof FINDINGS[0]; i++) {
        struct arena a;
        struct ingress_report r;
        check(FINDINGS[i].yaml, &a, &r);
        /* "x: 1" has an unknown key besides. */
        size_t want = FINDINGS[i].line == 0 ? 2 : 1;
        const struct ingress_finding *f = &r.list[0];
        for (size_t k = want; k < r.count; k++)
            print_error("more: %u:%u %s\n", r.list[k].line, r.list[k].column, r.list[k].text);
        if (r.count != want || f->is_warning != FINDINGS[i].is_warning ||
            f->line != FINDINGS[i].line || f->column != FINDINGS[i].column ||
            strstr(f->text, FINDINGS[i].text) == NULL ||
            (f->hint == NULL) != (FINDINGS[i].hint == NULL) ||
            (f->hint != NULL && strstr(f->hint, FINDINGS[i].hint) == NULL))
            fail_msg("%s: %zu, %d %u:%u %s (%s)", FINDINGS[i].yaml, r.count,
                     r.count > 0 && f->is_warning, f->line, f->column, r.count > 0 ? f->text : "",
                     r.count > 0 && f->hint != NULL ? f->hint : "");
        CHECK(r.mistakes + r.warnings == r.count);
        arena_done(&a);
    }
}

/* Nothing is to be said of these. */
static const char *const GOOD[] = {
    "ingress:\n" LAST,
    "tunnel: x\ncredentials-file: y\nloglevel: info\nwarp-routing: {enabled: "
    "true}\ningress:\n" LAST,
    /* conditions and paths leave something over */
    "ingress:\n- hostname: a.b\n  method: GET\n" BY "- hostname: a.b\n" BY LAST,
    "ingress:\n- hostname: a.b\n  headers: {X: '*'}\n" BY "- hostname: a.b\n" BY LAST,
    "ingress:\n- hostname: a.b\n  path: /x\n" BY "- hostname: a.b\n  path: /y\n" BY LAST,
    "ingress:\n- hostname: a.b\n  path: /x\n" BY "- hostname: a.b\n" BY LAST,
    "ingress:\n- hostname: a.b\n" BY "- hostname: '*.b'\n" BY LAST,
    "ingress:\n- hostname: '*.a.b'\n" BY "- hostname: '*.b'\n" BY LAST,
    "ingress:\n- hostname: '*.b'\n" BY "- hostname: b\n" BY LAST,
    "ingress:\n- hostname: '*.b'\n" BY "- hostname: xb\n" BY LAST,
    /* names that clients send, in one form or another */
    "ingress:\n- hostname: A.b\n" BY "- hostname: b\xc3\xbc.c\n" BY "- hostname: u_x.c\n" BY LAST,
    "ingress:\n- hostname: '::1'\n" BY LAST,
    /* expressions that may match */
    "ingress:\n- path: ^/api\n" BY "- path: ^a?/x\n" BY "- path: ^a*\n" BY "- path: ^a|/b\n" BY
    "- path: '^[^a]'\n" BY "- path: '^[^/]*'\n" BY "- path: ^.*x\n" BY "- path: ^a{0}/y\n" BY LAST,
    "ingress:\n- hostname: a.b\n  service: https://a\n  originRequest: {noTLSVerify: true}\n" LAST,
    "ingress:\n- hostname: a.b\n  originRequest: {noTLSVerify: false, caPool: ''}\n" BY LAST,
};

TEST(what_is_good_is_left_alone)
{
    (void)state_;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        struct arena a;
        struct ingress_report r;
        check(GOOD[i], &a, &r);
        if (r.count > 0)
            fail_msg("%s: %u:%u %s", GOOD[i], r.list[0].line, r.list[0].column, r.list[0].text);
        arena_done(&a);
    }
}

TEST(every_mistake_of_a_file_is_told_and_the_references_comes_first)
{
    struct arena a;
    struct ingress_report r;
    check("warp-routing: {tcpKeepAlive: 1}\ningress:\n- hostname: a:1\n  path: '('\n  service: x\n"
          "  originRequest: {tlsTimeout: 1, tcpKeepAlive: 2, proxyPort: -1}\n- service: y\n" LAST,
          &a, &r);
    static const unsigned LINES[] = { 6, 1, 3, 4, 5, 6, 6, 7, 7 };
    CHECK(r.mistakes == 9 && r.warnings == 0 && r.count == 9);
    for (size_t i = 0; i < r.count; i++)
        CHECK(r.list[i].line == LINES[i]);
    CHECK(strstr(r.list[0].text, "tlsTimeout") != NULL);
    arena_done(&a);
}

TEST(no_more_is_told_than_anybody_reads)
{
    struct arena a;
    struct ingress_report r;
    struct strb s;
    strb_init(&s, 1 << 20);
    strb_str(&s, "ingress:\n");
    for (unsigned i = 0; i < 2 * FINDINGS_MAX; i++)
        strb_fmt(&s, "- {hostname: a%u, service: x}\n", i);
    strb_str(&s, LAST);
    check(s.p, &a, &r);
    CHECK(r.count == FINDINGS_MAX && r.mistakes == 2 * FINDINGS_MAX);
    CHECK(r.list[FINDINGS_MAX - 1].line == FINDINGS_MAX + 1);
    arena_done(&a);
    strb_done(&s);
}

TEST(verdicts_are_those_of_the_reader)
{
    json_error_t e;
    json_t *doc = json_load_file(VECTORS "/ingress.json", 0, &e), *one;
    size_t i, refused = 0;
    assert_non_null(doc);
    json_array_foreach(json_object_get(json_object_get(doc, "vectors"), "validate"), i, one)
    {
        struct arena a;
        struct ingress_report r;
        struct yaml_node *root = NULL;
        struct ingress *in = NULL;
        struct fault f = { 0 };
        const char *yaml = json_string_value(json_object_get(one, "yaml"));
        arena_init(&a, 8 << 20);
        bool is_yaml = yaml_parse(slice_str(yaml), "config.yml", &a, &root, &f) == 0;
        arena_done(&a);
        if (!is_yaml)
            continue;
        check(yaml, &a, &r);
        struct yaml_node *again = NULL;
        CHECK_OK(yaml_parse(slice_str(yaml), "config.yml", &a, &again, &f));
        int verdict = ingress_from_yaml(again, "config.yml", &in, &f);
        if ((verdict < 0) != (r.mistakes > 0))
            fail_msg("%s", yaml);
        if (verdict < 0)
            assert_string_equal(r.list[0].text, f.text);
        refused += verdict < 0;
        ingress_unref(in);
        arena_done(&a);
    }
    CHECK(refused > 50);
    json_decref(doc);
}

TEST(every_key_that_is_read_is_known)
{
    struct config_key key;
    static const char *const NAMES[] = {
#define KEY(name, kind, field, ours) name,
#include "connector/origin_request.def"
#undef KEY
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        CHECK(config_find(&CONFIG_ORIGIN_REQUEST, slice_str(NAMES[i]), false, &key));
    CHECK(config_find(&CONFIG_RULE, SLICE("pathPrefixStrip"), false, &key));
    CHECK(!config_find(&CONFIG_RULE, SLICE("PathPrefixStrip"), false, &key));
    CHECK(config_find(&CONFIG_RULE, SLICE("PathPrefixStrip"), true, &key));
    CHECK_SLICE(slice_str(key.name), SLICE("pathPrefixStrip"));
}

TESTS(RUN(each_mistake_has_its_place_its_words_and_a_hint), RUN(what_is_good_is_left_alone),
      RUN(every_mistake_of_a_file_is_told_and_the_references_comes_first),
      RUN(no_more_is_told_than_anybody_reads), RUN(verdicts_are_those_of_the_reader),
      RUN(every_key_that_is_read_is_known))
