#include "conf/json_tree.h"

#include <stdio.h>

#include "base/err.h"

struct reading {
    struct slice text;
    size_t at;
    unsigned line;
    size_t line_start;
    struct arena *arena;
    struct fault *fault;
    size_t nodes;
};

#define BEGINNING "looking for beginning of value"

/* ---- refusals ---- */

static int place(struct reading *r)
{
    return fault_at(r->fault, "", r->line, (unsigned)(r->at - r->line_start) + 1);
}

/* One character as Go quotes it. */
static void quote(struct slice rest, char *to, size_t n)
{
    uint8_t c = rest.p[0];
    size_t bytes = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == '\'' || c == '\\')
        (void)snprintf(to, n, "'\\%c'", c);
    else if (c == '\n' || c == '\t' || c == '\r')
        (void)snprintf(to, n, "'\\%c'", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
    else if (c < ' ' || c == 0x7f || !slice_is_utf8(slice_sub(rest, 0, bytes)))
        (void)snprintf(to, n, "'\\x%02x'", c);
    else
        (void)snprintf(to, n, "'%.*s'", SLICE_FMT(slice_sub(rest, 0, bytes)));
}

/* What stands here cannot stand here. */
static int refuse(struct reading *r, const char *context)
{
    char c[16];
    int e = 0;
    if (r->at >= r->text.n) {
        e = fault_set(r->fault, ERR_PARSE, "unexpected end of JSON input");
    } else {
        quote(slice_sub(r->text, r->at, SIZE_MAX), c, sizeof c);
        e = fault_set(r->fault, ERR_PARSE, "invalid character %s %s", c, context);
    }
    (void)place(r);
    return e;
}

static int too_large(struct reading *r)
{
    return fault_set(r->fault, ERR_LIMIT, "the document is too large");
}

/* ---- characters ---- */

static int peek(const struct reading *r)
{
    return r->at < r->text.n ? r->text.p[r->at] : -1;
}

