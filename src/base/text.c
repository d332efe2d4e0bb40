#include "base/text.h"

#include "base/err.h"

static const char HEX[] = "0123456789abcdef";

size_t u64_text(uint64_t value, char text[static U64_TEXT_BYTES])
{
    char digits[U64_TEXT_BYTES];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < n; i++)
        text[i] = digits[n - 1 - i];
    text[n] = 0;
    return n;
}

char *hex_encode(struct slice s, char *text)
{
    for (size_t i = 0; i < s.n; i++) {
        text[2 * i] = HEX[s.p[i] >> 4];
        text[2 * i + 1] = HEX[s.p[i] & 15];
    }
    text[2 * s.n] = 0;
    return text;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(struct slice text, uint8_t *out)
{
    if (text.n % 2 != 0)
        return ERR_PARSE;
    for (size_t i = 0; i < text.n; i += 2) {
        int high = hex_digit(text.p[i]), low = hex_digit(text.p[i + 1]);
        if (high < 0 || low < 0)
            return ERR_PARSE;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static const char ALPHABET[2][65] = {
    [BASE64_STD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t base64_encode(struct slice s, enum base64_kind kind, bool padding, char *text)
{
    const char *alphabet = ALPHABET[kind];
    size_t n = 0;
    for (size_t i = 0; i < s.n; i += 3) {
        size_t have = s.n - i < 3 ? s.n - i : 3;
        uint32_t word = (uint32_t)s.p[i] << 16 | (have > 1 ? (uint32_t)s.p[i + 1] << 8 : 0) |
                        (have > 2 ? s.p[i + 2] : 0U);
        for (size_t k = 0; k < 4; k++) {
            if (k <= have)
                text[n++] = alphabet[word >> (18 - 6 * k) & 63];
            else if (padding)
                text[n++] = '=';
        }
    }
    text[n] = 0;
    return n;
}

static int base64_digit(uint8_t c, enum base64_kind kind)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (uint8_t)ALPHABET[kind][62])
        return 62;
    return c == (uint8_t)ALPHABET[kind][63] ? 63 : -1;
}

int base64_decode(struct slice text, enum base64_kind kind, bool padding, bool breaks, uint8_t *out,
                  size_t *ret)
{
    uint32_t word = 0;
    size_t digits = 0, pads = 0, n = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (breaks && (c == '\r' || c == '\n'))
            continue;
        if (c == '=' && padding) {
            pads++;
            continue;
        }
        int digit = base64_digit(c, kind);
        if (digit < 0 || pads > 0)
            return ERR_PARSE;
        word = word << 6 | (uint32_t)digit;
        digits++;
        if (digits % 4 == 0) {
            out[n++] = (uint8_t)(word >> 16);
            out[n++] = (uint8_t)(word >> 8);
            out[n++] = (uint8_t)word;
        }
    }
    size_t rest = digits % 4;
    if (rest == 1 || (padding && pads != (4 - rest) % 4))
        return ERR_PARSE;
    if (rest == 2)
        out[n++] = (uint8_t)(word >> 4);
    if (rest == 3) {
        out[n++] = (uint8_t)(word >> 10);
        out[n++] = (uint8_t)(word >> 2);
    }
    *ret = n;
    return 0;
}

char *uuid_text(const struct uuid *id, char text[static UUID_TEXT_BYTES])
{
    char *p = text;
    for (size_t i = 0; i < sizeof id->bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = HEX[id->bytes[i] >> 4];
        *p++ = HEX[id->bytes[i] & 15];
    }
    *p = 0;
    return text;
}

int uuid_parse(struct slice text, struct uuid *ret)
{
    uint8_t digits[32];
    size_t n = 0;
    if (text.n == 38 && text.p[0] == '{' && text.p[37] == '}')
        text = slice_sub(text, 1, 36);
    if (text.n != 36 && text.n != 32)
        return ERR_PARSE;
    for (size_t i = 0; i < text.n; i++) {
        bool is_dash = text.n == 36 && (i == 8 || i == 13 || i == 18 || i == 23);
        if (is_dash ? text.p[i] != '-' : n >= sizeof digits)
            return ERR_PARSE;
        if (!is_dash)
            digits[n++] = text.p[i];
    }
    struct uuid id = { 0 };
    if (n != sizeof digits || hex_decode(slice_of(digits, n), id.bytes) < 0)
        return ERR_PARSE;
    *ret = id;
    return 0;
}
