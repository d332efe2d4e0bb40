#include "crypto/hash.h"

#include "base/text.h"
#include "test.h"

static void check(const uint8_t *digest, const char *want)
{
    char text[HEX_BYTES(SHA256_BYTES)];
    assert_string_equal(hex_encode(slice_of(digest, SHA256_BYTES), text), want);
}

/* FIPS 180-4's examples. */
TEST(sha_256_gives_the_standards_digests)
{
    static char million[1000000];
    uint8_t digest[SHA256_BYTES];
    sha256(SLICE(""), digest);
    check(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256((struct slice){ 0 }, digest);
    check(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256(SLICE("abc"), digest);
    check(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    memset(million, 'a', sizeof million);
    sha256(slice_of(million, sizeof million), digest);
    check(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    CHECK(true);
}

/* RFC 4231 §4.2, §4.3, §4.7. */
TEST(hmac_gives_the_rfcs_codes)
{
    uint8_t code[SHA256_BYTES], key[131];
    memset(key, 0x0b, 20);
    hmac_sha256(slice_of(key, 20), SLICE("Hi There"), code);
    check(code, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256(SLICE("Jefe"), SLICE("what do ya want for nothing?"), code);
    check(code, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    hmac_sha256(slice_of(key, sizeof key),
                SLICE("Test Using Larger Than Block-Size Key - Hash Key First"), code);
    check(code, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    CHECK(true);
}

TESTS(RUN(sha_256_gives_the_standards_digests), RUN(hmac_gives_the_rfcs_codes))