static void skip_space(struct reading *r)
{
    for (;; r->at++) {
        int c = peek(r);
        if (c == '\n') {
            r->line++;
            r->line_start = r->at + 1;
        } else if (c != ' ' && c != '\t' && c != '\r') {
            return;
        }
    }
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static size_t put_utf8(uint8_t *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (uint8_t)(0xc0 | (c >> 6));
        to[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (uint8_t)(0xe0 | (c >> 12));
        to[1] = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
        to[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | (c >> 18));
    to[1] = (uint8_t)(0x80 | ((c >> 12) & 0x3f));
    to[2] = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
    to[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* ---- strings ---- */

static int hex_value(int c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int take_hex(struct reading *r, uint32_t *ret)
{
    *ret = 0;
    for (unsigned i = 0; i < 4; i++, r->at++) {
        int value = peek(r) >= 0 ? hex_value(peek(r)) : -1;
        if (value < 0)
            return refuse(r, "in \\u hexadecimal character escape");
        *ret = *ret << 4 | (uint32_t)value;
    }
    return 0;
}

/* Behind \u. A surrogate that lacks its other half stands for no character. */
static int take_unicode(struct reading *r, uint32_t *ret)
{
    uint32_t low;
    int e = take_hex(r, ret);
    if (e < 0 || *ret < 0xd800 || *ret > 0xdfff)
        return e;
    bool is_high = *ret < 0xdc00;
    uint32_t high = *ret;
    *ret = 0xfffd;
    size_t back = r->at;
    if (!is_high || !slice_starts(slice_sub(r->text, r->at, SIZE_MAX), SLICE("\\u")))
        return 0;
    r->at += 2;
    e = take_hex(r, &low);
    if (e < 0)
        return e;
    if (low >= 0xdc00 && low <= 0xdfff)
        *ret = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    else
        r->at = back; /* it is a character of its own */
    return 0;
}

static int take_escape(struct reading *r, uint32_t *ret)
{
    static const char NAMES[] = "\"\\/bfnrt", VALUES[] = "\"\\/\b\f\n\r\t";
    int c = peek(r);
    if (c == 'u') {
        r->at++;
        return take_unicode(r, ret);
    }
    for (size_t i = 0; i < sizeof NAMES - 1; i++)
        if (c == NAMES[i]) {
            r->at++;
            *ret = (uint32_t)VALUES[i];
            return 0;
        }
    return refuse(r, "in string escape code");
}

/* One character that is not escaped; bytes that are none, one by one. */
static size_t take_plain(struct reading *r, uint8_t *to)
{
    uint8_t c = r->text.p[r->at];
    size_t bytes = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    struct slice s = slice_sub(r->text, r->at, bytes);
    if (!slice_is_utf8(s)) {
        r->at++;
        return put_utf8(to, 0xfffd);
    }
    memcpy(to, s.p, s.n);
    r->at += s.n;
    return s.n;
}

/* At the opening quote. No character grows by more than a byte's becoming U+FFFD. */
static int take_string(struct reading *r, struct slice *ret)
{
    size_t end = r->at + 1;
    while (end < r->text.n && r->text.p[end] != '"')
        end += r->text.p[end] == '\\' ? 2 : 1;
    uint8_t *bytes = arena_alloc(r->arena, 3 * (end - r->at) + 1);
    size_t n = 0;
    if (bytes == NULL)
        return too_large(r);
    for (r->at++; peek(r) != '"';) {
        uint32_t c = 0;
        int e = 0;
        if (peek(r) < ' ')
            return refuse(r, "in string literal");
        if (peek(r) != '\\') {
            n += take_plain(r, bytes + n);
            continue;
        }
        r->at++;
        e = take_escape(r, &c);
        if (e < 0)
            return e;
        n += put_utf8(bytes + n, c);
    }
    r->at++;
    *ret = slice_of(bytes, n);
    return 0;
}

/* ---- numbers and words ---- */

static int take_digits(struct reading *r, const char *context)
{
    if (!is_digit(peek(r)))
        return refuse(r, context);
    while (is_digit(peek(r)))
        r->at++;
    return 0;
}

static int take_number(struct reading *r)
{
    int e = 0;
    if (peek(r) == '-')
        r->at++;
    if (peek(r) == '0')
        r->at++;
    else
        e = take_digits(r, "in numeric literal");
    if (e == 0 && peek(r) == '.') {
        r->at++;
        e = take_digits(r, "after decimal point in numeric literal");
    }
    if (e == 0 && (peek(r) == 'e' || peek(r) == 'E')) {
        r->at++;
        if (peek(r) == '+' || peek(r) == '-')
            r->at++;
        e = take_digits(r, "in exponent of numeric literal");
    }
    return e;
}

static int take_word(struct reading *r, const char *word)
{
    char context[48];
    for (const char *c = word; *c != 0; c++, r->at++) {
        (void)snprintf(context, sizeof context, "in literal %s (expecting '%c')", word, *c);
        if (peek(r) != *c)
            return refuse(r, context);
    }
    return 0;
}

/* ---- values ---- */

static int take_value(struct reading *r, unsigned depth, struct yaml_node **ret);

static int take_scalar(struct reading *r, struct yaml_node *to)
{
    size_t start = r->at;
    int c = peek(r), e;
    to->kind = YAML_SCALAR;
    if (c == '"')
        return take_string(r, &to->text);
    if (c == '-' || is_digit(c))
        e = take_number(r);
    else if (c == 't' || c == 'f' || c == 'n')
        e = take_word(r, c == 't' ? "true" : c == 'f' ? "false" : "null");
    else
        return refuse(r, BEGINNING);
    if (e < 0)
        return e;
    to->is_plain = true;
    to->text = arena_copy(r->arena, slice_sub(r->text, start, r->at - start));
    return to->text.p != NULL ? 0 : too_large(r);
}

/* A member's key and its colon. */
static int take_key(struct reading *r, struct slice *ret)
{
    if (peek(r) != '"')
        return refuse(r, "looking for beginning of object key string");
    int e = take_string(r, ret);
    if (e < 0)
        return e;
    skip_space(r);
    if (peek(r) != ':')
        return refuse(r, "after object key");
    r->at++;
    return 0;
}

/* Behind the opening bracket. */
static int take_members(struct reading *r, unsigned depth, struct yaml_node *to)
{
    bool is_map = to->kind == YAML_MAP;
    char close = is_map ? '}' : ']';
    struct yaml_node **end = &to->first;
    skip_space(r);
    if (peek(r) == close) {
        r->at++;
        return 0;
    }
    for (;;) {
        struct slice key = { 0 };
        skip_space(r);
        unsigned line = r->line, column = (unsigned)(r->at - r->line_start) + 1;
        int e = is_map ? take_key(r, &key) : 0;
        if (e == 0)
            e = take_value(r, depth + 1, end);
        if (e < 0)
            return e;
        (*end)->key = key;
        (*end)->key_line = line;
        (*end)->key_column = column;
        end = &(*end)->next;
        skip_space(r);
        int c = peek(r);
        if (c != ',' && c != close)
            return refuse(r, is_map ? "after object key:value pair" : "after array element");
        r->at++;
        if (c == close)
            return 0;
    }
}

static int take_value(struct reading *r, unsigned depth, struct yaml_node **ret)
{
    skip_space(r);
    struct yaml_node *to = arena_alloc(r->arena, sizeof *to);
    if (to == NULL)
        return too_large(r);
    if (depth > YAML_DEPTH_MAX || ++r->nodes > YAML_NODES_MAX) {
        int e = fault_set(r->fault, ERR_LIMIT, "exceeded max depth or number of values");
        (void)place(r);
        return e;
    }
    to->line = r->line;
    to->column = (unsigned)(r->at - r->line_start) + 1;
    *ret = to;
    int c = peek(r);
    if (c != '{' && c != '[')
        return take_scalar(r, to);
    to->kind = c == '{' ? YAML_MAP : YAML_LIST;
    r->at++;
    return take_members(r, depth, to);
}

int json_tree_parse(struct slice text, struct arena *arena, struct yaml_node **ret,
                    struct fault *fault)
{
    struct reading r = { .text = text, .line = 1, .arena = arena, .fault = fault };
    struct yaml_node *root = NULL;
    if (text.n > YAML_BYTES_MAX)
        return fault_set(fault, ERR_TOOLARGE, "the document is larger than a mebibyte");
    int e = take_value(&r, 0, &root);
    if (e < 0)
        return e;
    skip_space(&r);
    if (r.at < text.n)
        return refuse(&r, "after top-level value");
    *ret = root;
    return 0;
}
