#include "conf/json_tree.h"
#include "test.h"

static int parse(struct slice text, struct arena *a, struct yaml_node **ret, struct fault *f)
{
    arena_init(a, 64 << 20);
    return json_tree_parse(text, a, ret, f);
}

static const struct {
    const char *text, *error;
    unsigned line, column;
} BAD[] = {
    { "", "unexpected end of JSON input", 1, 1 },
    { "  ", "unexpected end of JSON input", 1, 3 },
    { "{", "unexpected end of JSON input", 1, 2 },
    { "{\"a", "unexpected end of JSON input", 1, 4 },
    { "{\"a\\", "unexpected end of JSON input", 1, 5 },
    { "[1", "unexpected end of JSON input", 1, 3 },
    { "-", "unexpected end of JSON input", 1, 2 },
    { "tru", "unexpected end of JSON input", 1, 4 },
    { "x", "invalid character 'x' looking for beginning of value", 1, 1 },
    { "'", "invalid character '\\'' looking for beginning of value", 1, 1 },
    { "\xc3\xa4", "invalid character '\xc3\xa4' looking for beginning of value", 1, 1 },
    { "\x01", "invalid character '\\x01' looking for beginning of value", 1, 1 },
    { "[1,]", "invalid character ']' looking for beginning of value", 1, 4 },
    { "{a", "invalid character 'a' looking for beginning of object key string", 1, 2 },
    { "{\"a\" 1", "invalid character '1' after object key", 1, 6 },
    { "{\"a\":1 2", "invalid character '2' after object key:value pair", 1, 8 },
    { "[1 2", "invalid character '2' after array element", 1, 4 },
    { "[\n1\n] \n x", "invalid character 'x' after top-level value", 4, 2 },
    { "\"\n\"", "invalid character '\\n' in string literal", 1, 2 },
    { "\"\\x\"", "invalid character 'x' in string escape code", 1, 3 },
    { "\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape", 1, 6 },
    { "-x", "invalid character 'x' in numeric literal", 1, 2 },
    { "01", "invalid character '1' after top-level value", 1, 2 },
    { "1.x", "invalid character 'x' after decimal point in numeric literal", 1, 3 },
    { "1e+x", "invalid character 'x' in exponent of numeric literal", 1, 4 },
    { "nulx", "invalid character 'x' in literal null (expecting 'l')", 1, 4 },
};

TEST(what_is_no_json_is_refused_in_the_references_words_with_its_place)
{
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct arena a;
        struct yaml_node *root = NULL;
        struct fault f = { 0 };
        CHECK_ERR(ERR_PARSE, parse(slice_str(BAD[i].text), &a, &root, &f));
        if (strcmp(f.text, BAD[i].error) != 0 || f.line != BAD[i].line || f.column != BAD[i].column)
            fail_msg("%s: %u:%u \"%s\"", BAD[i].text, f.line, f.column, f.text);
        CHECK(root == NULL);
        arena_done(&a);
    }
}

TEST(values_keep_their_kind_their_text_and_their_place)
{
    struct arena a;
    struct yaml_node *root = NULL;
    struct fault f = { 0 };
    CHECK_OK(parse(SLICE("{\"a\": [1.50, true],\n \"b\": \"true\", \"c\": null, \"d\": {}}"), &a,
                   &root, &f));
    const struct yaml_node *list = yaml_get(root, "a"), *b = yaml_get(root, "b");
    CHECK(root->kind == YAML_MAP && list->kind == YAML_LIST);
    CHECK_SLICE(list->first->text, SLICE("1.50"));
    CHECK(list->first->is_plain && list->first->next->is_plain);
    CHECK(!b->is_plain && b->line == 2 && b->column == 7);
    CHECK(b->key_line == 2 && b->key_column == 2);
    CHECK(yaml_is_null(yaml_get(root, "c")));
    CHECK(yaml_get(root, "d")->kind == YAML_MAP && yaml_get(root, "d")->first == NULL);
    arena_done(&a);
}

static const struct {
    const char *json, *text;
} STRINGS[] = {
    { "\"\"", "" },
    { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
    { "\"\\u0041\\u00e4\\u20ac\"", "A\xc3\xa4\xe2\x82\xac" },
    { "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80" },
    { "\"\\ud83dx\\ude00\"", "\xef\xbf\xbdx\xef\xbf\xbd" },
    { "\"\\ud83d\\u0041\"", "\xef\xbf\xbd\x41" },
    { "\"\xff\xc3\"", "\xef\xbf\xbd\xef\xbf\xbd" },
    { "\"\xf0\x9f\x98\x80\"", "\xf0\x9f\x98\x80" },
};

TEST(strings_are_read_as_by_the_reference)
{
    for (size_t i = 0; i < sizeof STRINGS / sizeof STRINGS[0]; i++) {
        struct arena a;
        struct yaml_node *root = NULL;
        struct fault f = { 0 };
        CHECK_OK(parse(slice_str(STRINGS[i].json), &a, &root, &f));
        CHECK_SLICE(root->text, slice_str(STRINGS[i].text));
        arena_done(&a);
    }
}

TEST(no_prefix_of_a_document_is_one)
{
    static const char WHOLE[] =
        "{\"a\":[1.5e3,-2,\"\\u0041\\n\",true,false,null,{}],\"b\":{\"c\":[]}}";
    for (size_t n = 0; n < sizeof WHOLE - 1; n++) {
        struct arena a;
        struct yaml_node *root = NULL;
        struct fault f = { 0 };
        CHECK_ERR(ERR_PARSE, parse(slice_of(WHOLE, n), &a, &root, &f));
        arena_done(&a);
    }
}

TEST(depth_and_size_are_bounded)
{
    char deep[2 * YAML_DEPTH_MAX + 8];
    struct arena a;
    struct yaml_node *root = NULL;
    struct fault f = { 0 };
    for (size_t n = YAML_DEPTH_MAX; n <= YAML_DEPTH_MAX + 1; n++) {
        memset(deep, '[', n + 1);
        memset(deep + n + 1, ']', n + 1);
        int r = parse(slice_of(deep, 2 * n + 2), &a, &root, &f);
        CHECK(r == (n == YAML_DEPTH_MAX ? 0 : ERR_LIMIT));
        arena_done(&a);
    }
    size_t n = YAML_BYTES_MAX + 1;
    char *large = malloc(n);
    memset(large, ' ', n);
    CHECK_ERR(ERR_TOOLARGE, parse(slice_of(large, n), &a, &root, &f));
    arena_done(&a);
    free(large);
}

TESTS(RUN(what_is_no_json_is_refused_in_the_references_words_with_its_place),
      RUN(values_keep_their_kind_their_text_and_their_place),
      RUN(strings_are_read_as_by_the_reference), RUN(no_prefix_of_a_document_is_one),
      RUN(depth_and_size_are_bounded))
