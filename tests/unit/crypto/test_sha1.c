#include "crypto/sha1.h"

#include "base/text.h"
#include "test.h"

/* FIPS 180-4's examples, and the one for which we have it (RFC 6455 §1.3). */
TEST(sha_1_gives_the_standards_digests)
{
    static const struct {
        const char *text, *digest;
    } CASES[] = {
        { "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
          "b37a4f2cc0624f1690f64606cf385945b2bec4ea" },
    };
    for (size_t i = 0; i < 3; i++) {
        uint8_t digest[SHA1_BYTES];
        char text[HEX_BYTES(SHA1_BYTES)];
        CHECK_OK(sha1(slice_str(CASES[i].text), digest));
        CHECK(strcmp(hex_encode(slice_of(digest, SHA1_BYTES), text), CASES[i].digest) == 0);
    }
}

TESTS(RUN(sha_1_gives_the_standards_digests))
