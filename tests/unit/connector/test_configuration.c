/* Every scenario of configurations that an edge sends: what is answered, what is in force then, and
 * what would be reported of it. */
#include <jansson.h>

#include "connector/configuration.h"
#include "connector/effective_config.h"
#include "connector/local_config.h"
#include "test.h"

#define STEPS 52

static json_t *vectors(void)
{
    json_error_t e;
    json_t *doc = json_load_file(VECTORS "/config_remote.json", 0, &e);
    assert_non_null(doc);
    return doc;
}

static const char *text(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* What a connector begins with: the scenario's file, or no rules at all. */
static void begin(struct configuration *c, const json_t *scenario)
{
    struct ingress *in = NULL;
    struct warp_routing w;
    struct fault f = { 0 };
    struct arena a;
    const char *yaml = text(scenario, "local_yaml");
    arena_init(&a, 1 << 20);
    warp_routing_defaults(&w);
    if (yaml != NULL) {
        struct yaml_node *root = NULL;
        assert_int_equal(yaml_parse(slice_str(yaml), "config.yml", &a, &root, &f), 0);
        assert_int_equal(warp_routing_from_yaml(root, "config.yml", &w, &f), 0);
        assert_int_equal(ingress_from_yaml(root, "config.yml", &in, &f), 0);
    } else {
        assert_int_equal(ingress_without_rules(NULL, "", &in, &f), 0);
    }
    arena_done(&a);
    configuration_init(c, in, &w);
    ingress_unref(in);
}

static json_t *parse(struct strb *s)
{
    assert_int_equal(s->err, 0);
    json_t *value = json_loadb(s->p, s->n, 0, NULL);
    assert_non_null(value);
    strb_done(s);
    return value;
}

static json_t *effective(const struct configuration *c)
{
    struct strb s;
    strb_init(&s, 1 << 20);
    effective_config_write(&s, c->version, c->ingress, &c->warp);
    return parse(&s);
}

static json_t *reported(const struct configuration *c, json_t *flags)
{
    const char *set[9] = { NULL }, *key;
    json_t *value;
    struct strb s;
    size_t n = 0;
    json_object_foreach(flags, key, value)
    {
        /* "many (set after start …)" in the scenario's notes: the value alone is told. */
        const char *told = json_string_value(value);
        set[n++] = key;
        set[n++] = strncmp(told, "many", 4) == 0 ? "many" : told;
    }
    strb_init(&s, 1 << 20);
    local_configuration_write(&s, c->ingress, &c->warp, set);
    return parse(&s);
}

static void compare(const char *name, const char *what, json_t *got, const json_t *want)
{
    if (!json_equal(got, (json_t *)(uintptr_t)want)) {
        char *text = json_dumps(got, JSON_SORT_KEYS);
        fail_msg("%s, %s: %s", name, what, text);
    }
    json_decref(got);
}

/* On purpose otherwise: what stands above the rules is enforced here, so it has its handler. */
static void expect_global_access(json_t *want)
{
    json_t *rules = json_object_get(json_object_get(want, "config"), "ingress");
    json_object_set_new(json_array_get(rules, 0), "Handlers", json_pack("[{}]"));
}

static void run_step(const char *name, struct configuration *c, const json_t *step, json_t *flags)
{
    struct fault f;
    int32_t version = (int32_t)json_integer_value(json_object_get(step, "version"));
    int32_t before = c->version;
    json_t *want = json_object_get(step, "effective");
    bool is_new = configuration_apply(c, version, slice_str(text(step, "config_text")), &f);
    assert_true(is_new == (c->version != before));
    if (c->version != json_integer_value(json_object_get(step, "last_applied_version")))
        fail_msg("%s: version %d", name, c->version);
    if (strcmp(f.code != 0 ? f.text : "", text(step, "error")) != 0)
        fail_msg("%s: \"%s\", want \"%s\"", name, f.text, text(step, "error"));
    if (strcmp(name, "global_access") == 0)
        expect_global_access(want);
    compare(name, "in force", effective(c), want);
    compare(name, "reported", reported(c, flags), json_object_get(step, "reported_local_config"));
}

TEST(every_scenario_ends_as_with_the_reference)
{
    json_t *doc = vectors(), *one, *step;
    size_t i, k, steps = 0;
    json_array_foreach(json_object_get(doc, "vectors"), i, one)
    {
        const char *name = text(one, "name");
        json_t *flags = json_object_get(one, "flags");
        const char *flag = text(flags, "max-active-flows");
        struct configuration c;
        begin(&c, one);
        c.max_flows = flag != NULL && strncmp(flag, "many", 4) == 0 ? "many" : flag;
        if (text(one, "local_yaml") != NULL) {
            compare(name, "at first", effective(&c), json_object_get(one, "initial_effective"));
            compare(name, "reported at first", reported(&c, flags),
                    json_object_get(one, "initial_reported_local_config"));
        }
        json_array_foreach(json_object_get(one, "steps"), k, step)
        {
            run_step(name, &c, step, flags);
            steps++;
        }
        configuration_done(&c);
    }
    CHECK(i == 44 && steps == STEPS);
    json_decref(doc);
}

/* ---- what the scenarios do not have ---- */

static const struct {
    const char *json, *error; /* "" = it is taken */
} TEXTS[] = {
    { "{\"ingress\":[{\"service\":\"http_status:404\"}],\"ingress\":[]}", "" },
    { "{\"ingress\":[{\"hostname\":null,\"path\":null,\"service\":\"http_status:404\"}]}", "" },
    { "{\"INGRESS\":[{\"Service\":\"http_status:404\"}]}", "" },
    { "{\"ingress\":[null]}",
      " is an invalid address, please make sure it has a scheme and a hostname" },
    { "{\"ingress\":{}}", "json: cannot unmarshal object into Go struct field "
                          "RemoteConfigJSON.ingress of type []config.UnvalidatedIngressRule" },
    { "{\"ingress\":[7]}", "json: cannot unmarshal number into Go struct field "
                           "RemoteConfigJSON.ingress of type config.UnvalidatedIngressRule" },
    { "{\"originRequest\":[]}",
      "json: cannot unmarshal array into Go struct field "
      "RemoteConfigJSON.originRequest of type config.OriginRequestConfig" },
    { "{\"originRequest\":{\"access\":{\"audTag\":\"x\"}}}",
      "json: cannot unmarshal string into Go struct field AccessConfig.originRequest.access.audTag "
      "of type []string" },
    { "{\"originRequest\":{\"ipRules\":[{\"ports\":[80,\"81\"]}]}}",
      "json: cannot unmarshal string into Go struct field "
      "IngressIPRule.originRequest.ipRules.ports of type int" },
    { "{\"warp-routing\":{\"maxActiveFlows\":true}}",
      "json: cannot unmarshal bool into Go struct field WarpRoutingConfig.warp-routing."
      "maxActiveFlows of type uint64" },
    { "{\"warp-routing\":{\"tcpKeepAlive\":\"\"}}",
      "strconv.ParseInt: parsing \"\\\"\\\"\": invalid syntax" },
    { "\"x\"", "json: cannot unmarshal string into Go value of type ingress.RemoteConfigJSON" },
    { "{\"ingress\":[{\"service\":\"http_status:404\"}],}",
      "invalid character '}' looking for beginning of object key string" },
};

TEST(other_mistakes_have_the_references_words)
{
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        struct configuration c;
        struct fault f;
        begin(&c, NULL);
        bool is_new = configuration_apply(&c, 1, slice_str(TEXTS[i].json), &f);
        if (strcmp(f.code != 0 ? f.text : "", TEXTS[i].error) != 0)
            fail_msg("%s: \"%s\"", TEXTS[i].json, f.text);
        CHECK(is_new == (TEXTS[i].error[0] == 0));
        configuration_done(&c);
    }
}

