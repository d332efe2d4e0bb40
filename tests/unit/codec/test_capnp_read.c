#include "base/limits.h"
#include "codec/capnp.h"
#include "test.h"

/* ---- messages word by word ---- */

#define STRUCT(offset, data, pointers)                                                             \
    ((uint64_t)(uint32_t)((offset)*4) | (uint64_t)(data) << 32 | (uint64_t)(pointers) << 48)
#define LIST(offset, size, count)                                                                  \
    ((uint64_t)(uint32_t)((offset)*4) | 1 | (uint64_t)(size) << 32 | (uint64_t)(count) << 35)
#define FAR(segment, at)        (2 | (uint64_t)(at) << 3 | (uint64_t)(segment) << 32)
#define FAR_DOUBLE(segment, at) (FAR(segment, at) | 4)
#define CAP(index)              (3 | (uint64_t)(index) << 32)
enum { VOID = 0, BITS, BYTES, TWO, FOUR, EIGHT, POINTERS, COMPOSITE };

struct text {
    uint8_t *p; /* exactly the frame, so that a read past its end is seen */
    size_t n;
};

/* A frame of segments: `sizes` in words, ends with SIZE_MAX. */
static struct text frame_of(const uint64_t *words, const size_t *sizes)
{
    size_t count = 0, total = 0;
    for (; sizes[count] != SIZE_MAX; count++)
        total += sizes[count];
    size_t header = (4 + 4 * count + 7) / 8 * 8;
    struct text t = { .n = header + total * 8 };
    t.p = calloc(1, t.n);
    for (size_t i = 0; i < 4; i++)
        t.p[i] = (uint8_t)((count - 1) >> (8 * i));
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; i < 4; i++)
            t.p[4 + 4 * k + i] = (uint8_t)(sizes[k] >> (8 * i));
    for (size_t k = 0; k < total; k++)
        for (size_t i = 0; i < 8; i++)
            t.p[header + 8 * k + i] = (uint8_t)(words[k] >> (8 * i));
    return t;
}

#define ONE(...)                                                                                   \
    frame_of((const uint64_t[]){ __VA_ARGS__ },                                                    \
             (const size_t[]){ sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8, SIZE_MAX })

static struct capnp_message msg;

static int open_it(struct text t, struct capnp_struct *root)
{
    return capnp_open(&msg, slice_of(t.p, t.n), root);
}

/* Reads all that can be reached, as a program would that knows nothing of the schema. */
static void walk(const struct capnp_struct *s, unsigned depth)
{
    for (uint32_t at = 0; at < s->data_bytes && at < 64; at += 8)
        (void)capnp_u64(s, at);
    for (uint16_t i = 0; i < s->pointer_count && i < 4 && depth < 8; i++) {
        uint32_t index;
        int err = msg.err;
        struct capnp_struct child = capnp_get(s, i);
        walk(&child, depth + 1);
        msg.err = err;
        struct slice text = capnp_text(s, i), data;
        for (size_t k = 0; k < text.n; k++)
            assert_true(text.p[k] != 0 || text.p[k] == 0);
        msg.err = err;
        data = capnp_data(s, i);
        assert_true(text.p == NULL || data.n == text.n + 1);
        msg.err = err;
        struct capnp_list list = capnp_list(s, i);
        for (uint32_t k = 0; k < list.count && k < 4; k++) {
            struct capnp_struct item = capnp_item(&list, k);
            walk(&item, depth + 1);
            (void)capnp_item_text(&list, k);
        }
        msg.err = err;
        (void)capnp_cap(s, i, &index);
    }
}

/* ---- framing ---- */

TEST(a_frame_says_its_size_as_soon_as_its_header_is_whole)
{
    uint64_t words[8] = { 0 };
    for (size_t count = 1; count <= 5; count++) {
        size_t sizes[6] = { 1, 0, 2, 1, 0, SIZE_MAX }, n = 0, header = (4 + 4 * count + 7) / 8 * 8;
        sizes[count] = SIZE_MAX;
        struct text t = frame_of(words, sizes);
        for (size_t k = 0; k < header; k++)
            CHECK_ERR(ERR_AGAIN, capnp_frame(slice_of(t.p, k), &n));
        for (size_t k = header; k <= t.n; k++) {
            CHECK_OK(capnp_frame(slice_of(t.p, k), &n));
            CHECK(n == t.n);
        }
        struct capnp_struct root;
        for (size_t k = 0; k < t.n; k++)
            CHECK_ERR(ERR_PARSE, capnp_open(&msg, slice_of(t.p, k), &root));
        CHECK_OK(open_it(t, &root));
        free(t.p);
    }
}

