#include <jansson.h>

#include "connector/ingress.h"
#include "test.h"

static json_t *vectors(void)
{
    json_error_t e;
    json_t *doc = json_load_file(VECTORS "/ingress.json", 0, &e);
    assert_non_null(doc);
    return doc;
}

static int load(const char *text, struct arena *a, struct ingress **ret, struct fault *f)
{
    struct yaml_node *root = NULL;
    int r = yaml_parse(slice_str(text), "config.yml", a, &root, f);
    return r < 0 ? r : ingress_from_yaml(root, "config.yml", ret, f);
}

TEST(every_match_vector_gives_the_references_rule)
{
    json_t *doc = vectors(), *set, *one;
    size_t i, k, checked = 0;
    json_array_foreach(json_object_get(json_object_get(doc, "vectors"), "match"), i, set)
    {
        struct arena a;
        struct ingress *in = NULL;
        struct fault f = { 0 };
        const char *name = json_string_value(json_object_get(set, "name"));
        arena_init(&a, 1 << 20);
        if (load(json_string_value(json_object_get(set, "yaml")), &a, &in, &f) < 0)
            fail_msg("%s: %s", name, f.text);
        json_array_foreach(json_object_get(set, "cases"), k, one)
        {
            const char *host = json_string_value(json_object_get(one, "host"));
            const char *path = json_string_value(json_object_get(one, "path"));
            int want = (int)json_integer_value(json_object_get(one, "rule"));
            int got = ingress_is_internal(slice_str(host))
                          ? -1
                          : (int)ingress_match(in, slice_str(host), slice_str(path));
            if (got != want)
                fail_msg("%s: host %s path %s: rule %d, want %d", name, host, path, got, want);
            checked++;
        }
        ingress_unref(in);
        arena_done(&a);
    }
    CHECK(checked == 80);
    json_decref(doc);
}

/* The rules of an accepted configuration, as the reference read them. */
static void check_rules(const char *name, const struct ingress *in, const json_t *rules)
{
    const json_t *one;
    size_t i;
    json_array_foreach(rules, i, one)
    {
        const struct rule *r = ingress_rule(in, i);
        if (!slice_eq(r->hostname,
                      slice_str(json_string_value(json_object_get(one, "hostname")))) ||
            !slice_eq(r->service.text,
                      slice_str(json_string_value(json_object_get(one, "service")))))
            fail_msg("%s: rule %zu is %.*s to %.*s", name, i, SLICE_FMT(r->hostname),
                     SLICE_FMT(r->service.text));
    }
    assert_int_equal(i, ingress_count(in));
}

TEST(every_configuration_vector_gets_its_verdict_and_text)
{
    json_t *doc = vectors(), *one;
    size_t i, refused = 0, in_words = 0;
    json_array_foreach(json_object_get(json_object_get(doc, "vectors"), "validate"), i, one)
    {
        struct arena a;
        struct ingress *in = NULL;
        struct fault f = { 0 };
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *want = json_string_value(json_object_get(one, "error"));
        arena_init(&a, 1 << 20);
        int r = load(json_string_value(json_object_get(one, "yaml")), &a, &in, &f);
        arena_done(&a); /* the rules do not need the document any more */
        if ((r < 0) != (want != NULL))
            fail_msg("%s: %s, want %s", name, r < 0 ? f.text : "accepted",
                     want != NULL ? want : "accepted");
        if (want == NULL)
            check_rules(name, in, json_object_get(one, "rules"));
        refused += want != NULL;
        /* What a library says about YAML or a regular expression is in its own words: of ours the
         * reference's lead to the expression remains. */
        bool is_yaml = want != NULL && strncmp(want, "YAML", 4) == 0;
        const char *regex = want != NULL ? strstr(want, "has an invalid regex: ") : NULL;
        size_t same =
            regex != NULL ? (size_t)(regex - want) + strlen("has an invalid regex: ") : 511;
        if (want != NULL && !is_yaml && strncmp(f.text, want, same) != 0)
            fail_msg("%s: \"%s\", want \"%s\"", name, f.text, want);
        in_words += want != NULL && !is_yaml && regex == NULL;
        ingress_unref(in);
    }
    CHECK(i == 72 && refused == 59);
    CHECK(in_words == 42);
    json_decref(doc);
}

TEST(a_fault_has_its_file_line_and_column)
{
    struct arena a;
    struct ingress *in = NULL;
    struct fault f = { 0 };
    arena_init(&a, 1 << 20);
    CHECK_ERR(ERR_PARSE, load("ingress:\n- service: http://a\n- service: nope\n", &a, &in, &f));
    CHECK(strcmp(f.where, "config.yml") == 0 && f.line == 2);
    arena_done(&a);
}

TESTS(RUN(every_match_vector_gives_the_references_rule),
      RUN(every_configuration_vector_gets_its_verdict_and_text),
      RUN(a_fault_has_its_file_line_and_column))