TEST(of_a_key_that_comes_again_the_last_one_counts)
{
    struct configuration c;
    struct fault f;
    begin(&c, NULL);
    CHECK(configuration_apply(
        &c, 1,
        SLICE("{\"a\":1,\"originRequest\":{\"tlsTimeout\":1,\"x\":2,\"TLSTIMEOUT\":2,\"proxyPort\":"
              "3,\"tlstimeout\":4,\"caPool\":\"\"},\"ingress\":[{\"service\":\"http_status:1\"}],"
              "\"ingress\":[{\"service\":\"http_status:404\"}]}"),
        &f));
    CHECK(ingress_global(c.ingress)->tls_timeout == 4 * (int64_t)NSEC_PER_SEC);
    CHECK(ingress_global(c.ingress)->proxy_port == 3);
    CHECK(ingress_rule(c.ingress, 0)->service.status == 404);
    configuration_done(&c);
}

/* Beyond the reference: what it does not have is shown where it is set, and is taken from an edge.
 */
TEST(keys_of_our_own_are_taken_and_shown)
{
    static const char SENT[] =
        "{\"ingress\":[{\"hostname\":\"a\",\"service\":\"https://"
        "a\",\"METHOD\":[\"GET\"],\"headers\":{"
        "\"X\":\"1\"},\"proxyProtocol\":\"v2\",\"balance\":null,\"originRequest\":{"
        "\"responseTimeout\":5}},{\"service\":\"http_status:404\"}]}";
    struct configuration c;
    struct fault f;
    begin(&c, NULL);
    if (!configuration_apply(&c, 1, slice_str(SENT), &f))
        fail_msg("%s", f.text);
    json_t *shown = effective(&c);
    const json_t *rules = json_object_get(json_object_get(shown, "config"), "ingress"),
                 *rule = json_array_get(rules, 0);
    json_t *want = json_pack("{s:[s],s:{s:s},s:s}", "method", "GET", "headers", "X", "1",
                             "proxyProtocol", "v2");
    const char *key;
    json_t *value;
    json_object_foreach(want, key, value) CHECK(json_equal(json_object_get(rule, key), value));
    CHECK(json_object_size(rule) == 5 + 3);
    CHECK(json_object_size(json_array_get(rules, 1)) == 5);
    CHECK(json_integer_value(
              json_object_get(json_object_get(rule, "originRequest"), "responseTimeout")) == 5);
    CHECK(json_object_get(json_object_get(json_array_get(rules, 1), "originRequest"),
                          "responseTimeout") == NULL);
    json_decref(want);
    json_decref(shown);
    configuration_done(&c);
}

