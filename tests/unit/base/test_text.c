#include "base/text.h"

#include "test.h"

TEST(hexadecimal_goes_there_and_back)
{
    uint8_t bytes[256], back[256];
    char text[HEX_BYTES(256)];
    for (size_t i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    CHECK(strlen(hex_encode(slice_of(bytes, 256), text)) == 512);
    CHECK(strncmp(text + 0xa9 * 2, "a9aaab", 6) == 0);
    CHECK_OK(hex_decode(slice_str(text), back));
    CHECK(memcmp(bytes, back, 256) == 0);
    CHECK_OK(hex_decode(SLICE("aBCdEf09"), back));
    CHECK(memcmp(back, "\xab\xcd\xef\x09", 4) == 0);
    CHECK(hex_encode((struct slice){ 0 }, text)[0] == 0);
    CHECK_OK(hex_decode(SLICE(""), back));
}

TEST(what_is_not_hexadecimal_is_refused)
{
    uint8_t back[8];
    static const char *const BAD[] = { "a", "abc", "g0", "0g", " 0", "0x", "\xc1\xc1", "0`", "@0" };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        CHECK_ERR(ERR_PARSE, hex_decode(slice_str(BAD[i]), back));
}

/* RFC 4648 §10. */
static const struct {
    const char *plain, *text;
} BASE64[] = {
    { "", "" },
    { "f", "Zg==" },
    { "fo", "Zm8=" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" },
    { "fooba", "Zm9vYmE=" },
    { "foobar", "Zm9vYmFy" },
};

TEST(base64_is_that_of_the_rfc)
{
    for (size_t i = 0; i < sizeof BASE64 / sizeof BASE64[0]; i++) {
        struct slice plain = slice_str(BASE64[i].plain), text = slice_str(BASE64[i].text);
        char out[BASE64_BYTES(6)];
        uint8_t back[16];
        size_t n;
        CHECK(base64_encode(plain, BASE64_STD, true, out) == text.n);
        CHECK_SLICE(slice_str(out), text);
        CHECK_OK(base64_decode(text, BASE64_STD, true, false, back, &n));
        CHECK_SLICE(slice_of(back, n), plain);
        struct slice bare = slice_sub(text, 0, slice_find(text, '='));
        CHECK(base64_encode(plain, BASE64_URL, false, out) == bare.n);
        CHECK_SLICE(slice_str(out), bare);
        CHECK_OK(base64_decode(bare, BASE64_URL, false, false, back, &n));
        CHECK_SLICE(slice_of(back, n), plain);
    }
}

TEST(every_length_and_byte_survives_base64)
{
    for (size_t size = 0; size < 300; size++) {
        uint8_t bytes[300], back[304];
        char text[BASE64_BYTES(300)];
        size_t n;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(i * 37 + size);
        for (int kind = BASE64_STD; kind <= BASE64_URL; kind++)
            for (int padding = 0; padding < 2; padding++) {
                size_t length = base64_encode(slice_of(bytes, size), (enum base64_kind)kind,
                                              padding != 0, text);
                CHECK(length == strlen(text) && length < BASE64_BYTES(size));
                CHECK_OK(base64_decode(slice_of(text, length), (enum base64_kind)kind, padding != 0,
                                       false, back, &n));
                CHECK(n == size && memcmp(bytes, back, n) == 0);
                if (size % 3 != 0)
                    CHECK_ERR(ERR_PARSE,
                              base64_decode(slice_of(text, length), (enum base64_kind)kind,
                                            padding == 0, false, back, &n));
            }
    }
}

TEST(what_is_not_base64_is_refused)
{
    static const struct {
        const char *text;
        enum base64_kind kind;
        bool padding, breaks;
    } BAD[] = {
        { "Z", BASE64_STD, true, false },        { "Z", BASE64_STD, false, false },
        { "Zg", BASE64_STD, true, false },       { "Zg=", BASE64_STD, true, false },
        { "Zg===", BASE64_STD, true, false },    { "Zg==", BASE64_STD, false, false },
        { "Zm9v=", BASE64_STD, true, false },    { "Zm9v====", BASE64_STD, true, false },
        { "====", BASE64_STD, true, false },     { "=", BASE64_STD, true, false },
        { "Zg==Zg==", BASE64_STD, true, false }, { "Z=g=", BASE64_STD, true, false },
        { "Zm9v\n", BASE64_STD, true, false },   { "Zm 9v", BASE64_STD, true, true },
        { "Zm9v ", BASE64_STD, true, true },     { "-_-_", BASE64_STD, true, false },
        { "+/+/", BASE64_URL, true, false },     { "Zm9v\xc3\xa9", BASE64_STD, true, false },
        { "Zm9v.", BASE64_STD, true, false },    { "AAAA@AAA", BASE64_STD, true, false },
    };
    uint8_t back[16];
    size_t n;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        CHECK_ERR(ERR_PARSE, base64_decode(slice_str(BAD[i].text), BAD[i].kind, BAD[i].padding,
                                           BAD[i].breaks, back, &n));
    CHECK_ERR(ERR_PARSE, base64_decode(SLICE("Zm9\0"), BASE64_STD, true, false, back, &n));
    CHECK_OK(base64_decode(SLICE("\r\nZm\n9v\r\nZg\n=\r=\n"), BASE64_STD, true, true, back, &n));
    CHECK_SLICE(slice_of(back, n), SLICE("foof"));
    CHECK_OK(base64_decode(SLICE("Zh=="), BASE64_STD, true, false, back, &n)); /* spare bits */
    CHECK_SLICE(slice_of(back, n), SLICE("f"));
}

TEST(a_decoder_stays_within_the_room_that_it_names)
{
    for (size_t size = 0; size < 40; size++) {
        uint8_t *out = malloc(size / 4 * 3 + 3);
        char text[40];
        size_t n;
        memset(text, 'A', sizeof text);
        CHECK_ERR(size % 4 == 1 ? ERR_PARSE : 0,
                  base64_decode(slice_of(text, size), BASE64_STD, false, false, out, &n));
        free(out);
    }
}

TEST(a_uuid_is_read_in_its_four_forms)
{
    static const char *const GOOD[] = {
        "f174e90a-fafe-4643-bbbc-4a0ed4fc8415",
        "F174E90A-FAFE-4643-BBBC-4A0ED4FC8415",
        "f174e90afafe4643bbbc4a0ed4fc8415",
        "{f174e90a-fafe-4643-bbbc-4a0ed4fc8415}",
    };
    char text[UUID_TEXT_BYTES];
    struct uuid first, id;
    CHECK_OK(uuid_parse(slice_str(GOOD[0]), &first));
    CHECK(first.bytes[0] == 0xf1 && first.bytes[15] == 0x15);
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        CHECK_OK(uuid_parse(slice_str(GOOD[i]), &id));
        CHECK(uuid_eq(&id, &first));
        CHECK(strcmp(uuid_text(&id, text), GOOD[0]) == 0);
    }
}

TEST(a_broken_uuid_is_refused_and_changes_nothing)
{
    static const char WHOLE[] = "f174e90a-fafe-4643-bbbc-4a0ed4fc8415";
    static const char *const BAD[] = {
        "f174e90a-fafe-4643-bbbc-4a0ed4fc84150", "f174e90a-fafe-4643-bbbc-4a0ed4fc841g",
        "f174e90a_fafe-4643-bbbc-4a0ed4fc8415",  "f174e90af-afe-4643-bbbc-4a0ed4fc8415",
        "f174e90afafe-4643-bbbc-4a0ed4fc8415",   "{f174e90a-fafe-4643-bbbc-4a0ed4fc8415",
        "f174e90a-fafe-4643-bbbc-4a0ed4fc8415}", "------------------------------------",
        "{f174e90afafe4643bbbc4a0ed4fc8415}",    "f174e90a-fafe-4643-bbbc-4a0ed4fc841 ",
        "--------------------------------",
    };
    struct uuid id = { { 7 } };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        CHECK_ERR(ERR_PARSE, uuid_parse(slice_str(BAD[i]), &id));
    for (size_t n = 0; n < sizeof WHOLE - 1; n++)
        CHECK_ERR(ERR_PARSE, uuid_parse(slice_of(WHOLE, n), &id));
    CHECK(id.bytes[0] == 7);
}

TEST(numbers_are_written_in_decimal)
{
    static const struct {
        uint64_t value;
        const char *text;
    } TABLE[] = { { 0, "0" },     { 7, "7" },         { 10, "10" },
                  { 200, "200" }, { 65535, "65535" }, { UINT64_MAX, "18446744073709551615" } };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        char text[U64_TEXT_BYTES];
        CHECK(u64_text(TABLE[i].value, text) == strlen(TABLE[i].text));
        assert_string_equal(text, TABLE[i].text);
    }
}

TESTS(RUN(numbers_are_written_in_decimal), RUN(hexadecimal_goes_there_and_back),
      RUN(what_is_not_hexadecimal_is_refused), RUN(base64_is_that_of_the_rfc),
      RUN(every_length_and_byte_survives_base64), RUN(what_is_not_base64_is_refused),
      RUN(a_decoder_stays_within_the_room_that_it_names), RUN(a_uuid_is_read_in_its_four_forms),
      RUN(a_broken_uuid_is_refused_and_changes_nothing))
