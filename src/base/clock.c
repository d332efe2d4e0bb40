#include "base/clock.h"

#include <stdio.h>
#include <time.h>

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
