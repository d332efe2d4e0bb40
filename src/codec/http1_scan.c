#include "codec/http1_int.h"

#include <stdint.h>

/* Longest start line: method, target, version and the spaces between. */
static size_t start_line_max(const struct http1_limits *limits, enum http1_kind kind)
{
    return kind == HTTP1_REQUEST ? HTTP1_METHOD_BYTES_MAX + limits->target_bytes_max + 12
                                 : limits->target_bytes_max;
}

/* A first byte that starts no message (a TLS hello on a plain port) ends the wait at once. */
static bool may_start(uint8_t c, enum http1_kind kind)
{
    return kind == HTTP1_REQUEST ? http1_char_is(c, CH_TOKEN) : c == 'H';
}

static int line_is_over(struct http1_scan *scan, struct slice bytes, size_t lf,
                        const struct http1_limits *limits, enum http1_kind kind, size_t fields_max,
                        enum http1_why *ret_why)
{
    if (scan->lines == 0 && lf - scan->line_at >= start_line_max(limits, kind) + 2)
        return http1_refuse(ret_why, HTTP1_WHY_TARGET_SIZE, ERR_TOOLARGE);
    if (lf == scan->line_at || bytes.p[lf - 1] != '\r')
        return http1_refuse(ret_why, HTTP1_WHY_LINE_END, ERR_PARSE);
    bool is_empty = lf - 1 == scan->line_at;
    scan->at = scan->line_at = lf + 1;
    if (is_empty && scan->lines > 0)
        return 0;
    if (is_empty) {
        /* RFC 9112 §2.2: one empty line may come before a request; more is a waste of our time. */
        if (kind == HTTP1_RESPONSE || scan->start > 0)
            return http1_refuse(ret_why, HTTP1_WHY_START_LINE, ERR_PARSE);
        scan->start = scan->at;
        return ERR_AGAIN;
    }
    if (scan->lines > fields_max)
        return http1_refuse(ret_why, HTTP1_WHY_FIELD_COUNT, ERR_LIMIT);
    scan->lines++;
    return ERR_AGAIN;
}

/* The bytes end within a line: is there a reason not to wait for its end? */
static int line_goes_on(const struct http1_scan *scan, struct slice bytes,
                        const struct http1_limits *limits, enum http1_kind kind,
                        enum http1_why *ret_why)
{
    if (scan->lines == 0 && bytes.n - scan->line_at > start_line_max(limits, kind) + 2)
        return http1_refuse(ret_why, HTTP1_WHY_TARGET_SIZE, ERR_TOOLARGE);
    if (bytes.n == limits->head_bytes_max)
        return http1_refuse(ret_why, HTTP1_WHY_HEAD_SIZE, ERR_TOOLARGE);
    return ERR_AGAIN;
}

int http1_scan_run(struct http1_scan *scan, struct slice bytes, const struct http1_limits *limits,
                   enum http1_kind kind, size_t fields_max, enum http1_why *ret_why)
{
    bytes = slice_sub(bytes, 0, limits->head_bytes_max);
    while (scan->at < bytes.n) {
        uint8_t first = bytes.p[scan->line_at];
        if (scan->lines == 0 && first != '\r' && !may_start(first, kind))
            return http1_refuse(ret_why, first == '\n' ? HTTP1_WHY_LINE_END : HTTP1_WHY_START_LINE,
                                ERR_PARSE);
        size_t lf = scan->at + slice_find(slice_sub(bytes, scan->at, SIZE_MAX), '\n');
        if (lf == bytes.n) {
            scan->at = bytes.n;
            break;
        }
        int r = line_is_over(scan, bytes, lf, limits, kind, fields_max, ret_why);
        if (r != ERR_AGAIN)
            return r;
    }
    return line_goes_on(scan, bytes, limits, kind, ret_why);
}