static int frame_size(uint32_t count_less_one, uint32_t first, uint32_t second, size_t *ret)
{
    uint32_t header[600] = { count_less_one, first, second };
    return capnp_frame(slice_of(header, sizeof header), ret);
}

TEST(a_frame_is_bounded_before_anything_is_stored)
{
    size_t n = 7;
    const uint32_t words = CAPNP_MESSAGE_BYTES_MAX / 8;
    CHECK_OK(frame_size(0, words - 1, 0, &n));
    CHECK(n == CAPNP_MESSAGE_BYTES_MAX);
    CHECK_ERR(ERR_LIMIT, frame_size(0, words, 0, &n));
    CHECK_ERR(ERR_LIMIT, frame_size(0, words + 1, 0, &n));
    CHECK_ERR(ERR_LIMIT, frame_size(0, UINT32_MAX, 0, &n));
    CHECK_ERR(ERR_LIMIT, frame_size(1, words - 1, words - 1, &n));
    CHECK_ERR(ERR_LIMIT, frame_size(1, 1, UINT32_MAX, &n)); /* the sum must not wrap around */
    CHECK_OK(frame_size(CAPNP_SEGMENTS_MAX - 1, 1, 0, &n));
    CHECK_ERR(ERR_LIMIT, frame_size(CAPNP_SEGMENTS_MAX, 1, 0, &n));
    CHECK_ERR(ERR_LIMIT, frame_size(UINT32_MAX, 1, 0, &n));
    CHECK_ERR(ERR_PARSE, frame_size(0, 0, 0, &n));
    CHECK_ERR(ERR_PARSE, frame_size(1, 0, 1, &n));
    CHECK(n == 8 + 8 + (4 * CAPNP_SEGMENTS_MAX + 4 - 8 + 7) / 8 * 8);
    struct text t = ONE(0, 0);
    struct capnp_struct root;
    CHECK_ERR(ERR_PARSE, capnp_open(&msg, slice_of(t.p, t.n - 8), &root)); /* cut */
    free(t.p);
    t = frame_of((const uint64_t[]){ 0, 0 }, (const size_t[]){ 1, 1, SIZE_MAX });
    t.p[0] = 0; /* one segment: the rest is behind the frame */
    CHECK_ERR(ERR_PARSE, open_it(t, &root));
    free(t.p);
}

/* ---- fields ---- */

TEST(data_beyond_what_was_sent_is_zero)
{
    struct text t = ONE(STRUCT(0, 2, 0), 0x8877665544332211U, 0x1);
    struct capnp_struct s;
    CHECK_OK(open_it(t, &s));
    CHECK(capnp_u8(&s, 0) == 0x11 && capnp_u8(&s, 7) == 0x88 && capnp_u8(&s, 16) == 0);
    CHECK(capnp_u16(&s, 2) == 0x4433 && capnp_u16(&s, 15) == 0 && capnp_u16(&s, 14) == 0);
    CHECK(capnp_u32(&s, 4) == 0x88776655 && capnp_u32(&s, 13) == 0);
    CHECK(capnp_u64(&s, 0) == 0x8877665544332211U && capnp_u64(&s, 8) == 1);
    CHECK(capnp_u64(&s, 9) == 0 && capnp_u64(&s, 16) == 0);
    CHECK(capnp_bool(&s, 0) && !capnp_bool(&s, 1) && capnp_bool(&s, 4) && capnp_bool(&s, 64));
    CHECK(!capnp_bool(&s, 65) && !capnp_bool(&s, 128));
    for (uint32_t k = 0; k < 9; k++) /* no offset wraps around */
        CHECK(capnp_u64(&s, UINT32_MAX - k) == 0 && capnp_u8(&s, UINT32_MAX - k) == 0 &&
              !capnp_bool(&s, UINT32_MAX - k));
    CHECK(!capnp_has(&s, 0) && capnp_text(&s, 0).p == NULL && capnp_list(&s, 0).count == 0);
    CHECK(msg.err == 0);
    free(t.p);
}

