#include <jansson.h>

#include "connector/local_config.h"
#include "test.h"

/* Steps whose document only the reader of remote configuration can take: it matches keys without
 * regard to case, and lets durations wrap. */
static const char *const REMOTE_ONLY[] = { "unknown_keys", "key_case", "duration_huge" };

static bool is_remote_only(const char *name)
{
    for (size_t i = 0; i < sizeof REMOTE_ONLY / sizeof REMOTE_ONLY[0]; i++)
        if (strcmp(name, REMOTE_ONLY[i]) == 0)
            return true;
    return false;
}

/* Remote documents have whole seconds where local ones have durations. */
static void localise(json_t *value)
{
    static const char *const TIMES[] = { "connectTimeout", "tlsTimeout", "tcpKeepAlive",
                                         "keepAliveTimeout" };
    const char *key;
    json_t *member;
    size_t i;
    json_array_foreach(value, i, member) localise(member);
    for (i = 0; i < sizeof TIMES / sizeof TIMES[0]; i++) {
        const json_t *time = json_object_get(value, TIMES[i]);
        char text[32];
        (void)snprintf(text, sizeof text, "%llds", (long long)json_integer_value(time));
        if (json_is_integer(time))
            json_object_set_new(value, TIMES[i], json_string(text));
    }
    json_object_foreach(value, key, member) localise(member);
}

/* What would be told of this document, as JSON; NULL when it is refused. */
static json_t *told(const char *yaml, json_t *flags)
{
    struct arena a;
    struct yaml_node *root = NULL;
    struct ingress *in = NULL;
    struct warp_routing w;
    struct fault f = { 0 };
    struct strb out;
    const char *set[9] = { NULL }, *key;
    json_t *value, *ret = NULL;
    size_t n = 0;
    arena_init(&a, 1 << 20);
    strb_init(&out, 1 << 20);
    warp_routing_defaults(&w);
    json_object_foreach(flags, key, value)
    {
        set[n++] = key;
        set[n++] = json_string_value(value);
        if (strcmp(key, "max-active-flows") == 0)
            w.max_flows = strtoull(json_string_value(value), NULL, 10);
    }
    int r = yaml_parse(slice_str(yaml), "config.yml", &a, &root, &f);
    if (r == 0)
        r = warp_routing_from_yaml(root, "config.yml", &w, &f);
    if (json_object_get(flags, "max-active-flows") != NULL)
        w.max_flows =
            strtoull(json_string_value(json_object_get(flags, "max-active-flows")), NULL, 10);
    if (r == 0 && (yaml_get(root, "ingress") == NULL || yaml_get(root, "ingress")->first == NULL))
        r = ingress_single("http_status:503", &(struct origin_request){ 0 }, &in, &f);
    else if (r == 0)
        r = ingress_from_yaml(root, "config.yml", &in, &f);
    arena_done(&a); /* the rules must not need the document any more */
    if (r == 0) {
        local_configuration_write(&out, in, &w, set);
        assert_int_equal(out.err, 0);
        ret = json_loadb(out.p, out.n, 0, NULL);
        assert_non_null(ret);
    }
    ingress_unref(in);
    strb_done(&out);
    return ret;
}

static void compare(const char *name, json_t *got, const json_t *want)
{
    if (got == NULL || !json_equal(got, (json_t *)(uintptr_t)want)) {
        char *text = json_dumps(got, JSON_SORT_KEYS);
        fail_msg("%s: %s", name, text != NULL ? text : "refused");
    }
    json_decref(got);
}

TEST(what_the_reference_reports_of_a_configuration_is_reported)
{
    json_error_t e;
    json_t *doc = json_load_file(VECTORS "/config_remote.json", 0, &e), *one;
    size_t i, checked = 0;
    assert_non_null(doc);
    json_array_foreach(json_object_get(doc, "vectors"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const json_t *steps = json_object_get(one, "steps"), *step = json_array_get(steps, 0);
        const char *error = json_string_value(json_object_get(step, "error"));
        json_t *config = json_loads(json_string_value(json_object_get(step, "config_text")), 0, &e);
        /* One step that is accepted: more of them are about versions, which local ones have not. */
        if (json_array_size(steps) == 1 && error[0] == 0 && json_is_object(config) &&
            !is_remote_only(name)) {
            localise(config);
            char *yaml = json_dumps(config, 0);
            compare(name, told(yaml, json_object_get(one, "flags")),
                    json_object_get(step, "reported_local_config"));
            free(yaml);
            checked++;
        }
        json_decref(config);
    }
    CHECK(i == 44);
    CHECK(checked == 20);
    json_decref(doc);
}

TEST(a_local_file_is_reported_as_the_reference_does)
{
    json_error_t e;
    json_t *doc = json_load_file(VECTORS "/config_remote.json", 0, &e), *one;
    size_t i, checked = 0;
    assert_non_null(doc);
    json_array_foreach(json_object_get(doc, "vectors"), i, one)
    {
        const char *yaml = json_string_value(json_object_get(one, "local_yaml"));
        if (yaml == NULL)
            continue;
        compare(json_string_value(json_object_get(one, "name")),
                told(yaml, json_object_get(one, "flags")),
                json_object_get(one, "initial_reported_local_config"));
        checked++;
    }
    CHECK(checked == 1);
    json_decref(doc);
}

TEST(parts_of_seconds_are_told)
{
    json_t *got =
        told("ingress: [{service: 'http://a', originRequest: {connectTimeout: 1500ms}}]", NULL);
    const json_t *rule = json_array_get(json_object_get(got, "ingress"), 0);
    CHECK(json_real_value(
              json_object_get(json_object_get(rule, "originRequest"), "connectTimeout")) == 1.5);
    json_decref(got);
}

TESTS(RUN(what_the_reference_reports_of_a_configuration_is_reported),
      RUN(a_local_file_is_reported_as_the_reference_does), RUN(parts_of_seconds_are_told))
