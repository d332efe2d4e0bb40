#include "codec/http1.h"

#include <assert.h>
#include <limits.h>

#include "codec/http1_int.h"

static int start_line_parse(struct http1_head *head, struct slice line,
                            const struct http1_limits *limits, enum http1_kind kind);
static int field_parse(struct slice line, struct http1_field *ret, enum http1_why *ret_why);

void http1_head_init(struct http1_head *head, struct http1_field *fields, size_t fields_max)
{
    *head = (struct http1_head){ .fields = fields, .fields_max = fields_max };
}

static int head_parse(struct slice bytes, const struct http1_limits *limits,
                      struct http1_head *head, enum http1_kind kind)
{
    assert(limits->head_bytes_max <= INT_MAX);
    int r = http1_scan_run(&head->scan, bytes, limits, kind, head->fields_max, &head->why);
    if (r < 0)
        return r;
    size_t end = head->scan.at;
    const uint8_t *lf = memchr(bytes.p + head->scan.start, '\n', end - head->scan.start);
    assert(lf != NULL); /* the scan has seen every line end */
    size_t line_end = (size_t)(lf - bytes.p) + 1;
    struct slice line = slice_of(bytes.p + head->scan.start, line_end - head->scan.start - 2);
    r = start_line_parse(head, line, limits, kind);
    if (r < 0)
        return r;
    r = http1_parse_fields(slice_of(bytes.p + line_end, end - line_end), head->fields,
                           head->fields_max, &head->fields_count, &head->why);
    return r < 0 ? r : (int)end;
}

int http1_parse_request(struct slice bytes, const struct http1_limits *limits,
                        struct http1_head *head)
{
    return head_parse(bytes, limits, head, HTTP1_REQUEST);
}

int http1_parse_response(struct slice bytes, const struct http1_limits *limits,
                         struct http1_head *head)
{
    return head_parse(bytes, limits, head, HTTP1_RESPONSE);
}

const struct http1_field *http1_field_of(const struct http1_head *head, enum http1_name name)
{
    for (size_t i = 0; i < head->fields_count; i++)
        if (head->fields[i].known == name)
            return &head->fields[i];
    return NULL;
}

int http1_parse_fields(struct slice bytes, struct http1_field *fields, size_t fields_max,
                       size_t *ret_count, enum http1_why *ret_why)
{
    size_t count = 0;
    while (bytes.n > 0) {
        size_t lf = slice_find(bytes, '\n');
        if (lf == bytes.n || lf == 0 || bytes.p[lf - 1] != '\r')
            return http1_refuse(ret_why, HTTP1_WHY_LINE_END, ERR_PARSE);
        struct slice line = slice_of(bytes.p, lf - 1);
        bytes = slice_sub(bytes, lf + 1, SIZE_MAX);
        if (line.n == 0) {
            if (bytes.n > 0)
                return http1_refuse(ret_why, HTTP1_WHY_LINE_END, ERR_PARSE);
            *ret_count = count;
            return 0;
        }
        if (count == fields_max)
            return http1_refuse(ret_why, HTTP1_WHY_FIELD_COUNT, ERR_LIMIT);
        int r = field_parse(line, &fields[count], ret_why);
        if (r < 0)
            return r;
        count++;
    }
    return http1_refuse(ret_why, HTTP1_WHY_LINE_END, ERR_PARSE);
}

static int field_parse(struct slice line, struct http1_field *ret, enum http1_why *ret_why)
{
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return http1_refuse(ret_why, HTTP1_WHY_FOLD, ERR_PARSE);
    size_t n = 0;
    while (n < line.n && http1_char_is(line.p[n], CH_TOKEN))
        n++;
    if (n == 0 || n == line.n || line.p[n] != ':') {
        bool space = n > 0 && n < line.n && (line.p[n] == ' ' || line.p[n] == '\t');
        return http1_refuse(ret_why, space ? HTTP1_WHY_NAME_SPACE : HTTP1_WHY_NAME, ERR_PARSE);
    }
    struct slice value = slice_trim(slice_sub(line, n + 1, SIZE_MAX));
    if (!http1_is_value(value))
        return http1_refuse(ret_why, HTTP1_WHY_VALUE, ERR_PARSE);
    ret->name = slice_of(line.p, n);
    ret->value = value;
    ret->known = http1_name_of(ret->name);
    return 0;
}