TEST(a_null_root_is_all_default)
{
    struct text t = ONE(0);
    struct capnp_struct s;
    uint32_t index = 7;
    CHECK_OK(open_it(t, &s));
    CHECK(s.data == NULL && s.pointers == NULL && capnp_u64(&s, 0) == 0 && !capnp_has(&s, 0));
    struct capnp_struct child = capnp_get(&s, 3);
    CHECK(capnp_u8(&child, 0) == 0 && capnp_get(&child, 0).data == NULL);
    struct capnp_list l = capnp_list(&s, 0);
    CHECK(l.count == 0 && capnp_item(&l, 0).data == NULL && capnp_item_text(&l, 0).n == 0);
    CHECK_ERR(ERR_PARSE, capnp_cap(&s, 0, &index));
    CHECK(index == 7 && msg.err == 0);
    free(t.p);
}

/* ---- pointers ---- */

static const struct {
    const char *name;
    uint64_t words[8];
    size_t sizes[5];
    int want;
} ROOTS[] = {
    { "just to the end", { STRUCT(0, 1, 1), 1, 0 }, { 3, SIZE_MAX }, 0 },
    { "one word past the end", { STRUCT(0, 2, 1), 1, 0 }, { 3, SIZE_MAX }, ERR_PARSE },
    { "offset past the end", { STRUCT(3, 1, 0), 1, 0 }, { 3, SIZE_MAX }, ERR_PARSE },
    { "nothing at the very end", { STRUCT(2, 0, 0), 1, 0 }, { 3, SIZE_MAX }, 0 },
    { "nothing past the end", { STRUCT(3, 0, 0), 1, 0 }, { 3, SIZE_MAX }, ERR_PARSE },
    { "itself", { STRUCT(-1, 1, 0) }, { 1, SIZE_MAX }, 0 },
    { "before the segment", { STRUCT(-2, 1, 0) }, { 1, SIZE_MAX }, ERR_PARSE },
    { "far before", { STRUCT(-536870912, 1, 0) }, { 1, SIZE_MAX }, ERR_PARSE },
    { "far behind", { STRUCT(536870911, 1, 0) }, { 1, SIZE_MAX }, ERR_PARSE },
    { "the largest struct", { STRUCT(0, 65535, 65535), 0 }, { 2, SIZE_MAX }, ERR_PARSE },
    { "a list", { LIST(0, BYTES, 8), 0 }, { 2, SIZE_MAX }, ERR_PARSE },
    { "a capability", { CAP(0) }, { 1, SIZE_MAX }, ERR_PARSE },
    { "far", { FAR(1, 0), STRUCT(0, 1, 0), 42 }, { 1, 2, SIZE_MAX }, 0 },
    { "far to null", { FAR(1, 0), 0 }, { 1, 1, SIZE_MAX }, 0 },
    { "far backwards", { FAR(1, 1), 42, STRUCT(-2, 1, 0) }, { 1, 2, SIZE_MAX }, 0 },
    { "far into its own segment", { FAR(0, 1), STRUCT(0, 1, 0), 42 }, { 3, SIZE_MAX }, 0 },
    { "far to itself", { FAR(0, 0) }, { 1, SIZE_MAX }, ERR_PARSE },
    { "far to far", { FAR(1, 0), FAR(1, 1), STRUCT(0, 0, 0) }, { 1, 2, SIZE_MAX }, ERR_PARSE },
    { "far to double far", { FAR(1, 0), FAR_DOUBLE(1, 0) }, { 1, 1, SIZE_MAX }, ERR_PARSE },
    { "far to no segment", { FAR(2, 0), 0 }, { 1, 1, SIZE_MAX }, ERR_PARSE },
    { "far to the last number", { FAR(UINT32_MAX, 0), 0 }, { 1, 1, SIZE_MAX }, ERR_PARSE },
    { "far past the segment", { FAR(1, 1), 0 }, { 1, 1, SIZE_MAX }, ERR_PARSE },
    { "far into an empty one", { FAR(1, 0) }, { 1, 0, SIZE_MAX }, ERR_PARSE },
    { "far with content outside", { FAR(1, 0), STRUCT(0, 1, 0) }, { 1, 1, SIZE_MAX }, ERR_PARSE },
    { "double far",
      { FAR_DOUBLE(1, 0), FAR(2, 1), STRUCT(0, 1, 0), 7, 42 },
      { 1, 2, 2, SIZE_MAX },
      0 },
    { "double far into the first segment",
      { FAR_DOUBLE(1, 0), 42, FAR(0, 1), STRUCT(0, 1, 0) },
      { 2, 2, SIZE_MAX },
      0 },
    { "double far whose pad is cut",
      { FAR_DOUBLE(1, 0), FAR(0, 0) },
      { 1, 1, SIZE_MAX },
      ERR_PARSE },
    { "double far to no far",
      { FAR_DOUBLE(1, 0), STRUCT(0, 1, 0), 1 },
      { 1, 2, SIZE_MAX },
      ERR_PARSE },
    { "double far to double far",
      { FAR_DOUBLE(1, 0), FAR_DOUBLE(1, 0), STRUCT(0, 1, 0) },
      { 1, 2, SIZE_MAX },
      ERR_PARSE },
    { "double far whose tag has an offset",
      { FAR_DOUBLE(1, 0), FAR(0, 0), STRUCT(1, 1, 0) },
      { 1, 2, SIZE_MAX },
      ERR_PARSE },
    { "double far whose tag is far",
      { FAR_DOUBLE(1, 0), FAR(0, 0), FAR(0, 0) },
      { 1, 2, SIZE_MAX },
      ERR_PARSE },
    { "double far whose tag is a capability",
      { FAR_DOUBLE(1, 0), FAR(0, 0), CAP(0) },
      { 1, 2, SIZE_MAX },
      ERR_PARSE },
    { "double far to no segment",
      { FAR_DOUBLE(1, 0), FAR(9, 0), STRUCT(0, 1, 0) },
      { 1, 2, SIZE_MAX },
      ERR_PARSE },
    { "double far past the segment",
      { FAR_DOUBLE(1, 0), FAR(0, 1), STRUCT(0, 1, 0) },
      { 1, 2, SIZE_MAX },
      ERR_PARSE },
    { "double far to a list",
      { FAR_DOUBLE(1, 0), FAR(0, 0), LIST(0, BYTES, 1) },
      { 1, 2, SIZE_MAX },
      ERR_PARSE },
};

