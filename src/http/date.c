#include "http/date.h"

#include <time.h>

#include "base/err.h"

static char *put_text(char *to, const char *names, int index)
{
    memcpy(to, names + 3 * (size_t)index, 3);
    return to + 3;
}

static char *put_digits(char *to, int value, unsigned count)
{
    for (unsigned i = count; i > 0; i--, value /= 10)
        to[i - 1] = (char)('0' + value % 10);
    return to + count;
}

static char *put_char(char *to, char c)
{
    *to = c;
    return to + 1;
}

char *http_date(int64_t seconds, char text[static HTTP_DATE_BYTES])
{
    struct tm tm = { 0 };
    time_t t = (time_t)seconds;
    (void)gmtime_r(&t, &tm);
    char *p = put_text(text, "SunMonTueWedThuFriSat", tm.tm_wday);
    p = put_char(put_char(p, ','), ' ');
    p = put_char(put_digits(p, tm.tm_mday, 2), ' ');
    p = put_char(put_text(p, "JanFebMarAprMayJunJulAugSepOctNovDec", tm.tm_mon), ' ');
    p = put_char(put_digits(p, tm.tm_year + 1900, 4), ' ');
    p = put_char(put_digits(p, tm.tm_hour, 2), ':');
    p = put_char(put_digits(p, tm.tm_min, 2), ':');
    p = put_digits(p, tm.tm_sec, 2);
    memcpy(p, " GMT", 5);
    return text;
}

const char *http_date_now(void)
{
    static _Thread_local char text[HTTP_DATE_BYTES];
    static _Thread_local int64_t second = -1;
    int64_t now = clock_wall_us() / 1000000;
    if (now != second)
        (void)http_date(second = now, text);
    return text;
}

int http_date_complete(struct exchange *ex)
{
    struct response *r = ex->response;
    if (r->status < 200 || fields_get(&r->fields, SLICE("date")) != NULL)
        return 0;
    const char *now = arena_str(&ex->arena, slice_str(http_date_now()));
    return now != NULL ? fields_add(&r->fields, SLICE("Date"), slice_str(now)) : ERR_NOMEM;
}

void http_date_head(void *ctx, struct exchange *ex)
{
    (void)ctx;
    (void)!http_date_complete(ex);
}
