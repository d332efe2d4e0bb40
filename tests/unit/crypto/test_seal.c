#include "crypto/seal.h"

#include "test.h"

static const uint8_t KEY[SEAL_KEY_BYTES] = { 1, 2, 3 };

TEST(what_is_sealed_opens_again)
{
    for (size_t n = 0; n < 100; n++) {
        uint8_t plain[100], *sealed = malloc(n + SEAL_OVERHEAD), *back = malloc(n + (n == 0));
        memset(plain, (int)n, sizeof plain);
        CHECK_OK(seal(KEY, SLICE("tunnel"), slice_of(plain, n), sealed));
        CHECK_OK(seal_open(KEY, SLICE("tunnel"), slice_of(sealed, n + SEAL_OVERHEAD), back));
        CHECK(memcmp(plain, back, n) == 0);
        CHECK(n < 16 || memmem(sealed, n + SEAL_OVERHEAD, plain, n) == NULL);
        free(sealed);
        free(back);
    }
    uint8_t one[SEAL_OVERHEAD + 4], two[SEAL_OVERHEAD + 4];
    CHECK_OK(seal(KEY, SLICE(""), SLICE("same"), one));
    CHECK_OK(seal(KEY, SLICE(""), SLICE("same"), two));
    CHECK(memcmp(one + 1, two + 1, 12) != 0); /* a nonce is used once */
    CHECK(memcmp(one + 13, two + 13, 20) != 0);
}

TEST(a_single_bit_that_differs_is_refused)
{
    uint8_t sealed[SEAL_OVERHEAD + 9], back[9], key[SEAL_KEY_BYTES];
    CHECK_OK(seal(KEY, SLICE("about"), SLICE("plaintext"), sealed));
    for (size_t bit = 0; bit < sizeof sealed * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_ERR(ERR_DENIED,
                  seal_open(KEY, SLICE("about"), slice_of(sealed, sizeof sealed), back));
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < sizeof sealed; n++)
        CHECK_ERR(ERR_DENIED, seal_open(KEY, SLICE("about"), slice_of(sealed, n), back));
    for (size_t bit = 0; bit < sizeof key * 8; bit++) {
        memcpy(key, KEY, sizeof key);
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_ERR(ERR_DENIED,
                  seal_open(key, SLICE("about"), slice_of(sealed, sizeof sealed), back));
    }
    static const char *const OTHERS[] = { "", "abou", "aboutx", "About" };
    for (size_t i = 0; i < 4; i++)
        CHECK_ERR(ERR_DENIED,
                  seal_open(KEY, slice_str(OTHERS[i]), slice_of(sealed, sizeof sealed), back));
    CHECK_OK(seal_open(KEY, SLICE("about"), slice_of(sealed, sizeof sealed), back));
}

TESTS(RUN(what_is_sealed_opens_again), RUN(a_single_bit_that_differs_is_refused))
