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
    const char *error = json_string_value(json_object_get(fields, "error"));
    if (dest != NULL && !slice_eq(head->dest, slice_str(dest)))
        fail_msg("%s: dest %.*s", name, SLICE_FMT(head->dest));
    if (dest != NULL)
        assert_int_equal(head->type, json_integer_value(json_object_get(fields, "type")));
    if (error != NULL && !slice_eq(head->error, slice_str(error)))
        fail_msg("%s: error %.*s", name, SLICE_FMT(head->error));
    assert_int_equal(head->count, json_array_size(metadata));
    json_array_foreach(metadata, i, item)
    {
        const char *key = json_string_value(json_object_get(item, "key"));
        const char *value = json_string_value(json_object_get(item, "val"));
        if (!slice_eq(head->items[i].key, slice_str(key)) ||
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

/* What was read of a legal but unusual head is what the reference read. */
static bool check_accepted(const char *name, const json_t *fields, const struct connect_head *head)
{
    const char *hex = json_string_value(json_object_get(fields, "destHex"));
    const json_t *first = json_object_get(fields, "metadataFirst"), *item;
    uint8_t dest[256];
    size_t i;
    if (hex == NULL)
        fail_msg("%s: accepted, though the reference did not", name);
    assert_int_equal(hex_decode(slice_str(hex), dest), 0);
    if (!slice_eq(head->dest, slice_of(dest, strlen(hex) / 2)))
        fail_msg("%s: dest is %.*s", name, SLICE_FMT(head->dest));
    assert_int_equal(head->type, json_integer_value(json_object_get(fields, "type")));
    assert_int_equal(head->count, json_integer_value(json_object_get(fields, "metadataCount")));
    json_array_foreach(first, i, item)
    {
        if (!slice_eq(head->items[i].key,
                      slice_str(json_string_value(json_object_get(item, "key")))) ||
            !slice_eq(head->items[i].value,
                      slice_str(json_string_value(json_object_get(item, "val")))))
            fail_msg("%s: item %zu", name, i);
    }
    return true;
}

static const json_t *vector_of(const json_t *doc, const char *name)
{
    const json_t *v;
    size_t i;
    json_array_foreach(json_object_get(doc, "vectors"), i,
                       v) if (strcmp(json_string_value(json_object_get(v, "name")), name) ==
                              0) return v;
    fail_msg("there is no vector %s", name);
    return NULL;
}

/* Text i of the list that pointer 1 of the root names, added up until an error sticks. */
static uint64_t walk(struct slice frame, int *ret_err)
{
    struct capnp_message m;
    struct capnp_struct root;
    uint64_t bytes = 0;
    *ret_err = capnp_open(&m, frame, &root);
    struct capnp_list list = capnp_list(&root, 1);
    for (uint32_t i = 0; i < list.count && m.err == 0; i++) {
        struct capnp_struct item = capnp_item(&list, i);
        bytes += capnp_text(&item, 1).n;
    }
    *ret_err = m.err;
    return bytes;
}

#define SHARED_BYTES 524288 /* of the text that all the elements name */
#define ELEMENTS     200

/* The recipe of the vector: its first 64 bytes, the elements, then one text that each names. */
static struct slice amplification(const json_t *v, uint8_t **ret)
{
    size_t total =
        (size_t)json_integer_value(json_object_get(json_object_get(v, "fields"), "totalLen"));
    uint8_t *p = calloc(1, total), *head;
    struct slice start = bytes_of(v, &head);
    assert_int_equal(start.n, 64);
    memcpy(p, head, start.n);
    free(head);
    size_t elements = HEAD_PREAMBLE_BYTES + 8 + 8 * 5; /* preamble, frame header, root, tag */
    size_t text = elements + ELEMENTS * 16;
    assert_int_equal(text + SHARED_BYTES + 8, total);
    for (size_t i = 0; i < ELEMENTS; i++) {
        size_t at = elements + i * 16 + 8;
        uint64_t pointer =
            (uint64_t)(SHARED_BYTES + 1) << 35 | 2ULL << 32 | ((text - at - 8) / 8) << 2 | 1;
        for (unsigned k = 0; k < 8; k++)
            p[at + k] = (uint8_t)(pointer >> (8 * k));
    }
    memset(p + text, 'x', SHARED_BYTES);
    *ret = p;
    return slice_of(p, total);
}

TEST(a_message_that_names_the_same_bytes_again_and_again_is_stopped)
{
    json_t *doc = load("hostile.json");
    const json_t *v = vector_of(doc, "traversal_amplification");
    struct connect_head head;
    uint8_t *copy;
    size_t used;
    int err;
    struct slice bytes = amplification(v, &copy);
    /* As a head it is too large to begin with; the reader of messages by itself stops it, too. */
    CHECK_ERR(ERR_LIMIT, read_head(bytes, true, &head, &used));
    uint64_t read = walk(slice_sub(bytes, HEAD_PREAMBLE_BYTES, SIZE_MAX), &err);
    CHECK_ERR(ERR_LIMIT, err);
    CHECK(read >= SHARED_BYTES && read < 64U * 1024 * 1024);
    free(copy);
    json_decref(doc);
}

TEST(a_message_is_followed_no_deeper_than_the_reference_goes)
{
    json_t *doc = load("hostile.json");
    const json_t *v = vector_of(doc, "depth_bomb_walked");
    struct capnp_message m;
    struct capnp_struct s;
    uint8_t *copy;
    int levels = 1; /* the root */
    CHECK_OK(capnp_open(&m, bytes_of(v, &copy), &s));
    for (;; levels++) {
        struct capnp_struct below = capnp_get(&s, 0);
        if (m.err < 0)
            break;
        CHECK(below.pointers != NULL);
        s = below;
    }
    CHECK_ERR(ERR_LIMIT, m.err);
    CHECK(levels ==
          json_integer_value(json_object_get(json_object_get(v, "fields"), "levelsReadable")));
    free(copy);
    json_decref(doc);
}

TEST(every_hostile_head_gets_its_verdict)
{
    json_t *doc = load("hostile.json"), *v;
    size_t i, used, accepted = 0;
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
            if (r == 0)
                accepted += check_accepted(name, json_object_get(v, "fields"), &head);
        }
        free(copy);
    }
    CHECK(i == 56);
    CHECK(accepted >= 9); /* those that must be; others may be */
    json_decref(doc);
}

TESTS(RUN(every_head_vector_is_read_and_every_prefix_waits),
      RUN(our_encoder_makes_the_references_bytes), RUN(every_hostile_head_gets_its_verdict),
      RUN(a_message_that_names_the_same_bytes_again_and_again_is_stopped),
      RUN(a_message_is_followed_no_deeper_than_the_reference_goes))
