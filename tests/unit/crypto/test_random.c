#include "crypto/random.h"

#include "test.h"

TEST(bytes_are_filled_to_the_last_and_differ)
{
    static uint8_t one[70000], two[70000];
    size_t zeros = 0, ones = 0;
    random_bytes(one, sizeof one);
    random_bytes(two, sizeof two - 1);
    CHECK(memcmp(one, two, 32) != 0);
    CHECK(two[sizeof two - 1] == 0); /* and none beyond */
    for (size_t i = 0; i < sizeof one; i++) {
        zeros += one[i] == 0;
        for (int bit = 0; bit < 8; bit++)
            ones += (one[i] >> bit) & 1;
    }
    CHECK(zeros > 150 && zeros < 450); /* 273 is expected: 7 deviations either way */
    CHECK(ones > 278000 && ones < 282000);
    random_bytes(one, 0);
}

TEST(a_token_uses_its_whole_alphabet)
{
    char token[4001];
    size_t counts[256] = { 0 };
    random_token(token, 4000);
    CHECK(strlen(token) == 4000);
    for (size_t i = 0; i < 4000; i++)
        counts[(uint8_t)token[i]]++;
    size_t kinds = 0;
    for (int c = 0; c < 256; c++) {
        bool is_allowed = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                          (c >= 'a' && c <= 'z') || c == '_' || c == '-';
        CHECK(is_allowed || counts[c] == 0);
        kinds += counts[c] > 0;
        CHECK(counts[c] < 140); /* 62 or 63 are expected */
    }
    CHECK(kinds == 64);
    random_token(token, 0);
    CHECK(token[0] == 0);
}

TEST(a_uuid_is_of_version_4)
{
    struct uuid one, two;
    uint8_t seen_or = 0, seen_and = 0xff;
    for (int i = 0; i < 200; i++) {
        random_uuid(&one);
        random_uuid(&two);
        CHECK(!uuid_eq(&one, &two));
        CHECK(one.bytes[6] >> 4 == 4 && one.bytes[8] >> 6 == 2);
        seen_or |= one.bytes[8];
        seen_and &= one.bytes[8];
    }
    CHECK((seen_or & 0x3f) == 0x3f && (seen_and & 0x3f) == 0); /* all other bits are free */
}

TESTS(RUN(bytes_are_filled_to_the_last_and_differ), RUN(a_token_uses_its_whole_alphabet),
      RUN(a_uuid_is_of_version_4))