TEST(every_way_to_the_root_ends_inside_or_is_refused)
{
    for (size_t i = 0; i < sizeof ROOTS / sizeof ROOTS[0]; i++) {
        struct text t = frame_of(ROOTS[i].words, ROOTS[i].sizes);
        struct capnp_struct s;
        int r = open_it(t, &s);
        if (r != ROOTS[i].want)
            fail_msg("%s: %s", ROOTS[i].name, err_text(r));
        if (strstr(ROOTS[i].name, "far") == ROOTS[i].name && r == 0 && s.data != NULL)
            CHECK(capnp_u64(&s, 0) == 42);
        if (strncmp(ROOTS[i].name, "double", 6) == 0 && r == 0)
            CHECK(capnp_u64(&s, 0) == 42);
        walk(&s, 0);
        free(t.p);
    }
}

TEST(the_first_error_stays_and_all_behind_it_is_default)
{
    struct text t = ONE(STRUCT(0, 1, 3), 9, CAP(0), LIST(1, BYTES, 3), 0, 0x006968);
    struct capnp_struct s;
    CHECK_OK(open_it(t, &s));
    CHECK_SLICE(capnp_text(&s, 1), SLICE("hi"));
    CHECK(capnp_get(&s, 0).data == NULL && msg.err == ERR_PARSE); /* a capability is no struct */
    CHECK(capnp_text(&s, 1).p == NULL && capnp_get(&s, 1).data == NULL);
    CHECK(capnp_list(&s, 1).count == 0 && msg.err == ERR_PARSE);
    CHECK(capnp_u64(&s, 0) == 9); /* what has been bounded already stays readable */
    free(t.p);
}

/* ---- texts and data ---- */

