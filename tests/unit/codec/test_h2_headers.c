#include "codec/h2_headers.h"

#include "base/text.h"
#include "codec/json.h"
#include "test.h"

#define BLOCK_BYTES 2048

static json_t *vectors(void)
{
    json_error_t error;
    json_t *v = json_load_file(VECTORS "/h2.json", JSON_REJECT_DUPLICATES, &error);
    if (v == NULL)
        fail_msg("h2.json: %s", error.text);
    return v;
}

static const char *member(const json_t *v, const char *name)
{
    const char *text = json_string_value(json_object_get(v, name));
    return text != NULL ? text : "";
}

static struct slice item(const json_t *pair, size_t index)
{
    const json_t *s = json_array_get(pair, index);
    return slice_of(json_string_value(s), json_string_length(s));
}

/* The vector's bytes: text cannot hold all of them. */
static struct slice wire(const json_t *v, uint8_t *out)
{
    struct slice hex = slice_str(member(v, "hex"));
    assert_true(hex.n / 2 <= BLOCK_BYTES);
    assert_int_equal(hex_decode(hex, out), 0);
    return slice_of(out, hex.n / 2);
}

/* JSON has no word for bytes that are not UTF-8: U+FFFD stands in for them there. Such a vector is
 * written from what is read out of it, which check_pairs sees to for the others. */
static size_t write_again(struct slice text, char *got)
{
    uint8_t space[H2_HEADERS_SPACE(BLOCK_BYTES)];
    struct h2_headers_reader r = { .rest = text, .space = space };
    struct slice name, value;
    size_t n = 0;
    while (h2_headers_next(&r, &name, &value) == 0)
        assert_int_equal(h2_headers_put(got, BLOCK_BYTES, &n, name, value), 0);
    return n;
}

TEST(blocks_are_written_as_the_reference_writes_them)
{
    json_t *all = vectors(), *v, *pair;
    size_t i, k, seen = 0, again = 0;
    json_array_foreach(json_object_get(all, "vectors"), i, v)
    {
        uint8_t want[BLOCK_BYTES];
        char got[BLOCK_BYTES];
        size_t n = 0;
        bool is_text = true;
        if (strncmp(member(v, "name"), "serialize_", 10) != 0)
            continue;
        json_array_foreach(json_object_get(json_object_get(v, "fields"), "headers"), k, pair)
        {
            is_text = is_text &&
                      strstr(json_string_value(json_array_get(pair, 1)), "\xef\xbf\xbd") == NULL;
            CHECK_OK(h2_headers_put(got, sizeof got, &n, item(pair, 0), item(pair, 1)));
        }
        if (!is_text) {
            n = write_again(wire(v, want), got);
            again++;
        }
        CHECK_SLICE(slice_of(got, n), wire(v, want));
        seen++;
    }
    CHECK(seen >= 10 && again == 2);
    json_decref(all);
}

static void check_pairs(const json_t *v, struct slice text)
{
    uint8_t space[H2_HEADERS_SPACE(BLOCK_BYTES)];
    struct h2_headers_reader r = { .rest = text, .space = space };
    const json_t *pairs = json_object_get(json_object_get(v, "fields"), "headers_hex");
    struct slice name, value;
    size_t n = 0;
    int e;
    for (; (e = h2_headers_next(&r, &name, &value)) == 0; n++) {
        const json_t *pair = json_array_get(pairs, n);
        char hex[2][2 * BLOCK_BYTES + 1];
        if (!slice_eq(slice_str(hex_encode(name, hex[0])), item(pair, 0)) ||
            !slice_eq(slice_str(hex_encode(value, hex[1])), item(pair, 1)))
            fail_msg("%s: %s:%s", member(v, "name"), hex[0], hex[1]);
    }
    /* A line feed cannot occur in a field of HTTP/2: the reference reads it in a way of its own. */
    bool is_bad = json_object_get(json_object_get(v, "fields"), "headers_hex") == NULL ||
                  slice_find(text, '\n') < text.n;
    if (e != (is_bad ? ERR_PARSE : ERR_EOF) || (!is_bad && n != json_array_size(pairs)))
        fail_msg("%s: %s after %zu", member(v, "name"), err_text(e), n);
}

TEST(blocks_are_read_as_the_reference_reads_them)
{
    json_t *all = vectors(), *v;
    size_t i, seen = 0;
    json_array_foreach(json_object_get(all, "vectors"), i, v)
    {
        uint8_t text[BLOCK_BYTES];
        if (strncmp(member(v, "name"), "decode_", 7) != 0)
            continue;
        /* "No headers" is null there, and no error. */
        if (strcmp(member(v, "name"), "decode_empty") != 0)
            check_pairs(v, wire(v, text));
        seen++;
    }
    uint8_t space[H2_HEADERS_SPACE(0)];
    struct h2_headers_reader none = { .space = space };
    struct slice name, value;
    CHECK_ERR(ERR_EOF, h2_headers_next(&none, &name, &value));
    CHECK(seen >= 15);
    json_decref(all);
}

TEST(names_of_the_tunnel_stay_out)
{
    json_t *all = vectors(), *v;
    size_t i, seen = 0;
    json_array_foreach(json_object_get(all, "vectors"), i, v)
    {
        uint8_t name[BLOCK_BYTES];
        if (strncmp(member(v, "name"), "control_name", 12) != 0)
            continue;
        bool want = json_is_true(json_object_get(json_object_get(v, "fields"), "dropped"));
        if (h2_headers_is_control(wire(v, name)) != want)
            fail_msg("%s", member(v, "name"));
        seen++;
    }
    CHECK(seen >= 8);
    json_decref(all);
}

TEST(a_pair_that_does_not_fit_changes_nothing)
{
    char block[11];
    size_t n = 0;
    memset(block, '#', sizeof block);
    CHECK_OK(h2_headers_put(block, 5, &n, SLICE("A"), SLICE("a")));
    CHECK(n == 5 && block[5] == '#');
    CHECK_ERR(ERR_LIMIT, h2_headers_put(block, 10, &n, SLICE("B"), SLICE("b")));
    CHECK(n == 5 && block[5] == '#');
    CHECK_OK(h2_headers_put(block, 11, &n, SLICE("B"), SLICE("b")));
    CHECK_SLICE(slice_of(block, n), SLICE("QQ:YQ;Qg:Yg"));
}

TESTS(RUN(blocks_are_written_as_the_reference_writes_them),
      RUN(blocks_are_read_as_the_reference_reads_them), RUN(names_of_the_tunnel_stay_out),
      RUN(a_pair_that_does_not_fit_changes_nothing))