/* HTTP/1.0 and HTTP/1.1, in capitals (RFC 9112 §2.3). Another well-formed version is refused in a
 * way that a server can answer with 505. */
static int version_parse(struct http1_head *head, struct slice s)
{
    if (s.n != 8 || memcmp(s.p, "HTTP/", 5) != 0 || s.p[5] < '0' || s.p[5] > '9' || s.p[6] != '.' ||
        s.p[7] < '0' || s.p[7] > '9')
        return http1_refuse(&head->why, HTTP1_WHY_START_LINE, ERR_PARSE);
    if (s.p[5] != '1' || s.p[7] > '1')
        return http1_refuse(&head->why, HTTP1_WHY_VERSION, ERR_UNSUPPORTED);
    head->minor = (uint8_t)(s.p[7] - '0');
    return 0;
}

static int request_line_parse(struct http1_head *head, struct slice line,
                              const struct http1_limits *limits)
{
    size_t n = 0;
    while (n < line.n && http1_char_is(line.p[n], CH_TOKEN))
        n++;
    if (n == 0 || n == line.n || line.p[n] != ' ')
        return http1_refuse(&head->why, HTTP1_WHY_METHOD, ERR_PARSE);
    if (n > HTTP1_METHOD_BYTES_MAX)
        return http1_refuse(&head->why, HTTP1_WHY_METHOD_SIZE, ERR_UNSUPPORTED);
    head->method = slice_of(line.p, n);
    struct slice rest = slice_sub(line, n + 1, SIZE_MAX);
    size_t space = slice_find(rest, ' ');
    if (space == rest.n)
        return http1_refuse(&head->why, HTTP1_WHY_START_LINE, ERR_PARSE);
    if (space > limits->target_bytes_max)
        return http1_refuse(&head->why, HTTP1_WHY_TARGET_SIZE, ERR_TOOLARGE);
    head->target = slice_of(rest.p, space);
    int r = version_parse(head, slice_sub(rest, space + 1, SIZE_MAX));
    return r < 0 ? r : http1_target_parse(head);
}

/* RFC 9112 §4. The space behind the code is demanded by the grammar but missing in the field when
 * there is no reason; nothing hangs on it. */
static int status_line_parse(struct http1_head *head, struct slice line)
{
    if (line.n < 12 || line.p[8] != ' ' || (line.n > 12 && line.p[12] != ' '))
        return http1_refuse(&head->why, HTTP1_WHY_START_LINE, ERR_PARSE);
    int r = version_parse(head, slice_of(line.p, 8));
    if (r < 0)
        return r;
    uint64_t status;
    if (slice_u64(slice_of(line.p + 9, 3), 999, &status) < 0 || status < 100)
        return http1_refuse(&head->why, HTTP1_WHY_STATUS, ERR_PARSE);
    struct slice reason = slice_sub(line, 13, SIZE_MAX);
    if (!http1_is_value(reason))
        return http1_refuse(&head->why, HTTP1_WHY_START_LINE, ERR_PARSE);
    head->status = (unsigned)status;
    head->reason = reason;
    return 0;
}

static int start_line_parse(struct http1_head *head, struct slice line,
                            const struct http1_limits *limits, enum http1_kind kind)
{
    return kind == HTTP1_REQUEST ? request_line_parse(head, line, limits)
                                 : status_line_parse(head, line);
}

#define X(name, status, text) [HTTP1_WHY_##name] = { status, text },
static const struct {
    unsigned status;
    const char *text;
} WHYS[] = { HTTP1_WHY_TABLE(X) };
#undef X

const char *http1_why_text(enum http1_why why)
{
    return WHYS[why].text;
}

unsigned http1_why_status(enum http1_why why)
{
    return WHYS[why].status;
}
