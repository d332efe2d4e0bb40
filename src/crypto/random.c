#include "crypto/random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(uint8_t *out, size_t n)
{
    while (n > 0) {
        ssize_t got = getrandom(out, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        out += got;
        n -= (size_t)got;
    }
}

void random_token(char *out, size_t n)
{
    static const char ALPHABET[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";
    for (size_t i = 0; i < n; i++) {
        uint8_t byte;
        random_bytes(&byte, 1);
        out[i] = ALPHABET[byte & 63];
    }
    out[n] = 0;
}

void random_uuid(struct uuid *ret)
{
    random_bytes(ret->bytes, sizeof ret->bytes);
    ret->bytes[6] = (uint8_t)((ret->bytes[6] & 0x0f) | 0x40);
    ret->bytes[8] = (uint8_t)((ret->bytes[8] & 0x3f) | 0x80);
}
