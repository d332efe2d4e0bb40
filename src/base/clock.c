#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#include "base/err.h"

nsec clock_monotonic(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (nsec)t.tv_sec * NSEC_PER_SEC + (nsec)t.tv_nsec;
}

int64_t clock_wall_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

char *clock_rfc3339(int64_t wall_us, char text[static CLOCK_TEXT_BYTES])
{
    int64_t fraction = wall_us % 1000000;
    time_t seconds = (time_t)(wall_us / 1000000 - (fraction < 0));
    struct tm tm;
    if (fraction < 0)
        fraction += 1000000;
    (void)gmtime_r(&seconds, &tm);
    size_t n = strftime(text, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(text + n, CLOCK_TEXT_BYTES - n, ".%06dZ", (int)fraction);
    return text;
}

/* `digits` of them, then the byte `end` (0 = none). */
static bool take_digits(struct slice *s, unsigned digits, char end, int max, int *ret)
{
    uint64_t n;
    if (s->n < digits || slice_u64(slice_sub(*s, 0, digits), (uint64_t)max, &n) < 0)
        return false;
    *ret = (int)n;
    *s = slice_sub(*s, digits, SIZE_MAX);
    if (end == 0)
        return true;
    if (s->n == 0 || (s->p[0] != end && !(end == 'T' && s->p[0] == 't')))
        return false;
    *s = slice_sub(*s, 1, SIZE_MAX);
    return true;
}

/* Microseconds of ".123", if there is one. */
static bool take_fraction(struct slice *s, int64_t *ret)
{
    int64_t unit = 100000;
    size_t n = 1;
    *ret = 0;
    if (s->n == 0 || s->p[0] != '.')
        return true;
    for (; n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++, unit /= 10)
        *ret += (s->p[n] - '0') * unit;
    *s = slice_sub(*s, n, SIZE_MAX);
    return n > 1;
}

static bool take_zone(struct slice s, int *ret_seconds)
{
    int hours, minutes;
    *ret_seconds = 0;
    if (s.n == 1 && (s.p[0] == 'Z' || s.p[0] == 'z'))
        return true;
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-' && s.p[0] != ' '))
        return false;
    int sign = s.p[0] == '-' ? -1 : 1;
    s = slice_sub(s, 1, SIZE_MAX);
    if (!take_digits(&s, 2, ':', 23, &hours) || !take_digits(&s, 2, 0, 59, &minutes))
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

int clock_parse_rfc3339(struct slice text, int64_t *ret_us)
{
    struct tm tm = { 0 };
    int64_t fraction;
    int zone;
    if (!take_digits(&text, 4, '-', 9999, &tm.tm_year) ||
        !take_digits(&text, 2, '-', 12, &tm.tm_mon) ||
        !take_digits(&text, 2, 'T', 31, &tm.tm_mday) ||
        !take_digits(&text, 2, ':', 23, &tm.tm_hour) ||
        !take_digits(&text, 2, ':', 59, &tm.tm_min) || !take_digits(&text, 2, 0, 60, &tm.tm_sec) ||
        !take_fraction(&text, &fraction) || !take_zone(text, &zone) || tm.tm_year < 1970 ||
        tm.tm_mon < 1 || tm.tm_mday < 1)
        return ERR_PARSE;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    *ret_us = ((int64_t)timegm(&tm) - zone) * 1000000 + fraction;
    return 0;
}