TEST(a_text_ends_with_a_nul_that_does_not_count)
{
    static const struct {
        uint64_t pointer, word;
        int text, data;
        struct slice want;
    } CASES[] = {
        { LIST(0, BYTES, 3), 0x006968, 0, 0, SLICE("hi") },
        { LIST(0, BYTES, 1), 0, 0, 0, SLICE("") },
        { LIST(0, BYTES, 8), 0x0077666564636261, 0, 0, SLICE("abcdefw") },
        { LIST(0, BYTES, 4), 0x00690068, 0, 0, SLICE("h\0i") },
        { LIST(0, BYTES, 2), 0x6968, ERR_PARSE, 0, SLICE("") },
        { LIST(0, BYTES, 0), 0, ERR_PARSE, 0, SLICE("") },
        { LIST(0, BYTES, 9), 0, ERR_PARSE, ERR_PARSE, SLICE("") },
        { LIST(0, BYTES, 536870911), 0, ERR_PARSE, ERR_PARSE, SLICE("") },
        { LIST(0, TWO, 1), 0, ERR_PARSE, ERR_PARSE, SLICE("") },
        { LIST(0, BITS, 8), 0, ERR_PARSE, ERR_PARSE, SLICE("") },
        { LIST(0, VOID, 1), 0, ERR_PARSE, ERR_PARSE, SLICE("") },
        { LIST(0, COMPOSITE, 0), STRUCT(0, 0, 0), ERR_PARSE, ERR_PARSE, SLICE("") },
        { STRUCT(0, 1, 0), 0, ERR_PARSE, ERR_PARSE, SLICE("") },
        { CAP(1), 0, ERR_PARSE, ERR_PARSE, SLICE("") },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct text t = ONE(STRUCT(0, 0, 1), CASES[i].pointer, CASES[i].word);
        struct capnp_struct s;
        CHECK_OK(open_it(t, &s));
        CHECK_SLICE(capnp_text(&s, 0), CASES[i].want);
        CHECK_ERR(CASES[i].text, msg.err);
        CHECK_OK(open_it(t, &s));
        struct slice data = capnp_data(&s, 0);
        CHECK_ERR(CASES[i].data, msg.err);
        CHECK(data.n == (msg.err == 0 ? CASES[i].pointer >> 35 : 0));
        free(t.p);
    }
}

/* ---- lists ---- */

TEST(lists_of_every_size_are_read_as_structs)
{
    struct capnp_struct s;
    static const uint32_t WANT[] = { 0, 0, 0x22, 0x4433, 0x88776655 };
    for (int size = BYTES; size <= EIGHT; size++) {
        struct text t = ONE(STRUCT(0, 0, 1), LIST(0, size, 2), 0x8877665544332211U, 0x99);
        CHECK_OK(open_it(t, &s));
        struct capnp_list l = capnp_list(&s, 0);
        CHECK(l.count == 2 && !l.is_pointers);
        struct capnp_struct second = capnp_item(&l, 1);
        CHECK(size == EIGHT ? capnp_u64(&second, 0) == 0x99
                            : (size == BYTES ? capnp_u8(&second, 0)
                               : size == TWO ? capnp_u16(&second, 0)
                                             : capnp_u32(&second, 0)) == WANT[size]);
        CHECK(capnp_u8(&second, 8) == 0 && !capnp_has(&second, 0));
        CHECK(capnp_item(&l, 2).data == NULL && msg.err == 0);
        free(t.p);
    }
    struct text t = ONE(STRUCT(0, 0, 1), LIST(0, COMPOSITE, 4), STRUCT(2, 1, 1), 5,
                        LIST(2, BYTES, 2), 6, 0, 0x0061);
    CHECK_OK(open_it(t, &s));
    struct capnp_list l = capnp_list(&s, 0);
    struct capnp_struct first = capnp_item(&l, 0), second = capnp_item(&l, 1);
    CHECK(l.count == 2 && capnp_u64(&first, 0) == 5 && capnp_u64(&second, 0) == 6);
    CHECK_SLICE(capnp_text(&first, 0), SLICE("a"));
    CHECK_SLICE(capnp_item_text(&l, 0), SLICE("a"));
    CHECK(capnp_text(&second, 0).n == 0 && msg.err == 0);
    free(t.p);
    t = ONE(STRUCT(0, 0, 1), LIST(0, POINTERS, 2), LIST(1, BYTES, 2), 0, 0x0061);
    CHECK_OK(open_it(t, &s));
    l = capnp_list(&s, 0);
    CHECK(l.is_pointers && l.count == 2);
    CHECK_SLICE(capnp_item_text(&l, 0), SLICE("a"));
    CHECK_SLICE(capnp_item_text(&l, 1), SLICE(""));
    CHECK(msg.err == 0);
    free(t.p);
}

