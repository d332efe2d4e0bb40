#include "codec/http1_names.h"

#include "codec/http1_chars.h"
#include "codec/uri.h"

struct name_row {
    struct slice text;
    uint8_t marks;
};

#define NAME_BYTES_MAX 21 /* of the table */

/* In order of length: a search starts at the first of its length and ends at the first longer. */
/* clang-format off */
static const struct name_row NAMES[] = {
    [HTTP1_OTHER] = { .text = { .p = NULL, .n = 0 } },
#define X(id, text_, marks_)                                                                       \
    [HTTP1_##id] = { .text = { .p = (const uint8_t *)(text_), .n = sizeof(text_) - 1 },            \
                     .marks = (marks_) },
    HTTP1_NAME_TABLE(X)
#undef X
};
/* clang-format on */

#define NAMES_COUNT (sizeof NAMES / sizeof NAMES[0])

/* First row of each length. */
static const uint8_t FIRST_OF[NAME_BYTES_MAX + 2] = {
    [2] = HTTP1_TE,
    [3] = HTTP1_AGE,
    [4] = HTTP1_DATE,
    [5] = HTTP1_ALLOW,
    [6] = HTTP1_COOKIE,
    [7] = HTTP1_EXPIRES,
    [8] = HTTP1_IF_MATCH,
    [10] = HTTP1_CONNECTION,
    [11] = HTTP1_RETRY_AFTER,
    [12] = HTTP1_CONTENT_TYPE,
    [13] = HTTP1_AUTHORIZATION,
    [14] = HTTP1_CONTENT_LENGTH,
    [16] = HTTP1_CONTENT_ENCODING,
    [17] = HTTP1_IF_MODIFIED_SINCE,
    [18] = HTTP1_PROXY_AUTHENTICATE,
    [19] = HTTP1_IF_UNMODIFIED_SINCE,
    [20] = HTTP1_SEC_WEBSOCKET_ACCEPT,
    [21] = HTTP1_SEC_WEBSOCKET_VERSION,
};

enum http1_name http1_name_of(struct slice name)
{
    if (name.n < 2 || name.n > NAME_BYTES_MAX || FIRST_OF[name.n] == HTTP1_OTHER)
        return HTTP1_OTHER;
    uint8_t first = name.p[0] | 0x20;
    for (size_t i = FIRST_OF[name.n]; i < NAMES_COUNT && NAMES[i].text.n == name.n; i++)
        if (NAMES[i].text.p[0] == first && slice_eq_nocase(NAMES[i].text, name))
            return (enum http1_name)i;
    return HTTP1_OTHER;
}

unsigned http1_name_marks(enum http1_name name)
{
    return NAMES[name].marks;
}

bool http1_is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!http1_char_is(s.p[i], CH_TOKEN))
            return false;
    return s.n > 0;
}

/* Whether one of eight bytes may be a control character: below 0x20 or equal to 0x7f. Exact as a
 * question about all eight, so that only words with a tab or a bad byte take the slow path. */
static inline bool word_has_control(const uint8_t *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t word;
    memcpy(&word, p, sizeof word);
    uint64_t low = (word - ones * 0x20) & ~word;
    uint64_t del = word ^ (ones * 0x7f);
    return ((low | ((del - ones) & ~del)) & tops) != 0;
}

static bool bytes_are_value(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!http1_char_is(p[i], CH_VALUE))
            return false;
    return true;
}

bool http1_is_value(struct slice s)
{
    size_t i = 0;
    for (; s.n - i >= 8; i += 8)
        if (word_has_control(s.p + i) && !bytes_are_value(s.p + i, 8))
            return false;
    return bytes_are_value(s.p + i, s.n - i);
}

bool http1_is_host(struct slice s)
{
    struct host_port parts;
    return host_port_parse(s, &parts) == 0;
}

void http1_name_canonicalise(uint8_t *name, size_t n)
{
    bool upper = true;
    for (size_t i = 0; i < n; i++) {
        if (upper && name[i] >= 'a' && name[i] <= 'z')
            name[i] = (uint8_t)(name[i] - 0x20);
        else if (!upper && name[i] >= 'A' && name[i] <= 'Z')
            name[i] = (uint8_t)(name[i] | 0x20);
        upper = name[i] == '-';
    }
}

bool http1_list_next(struct slice *rest, struct slice *ret)
{
    struct slice member;
    while (rest->p != NULL && slice_split(rest, ',', &member)) {
        member = slice_trim(member);
        if (member.n > 0) {
            *ret = member;
            return true;
        }
    }
    return false;
}

/* Token characters that are neither letters nor digits. */
#define T (CH_TOKEN | CH_VALUE | CH_TARGET)
/* Visible, but not in tokens. */
#define V (CH_VALUE | CH_TARGET)
#define D (CH_TOKEN | CH_VALUE | CH_TARGET | CH_HOST | CH_HEX)
#define A (CH_TOKEN | CH_VALUE | CH_TARGET | CH_HOST)
#define O CH_VALUE

/* clang-format off */
const uint8_t HTTP1_CHARS[256] = {
    ['\t'] = CH_VALUE, [' '] = CH_VALUE,
    ['!'] = T, ['"'] = V, ['#'] = CH_TOKEN | CH_VALUE, ['$'] = T, ['%'] = T, ['&'] = T, ['\''] = T,
    ['('] = V, [')'] = V, ['*'] = T, ['+'] = T, [','] = V, ['-'] = A, ['.'] = A, ['/'] = V,
    ['0'] = D, ['1'] = D, ['2'] = D, ['3'] = D, ['4'] = D, ['5'] = D, ['6'] = D, ['7'] = D,
    ['8'] = D, ['9'] = D,
    [':'] = V, [';'] = V, ['<'] = V, ['='] = V, ['>'] = V, ['?'] = V, ['@'] = V,
    ['A'] = D, ['B'] = D, ['C'] = D, ['D'] = D, ['E'] = D, ['F'] = D, ['G' ... 'Z'] = A,
    ['['] = V, ['\\'] = V, [']'] = V, ['^'] = T, ['_'] = A, ['`'] = T,
    ['a' ... 'f'] = D, ['g' ... 'z'] = A,
    ['{'] = V, ['|'] = T, ['}'] = V, ['~'] = A,
    [0x80 ... 0xff] = O,
};
/* clang-format on */
