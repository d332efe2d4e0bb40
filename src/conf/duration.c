#include "conf/duration.h"

#include "base/err.h"

static const struct unit {
    const char *name;
    double ns;
} UNITS[] = {
    { "ns", 1 },   { "us", 1e3 }, { "\xc2\xb5s", 1e3 }, { "\xce\xbcs", 1e3 },
    { "ms", 1e6 }, { "s", 1e9 },  { "m", 60e9 },        { "h", 3600e9 },
};

static const struct unit *unit_of(struct slice text)
{
    for (size_t i = 0; i < sizeof UNITS / sizeof UNITS[0]; i++)
        if (slice_eq(text, slice_str(UNITS[i].name)))
            return &UNITS[i];
    return NULL;
}

/* Digits with at most one point. Returns how many bytes, 0 when there is no digit. */
static size_t take_number(struct slice text, double *ret)
{
    double value = 0, scale = 1;
    size_t n = 0, digits = 0;
    bool has_point = false;
    for (; n < text.n; n++) {
        uint8_t c = text.p[n];
        if (c == '.' && !has_point) {
            has_point = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        digits++;
        value = value * 10 + (c - '0');
        if (has_point)
            scale *= 10;
    }
    *ret = value / scale;
    return digits > 0 ? n : 0;
}

int duration_parse(struct slice text, int64_t *ret)
{
    double total = 0, number;
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
        size_t n = take_number(text, &number), end;
        if (n == 0)
            return ERR_PARSE;
        text = slice_sub(text, n, SIZE_MAX);
        for (end = 0;
             end < text.n && text.p[end] != '.' && (text.p[end] < '0' || text.p[end] > '9'); end++)
            continue;
        const struct unit *unit = unit_of(slice_sub(text, 0, end));
        if (unit == NULL)
            return ERR_PARSE;
        total += number * unit->ns;
        text = slice_sub(text, end, SIZE_MAX);
    }
    if (total > 9.2e18)
        return ERR_RANGE;
    *ret = is_negative ? -(int64_t)total : (int64_t)total;
    return 0;
}
