#include "base/limits.h"
#include "codec/capnp.h"
#include "test.h"

static struct capnp_message msg;

TEST(what_is_built_reads_back)
{
    static const struct slice TEXTS[] = { SLICE("one"), SLICE(""), SLICE("three\0four") };
    struct capnp_builder b;
    struct capnp_ref root = capnp_build(&b, 2, 7);
    capnp_put_u8(&b, root, 0, 0x12);
    capnp_put_bool(&b, root, 9, true);
    capnp_put_bool(&b, root, 10, false);
    capnp_put_u16(&b, root, 2, 0x3456);
    capnp_put_u32(&b, root, 4, 0x789abcde);
    capnp_put_u64(&b, root, 8, 0x1122334455667788U);
    capnp_put_text(&b, root, 0, SLICE("text"));
    capnp_put_data(&b, root, 1, SLICE("\xff\0"));
    capnp_put_cap(&b, root, 2, 77);
    struct capnp_ref child = capnp_put(&b, root, 3, 1, 1);
    capnp_put_u64(&b, child, 0, 5);
    capnp_put_text(&b, child, 0, SLICE("inner"));
    struct capnp_ref list = capnp_put_list(&b, root, 4, 3, 1, 1);
    for (uint32_t i = 0; i < 3; i++) {
        capnp_put_u32(&b, capnp_put_item(list, i), 4, i);
        capnp_put_text(&b, capnp_put_item(list, i), 0, TEXTS[i]);
    }
    capnp_put_texts(&b, root, 5, TEXTS, 3);
    (void)capnp_put(&b, root, 6, 0, 0); /* a struct of no size is not null */
    struct slice frame = capnp_finish(&b);
    struct capnp_struct s;
    CHECK_OK(capnp_open(&msg, frame, &s));
    CHECK(capnp_u8(&s, 0) == 0x12 && capnp_bool(&s, 9) && !capnp_bool(&s, 10));
    CHECK(capnp_u16(&s, 2) == 0x3456 && capnp_u32(&s, 4) == 0x789abcde);
    CHECK(capnp_u64(&s, 8) == 0x1122334455667788U);
    CHECK_SLICE(capnp_text(&s, 0), SLICE("text"));
    CHECK_SLICE(capnp_data(&s, 1), SLICE("\xff\0"));
    uint32_t index;
    CHECK_OK(capnp_cap(&s, 2, &index));
    CHECK(index == 77);
    struct capnp_struct inner = capnp_get(&s, 3);
    CHECK(capnp_u64(&inner, 0) == 5);
    CHECK_SLICE(capnp_text(&inner, 0), SLICE("inner"));
    struct capnp_list l = capnp_list(&s, 4), texts = capnp_list(&s, 5);
    CHECK(l.count == 3 && texts.count == 3 && texts.is_pointers);
    for (uint32_t i = 0; i < 3; i++) {
        struct capnp_struct item = capnp_item(&l, i);
        CHECK(capnp_u32(&item, 4) == i);
        CHECK_SLICE(capnp_text(&item, 0), TEXTS[i]);
        CHECK_SLICE(capnp_item_text(&texts, i), TEXTS[i]);
    }
    CHECK(capnp_has(&s, 6) && capnp_get(&s, 6).data_bytes == 0);
    CHECK(msg.err == 0 && frame.n % 8 == 0);
    capnp_builder_done(&b);
}

/* Byte for byte what the reference library writes for these. */
TEST(the_bytes_are_those_of_the_format)
{
    struct capnp_builder b;
    struct capnp_ref root = capnp_build(&b, 1, 1);
    capnp_put_u32(&b, root, 0, 0x01020304);
    capnp_put_text(&b, root, 0, SLICE("hi"));
    static const uint8_t WANT[] = { 0,    0, 0, 0, 4,   0,   0, 0, 0, 0, 0, 0, 1, 0,
                                    1,    0, 4, 3, 2,   1,   0, 0, 0, 0, 1, 0, 0, 0,
                                    0x1a, 0, 0, 0, 'h', 'i', 0, 0, 0, 0, 0, 0 };
    CHECK_SLICE(capnp_finish(&b), slice_of(WANT, sizeof WANT));
    capnp_builder_done(&b);
    (void)capnp_build(&b, 0, 0);
    static const uint8_t EMPTY[] = { 0, 0, 0, 0, 1, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff, 0, 0, 0, 0 };
    CHECK_SLICE(capnp_finish(&b), slice_of(EMPTY, sizeof EMPTY));
    capnp_builder_done(&b);
}

TEST(what_is_empty_is_null)
{
    struct capnp_builder b;
    struct capnp_ref root = capnp_build(&b, 0, 4);
    capnp_put_text(&b, root, 0, SLICE(""));
    capnp_put_data(&b, root, 1, (struct slice){ 0 });
    (void)capnp_put_list(&b, root, 2, 0, 3, 3);
    capnp_put_texts(&b, root, 3, NULL, 0);
    struct slice frame = capnp_finish(&b);
    CHECK(frame.n == 8 + 8 + 4 * 8);
    struct capnp_struct s;
    CHECK_OK(capnp_open(&msg, frame, &s));
    for (uint16_t i = 0; i < 4; i++)
        CHECK(!capnp_has(&s, i));
    capnp_builder_done(&b);
}

