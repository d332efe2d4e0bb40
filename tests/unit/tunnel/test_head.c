#include <jansson.h>

#include "base/text.h"
#include "test.h"
#include "tunnel/head.h"

#define ITEMS_MAX 8192

static struct metadata items[ITEMS_MAX];

static json_t *load(const char *file)
{
    char path[512];
    json_error_t e;
    (void)snprintf(path, sizeof path, "%s/%s", VECTORS, file);
    json_t *doc = json_load_file(path, JSON_ALLOW_NUL, &e);
    assert_non_null(doc);
    return doc;
}

static struct slice bytes_of(const json_t *v, uint8_t **ret)
{
    const char *hex = json_string_value(json_object_get(v, "hex"));
    *ret = malloc(strlen(hex) / 2 + 1);
    if (hex_decode(slice_str(hex), *ret) < 0)
        return (struct slice){ 0 };
    return slice_of(*ret, strlen(hex) / 2);
}

/* What a reader makes of the bytes: 0 with the head, or an error; *ret_used is what it took. */
static int read_head(struct slice bytes, bool is_request, struct connect_head *head,
                     size_t *ret_used)
{
    *head = (struct connect_head){ .items = items, .max = ITEMS_MAX };
    int r = head_size(bytes, ret_used);
    if (r < 0)
        return r;
    if (*ret_used > bytes.n)
        return ERR_AGAIN;
    struct slice frame = slice_sub(bytes, 0, *ret_used);
    return is_request ? head_decode_request(frame, head) : head_decode_response(frame, head);
}

static void check_fields(const char *name, const json_t *fields, const struct connect_head *head)
{
    const char *dest = json_string_value(json_object_get(fields, "dest"));
    const json_t *metadata = json_object_get(fields, "metadata"), *item;
    size_t i;
    if (dest != NULL && !slice_eq(head->dest, slice_str(dest)))
        fail_msg("%s: dest %.*s", name, SLICE_FMT(head->dest));
    json_array_foreach(metadata, i, item)
    {
        const char *key = json_string_value(json_object_get(item, "key"));
        const char *value = json_string_value(json_object_get(item, "val"));
        if (key == NULL || value == NULL)
            continue;
        if (i >= head->count || !slice_eq(head->items[i].key, slice_str(key)) ||
            !slice_eq(head->items[i].value, slice_str(value)))
            fail_msg("%s: item %zu", name, i);
    }
}

TEST(every_head_vector_is_read_and_every_prefix_waits)
{
    json_t *doc = load("data_stream.json"), *v;
    size_t i, used, checked = 0;
    json_array_foreach(json_object_get(doc, "vectors"), i, v)
    {
        const char *name = json_string_value(json_object_get(v, "name"));
        const char *direction = json_string_value(json_object_get(v, "direction"));
        uint8_t *copy;
        struct slice bytes = bytes_of(v, &copy);
        struct connect_head head;
        bool is_request = strncmp(direction, "edge->", 6) == 0;
        enum head_kind kind;
        if (bytes.n > HEAD_PREAMBLE_BYTES && head_kind_of(bytes, &kind) == 0 && kind == HEAD_DATA) {
            int r = read_head(bytes, is_request, &head, &used);
            if (r < 0 || used != bytes.n)
                fail_msg("%s: %s", name, err_text(r));
            check_fields(name, json_object_get(v, "fields"), &head);
            for (size_t n = 0; n < bytes.n; n++) {
                uint8_t *part = malloc(n + 1);
                memcpy(part, bytes.p, n);
                if (read_head(slice_of(part, n), is_request, &head, &used) != ERR_AGAIN)
                    fail_msg("%s: a prefix of %zu bytes does not wait", name, n);
                free(part);
            }
            checked++;
        }
        free(copy);
    }
    CHECK(checked >= 20);
    json_decref(doc);
}

TEST(our_encoder_makes_the_references_bytes)
{
    json_t *doc = load("data_stream.json"), *v;
    size_t i, used, same = 0;
    json_array_foreach(json_object_get(doc, "vectors"), i, v)
    {
        uint8_t *copy;
        struct slice bytes = bytes_of(v, &copy);
        struct connect_head head;
        bool is_request =
            strncmp(json_string_value(json_object_get(v, "direction")), "edge->", 6) == 0;
        struct chunk_pool *pool = chunk_pool_new();
        struct buf out;
        buf_init(&out, pool, 1 << 20);
        if (read_head(bytes, is_request, &head, &used) == 0) {
            CHECK_OK(is_request ? head_encode_request(&out, &head)
                                : head_encode_response(&out, &head));
            uint8_t *ours = malloc(buf_len(&out) + 1);
            size_t n = buf_copy(&out, 0, ours, buf_len(&out));
            same += slice_eq(slice_of(ours, n), bytes);
            free(ours);
        }
        buf_done(&out);
        chunk_pool_free(pool);
        free(copy);
    }
    CHECK(same >= 15);
    json_decref(doc);
}

TEST(every_hostile_head_gets_its_verdict)
{
    json_t *doc = load("hostile.json"), *v;
    size_t i, used;
    json_array_foreach(json_object_get(doc, "vectors"), i, v)
    {
        const char *name = json_string_value(json_object_get(v, "name"));
        const char *expect = json_string_value(json_object_get(v, "expect"));
        const char *direction = json_string_value(json_object_get(v, "direction"));
        uint8_t *copy;
        struct slice bytes = bytes_of(v, &copy);
        struct connect_head head;
        if (strcmp(name, "traversal_amplification") != 0) {
            int r = read_head(bytes, direction == NULL || strncmp(direction, "edge->", 6) == 0,
                              &head, &used);
            if (strcmp(expect, "error") == 0 && r == 0)
                fail_msg("%s: accepted", name);
            if (strcmp(expect, "accept") == 0 && r < 0)
                fail_msg("%s: %s", name, err_text(r));
        }
        free(copy);
    }
    CHECK(i == 56);
    json_decref(doc);
}

TESTS(RUN(every_head_vector_is_read_and_every_prefix_waits),
      RUN(our_encoder_makes_the_references_bytes), RUN(every_hostile_head_gets_its_verdict))
