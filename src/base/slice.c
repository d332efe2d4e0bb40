#include "base/slice.h"

#include <stdlib.h>

#include "base/err.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* Eight bytes at once: each from 'A' to 'Z' gains 0x20. Sums stay within their bytes, because the
 * top bits are left out of them. */
static uint64_t word_lower(const uint8_t *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t word;
    memcpy(&word, p, sizeof word);
    uint64_t low = word & ~tops;
    uint64_t from_a = low + ones * (0x80 - 'A'), past_z = low + ones * (0x7f - 'Z');
    return word | ((from_a & ~past_z & ~word & tops) >> 2);
}

/* Names of headers are compared all the time: by words, the last of which overlaps. */
bool slice_eq_nocase(struct slice a, struct slice b)
{
    size_t i = 0;
    if (a.n != b.n)
        return false;
    if (a.n < 8) {
        for (; i < a.n; i++)
            if (lower(a.p[i]) != lower(b.p[i]))
                return false;
        return true;
    }
    for (; i < a.n - 8; i += 8)
        if (word_lower(a.p + i) != word_lower(b.p + i))
            return false;
    return word_lower(a.p + a.n - 8) == word_lower(b.p + b.n - 8);
}

bool slice_starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_eq(slice_of(s.p, prefix.n), prefix);
}

bool slice_ends(struct slice s, struct slice suffix)
{
    return s.n >= suffix.n && slice_eq(slice_of(s.p + (s.n - suffix.n), suffix.n), suffix);
}

size_t slice_find(struct slice s, uint8_t byte)
{
    const uint8_t *at = s.n > 0 ? memchr(s.p, byte, s.n) : NULL;
    return at != NULL ? (size_t)(at - s.p) : s.n;
}

size_t slice_find_last(struct slice s, uint8_t byte)
{
    const uint8_t *at = s.n > 0 ? memrchr(s.p, byte, s.n) : NULL;
    return at != NULL ? (size_t)(at - s.p) : s.n;
}

struct slice slice_trim(struct slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool slice_split(struct slice *s, uint8_t byte, struct slice *ret)
{
    if (s->p == NULL)
        return false;
    size_t at = slice_find(*s, byte);
    *ret = slice_of(s->p, at);
    *s = at < s->n ? slice_of(s->p + at + 1, s->n - at - 1) : (struct slice){ 0 };
    return true;
}

int slice_u64(struct slice s, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (s.n == 0)
        return ERR_PARSE;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return ERR_PARSE;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return ERR_RANGE;
        value = value * 10 + digit;
    }
    if (value > max)
        return ERR_RANGE;
    *ret = value;
    return 0;
}

bool slice_eq_secret(struct slice a, struct slice b)
{
    uint8_t differ = a.n != b.n;
    for (size_t i = 0; i < a.n && i < b.n; i++)
        differ |= (uint8_t)(a.p[i] ^ b.p[i]);
    return differ == 0;
}

/* Length of the sequence that starts here, or 0 when it is malformed. RFC 3629 §4. */
static size_t utf8_step(const uint8_t *p, size_t n)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least;
    } SHAPES[] = {
        { 0x80, 0x00, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 }
    };
    for (size_t k = 0; k < 4; k++) {
        if ((p[0] & SHAPES[k].mask) != SHAPES[k].lead)
            continue;
        if (k + 1 > n)
            return 0;
        uint32_t point = p[0] & (uint8_t)~SHAPES[k].mask;
        for (size_t i = 1; i <= k; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return 0;
            point = point << 6 | (p[i] & 0x3fU);
        }
        bool surrogate = point >= 0xd800 && point <= 0xdfff;
        return point < SHAPES[k].least || point > 0x10ffff || surrogate ? 0 : k + 1;
    }
    return 0;
}

bool slice_is_utf8(struct slice s)
{
    for (size_t i = 0; i < s.n;) {
        size_t step = utf8_step(s.p + i, s.n - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

char *slice_dup(struct slice s)
{
    char *copy = malloc(s.n + 1);
    if (copy == NULL)
        abort();
    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    copy[s.n] = 0;
    return copy;
}