TEST(a_list_that_lies_about_its_size_is_refused)
{
    static const struct {
        const char *name;
        uint64_t words[4];
        int want;
    } CASES[] = {
        { "bits", { LIST(0, BITS, 8), 0 }, ERR_PARSE },
        { "bytes past the end", { LIST(0, BYTES, 17), 0, 0 }, ERR_PARSE },
        { "words past the end", { LIST(0, EIGHT, 3), 0, 0 }, ERR_PARSE },
        { "pointers past the end", { LIST(0, POINTERS, 3), 0, 0 }, ERR_PARSE },
        { "the most elements", { LIST(0, EIGHT, 536870911), 0 }, ERR_PARSE },
        { "a tag outside", { LIST(3, COMPOSITE, 0) }, ERR_PARSE },
        { "fewer words than its tag says",
          { LIST(0, COMPOSITE, 1), STRUCT(2, 1, 0), 0 },
          ERR_PARSE },
        { "more words than there are", { LIST(0, COMPOSITE, 5), STRUCT(1, 1, 0), 0 }, ERR_PARSE },
        { "a tag that is a list", { LIST(0, COMPOSITE, 1), LIST(1, BYTES, 1), 0 }, ERR_PARSE },
        { "a count below zero", { LIST(0, COMPOSITE, 1), STRUCT(-1, 1, 0), 0 }, ERR_PARSE },
        { "the largest elements",
          { LIST(0, COMPOSITE, 1), STRUCT(-1, 65535, 65535), 0 },
          ERR_PARSE },
        { "a bomb of nothings", { LIST(0, VOID, 536870911), 0 }, ERR_LIMIT },
        { "a bomb of empty structs", { LIST(0, COMPOSITE, 0), STRUCT(-1, 0, 0), 0 }, ERR_LIMIT },
        { "a few nothings", { LIST(0, VOID, 9), 0 }, 0 },
        { "a few empty structs", { LIST(0, COMPOSITE, 0), STRUCT(9, 0, 0), 0 }, 0 },
        { "a struct", { STRUCT(0, 1, 0), 0 }, ERR_PARSE },
        { "a capability", { CAP(0), 0 }, ERR_PARSE },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const uint64_t *w = CASES[i].words;
        struct text t = ONE(STRUCT(0, 0, 1), w[0], w[1], w[2]);
        struct capnp_struct s;
        CHECK_OK(open_it(t, &s));
        struct capnp_list l = capnp_list(&s, 0);
        if (msg.err != CASES[i].want)
            fail_msg("%s: %s", CASES[i].name, err_text(msg.err));
        CHECK(l.count == (msg.err == 0 ? 9U : 0U));
        free(t.p);
    }
}

TEST(a_capability_has_an_index_and_nothing_else)
{
    struct text t = frame_of(
        (const uint64_t[]){ STRUCT(0, 0, 4), CAP(7), CAP(1) | 4, FAR(1, 0), 0, CAP(UINT32_MAX) },
        (const size_t[]){ 5, 1, SIZE_MAX });
    struct capnp_struct s;
    uint32_t index = 0;
    CHECK_OK(open_it(t, &s));
    CHECK_OK(capnp_cap(&s, 0, &index));
    CHECK(index == 7);
    CHECK_ERR(ERR_PARSE, capnp_cap(&s, 1, &index)); /* reserved bits */
    CHECK_OK(capnp_cap(&s, 2, &index));
    CHECK(index == UINT32_MAX);
    CHECK_ERR(ERR_PARSE, capnp_cap(&s, 3, &index));
    CHECK_ERR(ERR_PARSE, capnp_cap(&s, 4, &index));
    CHECK(capnp_has(&s, 0) && !capnp_has(&s, 3) && !capnp_has(&s, 4) && msg.err == 0);
    free(t.p);
}

/* ---- bombs ---- */

