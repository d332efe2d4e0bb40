#include "codec/json.h"

#include "test.h"

static int parse(struct slice text, json_t **ret, struct fault *f)
{
    *ret = NULL;
    *f = (struct fault){ 0 };
    return json_parse(text, ret, f);
}

TEST(any_kind_of_value_may_stand_at_the_top)
{
    static const char *const GOOD[] = {
        "{}",
        "[]",
        "\"x\"",
        "1",
        "-0.5e3",
        "true",
        "null",
        " \t\r\n{ \"a\" : [ 1 , { } ] } \n",
        "\"\\u00e9\\ud83d\\ude00\xc3\xa9\"",
        "9223372036854775807",
        "\"\"",
    };
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        json_t *value;
        struct fault f;
        if (parse(slice_str(GOOD[i]), &value, &f) < 0)
            fail_msg("%s: %s", GOOD[i], f.text);
        json_decref(value);
    }
    CHECK(true);
}

TEST(what_is_not_strictly_json_is_refused_with_its_place)
{
    static const char *const BAD[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "tru",
        "nul",
        "NaN",
        "Infinity",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"a\nb\"",
        "\"\x01\"",
        "\"\xff\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        "1 2",
        "{} {}",
        "[1]x",
        "// c\n1",
        "/**/1",
        "\xef\xbb\xbf{}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "9223372036854775808",
        "1e999",
        "\"",
        "[\"",
        "{\"a\"",
        "{\"a\":",
        "{\"\\u0000\":1}",
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        json_t *value;
        struct fault f;
        int r = parse(slice_str(BAD[i]), &value, &f);
        if (r != ERR_PARSE || value != NULL || strncmp(f.text, "JSON: ", 6) != 0)
            fail_msg("%s: %d %s", BAD[i], r, f.text);
    }
    json_t *value;
    struct fault f;
    CHECK_ERR(ERR_PARSE, parse((struct slice){ 0 }, &value, &f));
    CHECK_ERR(ERR_PARSE, parse(SLICE("1\0"), &value, &f)); /* the library would let it pass */
    CHECK_ERR(ERR_PARSE, parse(SLICE("[1\0,2]"), &value, &f));
    CHECK_ERR(ERR_PARSE, parse(SLICE("{\n \"a\": x}"), &value, &f));
    CHECK(f.line == 2 && f.column > 0 && f.where[0] == 0);
    CHECK_ERR(ERR_PARSE, json_parse(SLICE("["), &value, NULL));
}

TEST(nesting_is_bounded)
{
    static char text[200001];
    json_t *value;
    struct fault f;
    memset(text, '[', 100000);
    memset(text + 100000, ']', 100000);
    CHECK_ERR(ERR_PARSE, parse(slice_of(text, 200000), &value, &f));
    CHECK_ERR(ERR_PARSE, parse(slice_of(text, 100000), &value, &f));
    for (size_t i = 0; i + 5 < 200000; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    CHECK_ERR(ERR_PARSE, parse(slice_of(text, 200000), &value, &f));
    memset(text, '[', 1000);
    memset(text + 1000, ']', 1000);
    CHECK_OK(parse(slice_of(text, 2000), &value, &f));
    json_decref(value);
}

TEST(every_prefix_is_refused)
{
    static const char TEXT[] = "{\"a\":[1,-2.5e1,true,null,\"x\\u00e9\\n\"],\"b\":{\"c\":\"\"}}";
    for (size_t n = 0; n <= sizeof TEXT - 1; n++) {
        json_t *value;
        struct fault f;
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, TEXT, n);
        CHECK_ERR(n < sizeof TEXT - 1 ? ERR_PARSE : 0, parse(slice_of(copy, n), &value, &f));
        json_decref(value);
        free(copy);
    }
}

TEST(what_was_read_is_written_in_its_order)
{
    static const char TEXT[] = "{\"z\":1,\"a\":[true,null,\"\\u001f\\\"\xc3\xa9\"],\"m\":{}}";
    json_t *value;
    struct fault f;
    struct strb to;
    CHECK_OK(parse(SLICE(TEXT), &value, &f));
    strb_init(&to, 1000);
    strb_str(&to, "before ");
    json_write(&to, value);
    CHECK_SLICE(strb_slice(&to),
                SLICE("before {\"z\":1,\"a\":[true,null,\"\\u001F\\\"\xc3\xa9\"],\"m\":{}}"));
    strb_done(&to);
    strb_init(&to, 10); /* a bound holds */
    json_write(&to, value);
    CHECK(to.err == ERR_LIMIT && to.n <= 10);
    strb_done(&to);
    json_decref(value);
    strb_init(&to, 10);
    json_write(&to, NULL);
    CHECK(to.err < 0); /* what could not be made cannot be written */
    strb_done(&to);
}

TEST(of_repeated_keys_the_last_may_count)
{
    json_t *value = NULL;
    struct fault f = { 0 };
    CHECK_OK(json_parse_last_wins(SLICE("{\"a\":1,\"b\":2,\"a\":3}"), &value, &f));
    CHECK(json_object_size(value) == 2 && json_integer_value(json_object_get(value, "a")) == 3);
    json_decref(value);
    CHECK_ERR(ERR_PARSE, json_parse_last_wins(SLICE("{\"a\":1\0}"), &value, &f));
    CHECK_ERR(ERR_PARSE, json_parse_last_wins(SLICE("{\"a\"}"), &value, &f));
}

TEST(a_member_is_its_text_or_empty)
{
    json_t *value;
    struct fault f;
    CHECK_OK(parse(SLICE("{\"a\":\"x\",\"n\":1,\"e\":\"\",\"l\":[]}"), &value, &f));
    CHECK_SLICE(json_member_slice(value, "a"), SLICE("x"));
    CHECK(json_member_slice(value, "n").n == 0 && json_member_slice(value, "e").n == 0);
    CHECK(json_member_slice(value, "z").p == NULL && json_member_slice(NULL, "a").p == NULL);
    CHECK(json_member_slice(json_object_get(value, "l"), "a").p == NULL);
    json_decref(value);
}

TESTS(RUN(any_kind_of_value_may_stand_at_the_top),
      RUN(what_is_not_strictly_json_is_refused_with_its_place), RUN(nesting_is_bounded),
      RUN(every_prefix_is_refused), RUN(what_was_read_is_written_in_its_order),
      RUN(of_repeated_keys_the_last_may_count), RUN(a_member_is_its_text_or_empty))