TEST(a_field_outside_the_struct_is_not_written)
{
    struct capnp_builder b;
    struct capnp_ref root = capnp_build(&b, 1, 0), child;
    struct slice before = capnp_finish(&b);
    uint8_t copy[24];
    CHECK(before.n == sizeof copy);
    memcpy(copy, before.p, sizeof copy);
    for (uint32_t at = 1; at < 9; at++)
        capnp_put_u64(&b, root, at, UINT64_MAX);
    capnp_put_u8(&b, root, 8, 0xff);
    capnp_put_u16(&b, root, 7, 0xffff);
    capnp_put_u32(&b, root, 5, UINT32_MAX);
    capnp_put_bool(&b, root, 64, true);
    for (uint32_t k = 0; k < 9; k++) { /* no offset wraps around */
        capnp_put_u64(&b, root, UINT32_MAX - k, UINT64_MAX);
        capnp_put_u8(&b, root, UINT32_MAX - k, 0xff);
        capnp_put_bool(&b, root, UINT32_MAX - k, true);
    }
    CHECK_SLICE(capnp_finish(&b), slice_of(copy, sizeof copy));
    capnp_builder_done(&b);
    root = capnp_build(&b, 0, 1);
    child = capnp_put(&b, root, 0, 0, 0);
    capnp_put_u8(&b, child, 0, 0xff);
    CHECK(capnp_finish(&b).n == 24);
    capnp_builder_done(&b);
}

TEST(a_message_is_bounded_and_the_error_sticks)
{
    static char text[CAPNP_MESSAGE_BYTES_MAX];
    struct capnp_builder b;
    struct capnp_ref root = capnp_build(&b, 0, 2);
    memset(text, 'x', sizeof text);
    /* Header, root pointer, two pointers, and the NUL: so much is left. */
    capnp_put_text(&b, root, 0, slice_of(text, CAPNP_MESSAGE_BYTES_MAX - 32 - 1));
    CHECK(b.err == 0 && b.n == CAPNP_MESSAGE_BYTES_MAX);
    struct capnp_struct s;
    CHECK_OK(capnp_open(&msg, capnp_finish(&b), &s));
    CHECK(capnp_text(&s, 0).n == CAPNP_MESSAGE_BYTES_MAX - 33);
    capnp_put_text(&b, root, 1, SLICE("x"));
    CHECK(b.err == ERR_LIMIT && capnp_finish(&b).p == NULL);
    capnp_builder_done(&b);
    root = capnp_build(&b, 0, 3);
    capnp_put_data(&b, root, 0, slice_of(text, CAPNP_MESSAGE_BYTES_MAX));
    CHECK(b.err == ERR_LIMIT);
    /* Everything behind it is ignored, on references that are nowhere too. */
    struct capnp_ref child = capnp_put(&b, root, 1, 1, 1);
    capnp_put_u64(&b, child, 0, 1);
    capnp_put_bool(&b, child, 0, true);
    capnp_put_text(&b, child, 0, SLICE("x"));
    capnp_put_cap(&b, child, 0, 1);
    struct capnp_ref list = capnp_put_list(&b, child, 0, 5, 1, 1);
    capnp_put_u64(&b, capnp_put_item(list, 4), 0, 1);
    capnp_put_texts(&b, child, 0, (const struct slice[]){ SLICE("x") }, 1);
    CHECK(b.err == ERR_LIMIT && capnp_finish(&b).n == 0);
    capnp_builder_done(&b);
    root = capnp_build(&b, 0, 1);
    (void)capnp_put_list(&b, root, 0, UINT32_MAX, 65535, 65535);
    CHECK(b.err == ERR_LIMIT);
    capnp_builder_done(&b);
    capnp_put_text(&b, root, 0, SLICE("x")); /* a builder that is done takes nothing */
    CHECK(b.err == ERR_LIMIT && b.p == NULL);
}

/* More texts than a struct can have pointers. */
TEST(a_long_list_of_texts_keeps_its_places)
{
    enum { COUNT = 70000 };
    static struct slice texts[COUNT];
    struct capnp_builder b;
    struct capnp_ref root = capnp_build(&b, 0, 1);
    texts[0] = SLICE("first");
    texts[65536] = SLICE("middle");
    texts[COUNT - 1] = SLICE("last");
    capnp_put_texts(&b, root, 0, texts, COUNT);
    struct capnp_struct s;
    CHECK_OK(capnp_open(&msg, capnp_finish(&b), &s));
    struct capnp_list l = capnp_list(&s, 0);
    CHECK(l.count == COUNT);
    CHECK_SLICE(capnp_item_text(&l, 0), SLICE("first"));
    CHECK_SLICE(capnp_item_text(&l, 65536), SLICE("middle"));
    CHECK_SLICE(capnp_item_text(&l, COUNT - 1), SLICE("last"));
    CHECK(capnp_item_text(&l, 1).n == 0 && msg.err == 0);
    capnp_builder_done(&b);
}

TESTS(RUN(what_is_built_reads_back), RUN(the_bytes_are_those_of_the_format),
      RUN(what_is_empty_is_null), RUN(a_field_outside_the_struct_is_not_written),
      RUN(a_message_is_bounded_and_the_error_sticks), RUN(a_long_list_of_texts_keeps_its_places))