/* A struct whose one pointer leads to itself: as deep as one cares to go. */
TEST(depth_has_a_bound)
{
    struct text t = ONE(STRUCT(-1, 0, 1));
    struct capnp_struct s;
    CHECK_OK(open_it(t, &s));
    unsigned depth = 1;
    for (; msg.err == 0 && depth < 1000; depth++)
        s = capnp_get(&s, 0);
    CHECK_ERR(ERR_LIMIT, msg.err);
    CHECK(depth == CAPNP_DEPTH_MAX + 1);
    free(t.p);
    t = ONE(STRUCT(0, 0, 1), LIST(-1, POINTERS, 1)); /* the same by lists */
    CHECK_OK(open_it(t, &s));
    for (depth = 0; msg.err == 0 && depth < 1000; depth++) {
        struct capnp_list l = capnp_list(&s, 0);
        s = capnp_item(&l, 0);
    }
    CHECK(msg.err == ERR_LIMIT && depth < 1000);
    free(t.p);
}

/* One large text that many pointers name. */
TEST(the_same_bytes_cannot_be_read_again_and_again)
{
    static uint64_t words[1200];
    words[0] = STRUCT(0, 0, 1);
    words[1] = LIST(0, POINTERS, 100);
    for (int i = 0; i < 100; i++)
        words[2 + i] = LIST(99 - i, BYTES, 8000);
    struct text t = frame_of(words, (const size_t[]){ 1102, SIZE_MAX });
    struct capnp_struct s;
    size_t bytes = 0;
    CHECK_OK(open_it(t, &s));
    struct capnp_list l = capnp_list(&s, 0);
    CHECK(l.count == 100);
    for (uint32_t i = 0; i < l.count; i++)
        bytes += capnp_item_text(&l, i).n;
    CHECK_ERR(ERR_LIMIT, msg.err);
    CHECK(bytes > 5 * t.n && bytes <= 9 * t.n);
    free(t.p);
}

/* ---- anything ---- */

static struct text sample(void)
{
    return frame_of((const uint64_t[]){ STRUCT(0, 1, 3), 0x1122, LIST(2, BYTES, 6), FAR(1, 0),
                                        FAR_DOUBLE(2, 0), 0x006f6c6c6568, LIST(0, COMPOSITE, 4),
                                        STRUCT(2, 1, 1), 1, LIST(2, BYTES, 2), 2, 0, 0x61,
                                        FAR(1, 6), STRUCT(0, 0, 1) },
                    (const size_t[]){ 6, 7, 2, SIZE_MAX });
}

TEST(every_prefix_and_every_flipped_bit_is_survived)
{
    struct text t = sample();
    struct capnp_struct s;
    CHECK_OK(open_it(t, &s));
    CHECK_SLICE(capnp_text(&s, 0), SLICE("hello"));
    struct capnp_list l = capnp_list(&s, 1);
    CHECK(l.count == 2);
    CHECK_SLICE(capnp_item_text(&l, 0), SLICE("a"));
    struct capnp_struct far = capnp_get(&s, 2);
    CHECK(far.pointer_count == 1 && msg.err == 0);
    for (size_t n = 0; n < t.n; n++) {
        uint8_t *copy = malloc(n + (n == 0));
        memcpy(copy, t.p, n);
        CHECK_ERR(ERR_PARSE, capnp_open(&msg, slice_of(copy, n), &s));
        free(copy);
    }
    for (size_t bit = 0; bit < t.n * 8; bit++) {
        t.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int r = open_it(t, &s);
        CHECK(r == 0 || r == ERR_PARSE || r == ERR_LIMIT);
        if (r == 0)
            walk(&s, 0);
        t.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(t.p);
}

TESTS(RUN(a_frame_says_its_size_as_soon_as_its_header_is_whole),
      RUN(a_frame_is_bounded_before_anything_is_stored), RUN(data_beyond_what_was_sent_is_zero),
      RUN(a_null_root_is_all_default), RUN(every_way_to_the_root_ends_inside_or_is_refused),
      RUN(the_first_error_stays_and_all_behind_it_is_default),
      RUN(a_text_ends_with_a_nul_that_does_not_count), RUN(lists_of_every_size_are_read_as_structs),
      RUN(a_list_that_lies_about_its_size_is_refused),
      RUN(a_capability_has_an_index_and_nothing_else), RUN(depth_has_a_bound),
      RUN(the_same_bytes_cannot_be_read_again_and_again),
      RUN(every_prefix_and_every_flipped_bit_is_survived))