TEST(what_is_in_use_outlives_its_configuration)
{
    struct configuration c;
    struct fault f;
    begin(&c, NULL);
    struct ingress *used = ingress_ref(c.ingress);
    CHECK(configuration_apply(&c, 0, SLICE("{}"), &f));
    CHECK(c.ingress != used);
    CHECK_SLICE(ingress_rule(used, 0)->service.text, SLICE("http_status:503"));
    ingress_unref(used);
    configuration_done(&c);
}

TEST(a_connector_that_is_local_only_takes_nothing)
{
    struct configuration c;
    struct fault f;
    begin(&c, NULL);
    c.is_local_only = true;
    CHECK(!configuration_apply(&c, 1, SLICE("{}"), &f));
    CHECK(f.code == ERR_DENIED && strstr(f.text, "--no-remote-config") != NULL);
    CHECK(!configuration_apply(&c, -1, SLICE("{}"), &f));
    CHECK(f.code == 0 && c.version == -1);
    configuration_done(&c);
}

TESTS(RUN(every_scenario_ends_as_with_the_reference), RUN(other_mistakes_have_the_references_words),
      RUN(of_a_key_that_comes_again_the_last_one_counts), RUN(keys_of_our_own_are_taken_and_shown),
      RUN(what_is_in_use_outlives_its_configuration),
      RUN(a_connector_that_is_local_only_takes_nothing))
