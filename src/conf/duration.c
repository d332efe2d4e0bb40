#include "conf/duration.h"

#include "base/err.h"

/* As Go counts: the magnitude may be one more than INT64_MAX, for the least negative number. */
#define MAGNITUDE_MAX ((uint64_t)1 << 63)

static const struct unit {
    const char *name;
    uint64_t ns;
} UNITS[] = {
    { "ns", 1 },
    { "us", NSEC_PER_USEC },
    { "\xc2\xb5s", NSEC_PER_USEC }, /* the micro sign */
    { "\xce\xbcs", NSEC_PER_USEC }, /* the Greek letter */
    { "ms", NSEC_PER_MSEC },
    { "s", NSEC_PER_SEC },
    { "m", 60 * NSEC_PER_SEC },
    { "h", 3600 * NSEC_PER_SEC },
};

static const struct unit *unit_of(struct slice text)
{
    for (size_t i = 0; i < sizeof UNITS / sizeof UNITS[0]; i++)
        if (slice_eq(text, slice_str(UNITS[i].name)))
            return &UNITS[i];
    return NULL;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Takes the digits off *text. False when they say more than MAGNITUDE_MAX. */
static bool take_whole(struct slice *text, uint64_t *ret)
{
    uint64_t value = 0;
    bool fits = true;
    size_t n = 0;
    for (; n < text->n && is_digit(text->p[n]); n++) {
        uint64_t digit = (uint64_t)(text->p[n] - '0');
        fits = fits && value <= (MAGNITUDE_MAX - digit) / 10;
        if (fits)
            value = value * 10 + digit;
    }
    *text = slice_sub(*text, n, SIZE_MAX);
    *ret = value;
    return fits;
}

struct fraction {
    uint64_t value;
    double scale; /* the power of ten to divide by */
};

/* Takes the digits behind the point; those past what a number holds say less than a nanosecond. */
static struct fraction take_fraction(struct slice *text)
{
    struct fraction f = { .scale = 1 };
    size_t n = 0;
    for (; n < text->n && is_digit(text->p[n]); n++) {
        if (f.value > (MAGNITUDE_MAX - 1) / 10)
            continue;
        f.value = f.value * 10 + (uint64_t)(text->p[n] - '0');
        f.scale *= 10;
    }
    *text = slice_sub(*text, n, SIZE_MAX);
    return f;
}

/* A number with its unit, in nanoseconds. */
static int take_part(struct slice *text, uint64_t *ret)
{
    uint64_t whole;
    struct fraction fraction = { .scale = 1 };
    size_t before = text->n;
    bool fits = take_whole(text, &whole);
    size_t digits = before - text->n;
    if (text->n > 0 && text->p[0] == '.') {
        *text = slice_sub(*text, 1, SIZE_MAX);
        before = text->n;
        fraction = take_fraction(text);
        digits += before - text->n;
    }
    size_t end = 0;
    while (end < text->n && text->p[end] != '.' && !is_digit(text->p[end]))
        end++;
    const struct unit *unit = unit_of(slice_sub(*text, 0, end));
    if (digits == 0 || unit == NULL)
        return ERR_PARSE;
    *text = slice_sub(*text, end, SIZE_MAX);
    if (!fits || whole > MAGNITUDE_MAX / unit->ns)
        return ERR_RANGE;
    *ret =
        whole * unit->ns + (uint64_t)((double)fraction.value * ((double)unit->ns / fraction.scale));
    return *ret <= MAGNITUDE_MAX ? 0 : ERR_RANGE;
}

int duration_parse(struct slice text, int64_t *ret)
{
    uint64_t total = 0, part;
    bool is_negative = text.n > 0 && text.p[0] == '-';
    if (text.n > 0 && (text.p[0] == '-' || text.p[0] == '+'))
        text = slice_sub(text, 1, SIZE_MAX);
    if (slice_eq(text, SLICE("0"))) {
        *ret = 0;
        return 0;
    }
    if (text.n == 0)
        return ERR_PARSE;
    while (text.n > 0) {
        int r = take_part(&text, &part);
        if (r < 0)
            return r;
        total += part;
        if (total > MAGNITUDE_MAX)
            return ERR_RANGE;
    }
    if (total == MAGNITUDE_MAX && !is_negative)
        return ERR_RANGE;
    *ret = is_negative ? (int64_t)(0 - total) : (int64_t)total;
    return 0;
}
