#include "codec/http1_chunked.h"

#include <assert.h>

#include "codec/http1_int.h"

#define SIZE_DIGITS_MAX     16 /* 64 bits; more, even zeros, is an attempt to overflow a reader */
#define TRAILER_BYTES_LEAST 256

static int line_step(struct http1_chunked *c, uint8_t byte);
static int trailer_take(struct http1_chunked *c, struct slice bytes, size_t *ret_used);

static int refuse(struct http1_chunked *c, enum http1_why why, int err)
{
    c->state = HTTP1_CHUNKED_BROKEN;
    c->why = why;
    c->err = err;
    return err;
}

void http1_chunked_init(struct http1_chunked *c, struct arena *arena)
{
    *c = (struct http1_chunked){ .state = HTTP1_CHUNKED_SIZE, .arena = arena };
}

int http1_chunked_next(struct http1_chunked *c, struct slice bytes, size_t *ret_framing)
{
    size_t used = 0;
    int r = ERR_AGAIN;
    for (;;) {
        if (c->state == HTTP1_CHUNKED_DATA)
            r = 0;
        else if (c->state == HTTP1_CHUNKED_OVER)
            r = ERR_EOF;
        else if (c->state == HTTP1_CHUNKED_BROKEN)
            r = c->err;
        if (r != ERR_AGAIN || used == bytes.n)
            break;
        if (c->state == HTTP1_CHUNKED_TRAILER) {
            size_t n = 0;
            r = trailer_take(c, slice_sub(bytes, used, SIZE_MAX), &n);
            used += n;
        } else {
            r = line_step(c, bytes.p[used++]);
        }
        if (r < 0 && r != ERR_AGAIN)
            break;
    }
    *ret_framing = used;
    return r;
}

void http1_chunked_took(struct http1_chunked *c, uint64_t n)
{
    assert(c->state == HTTP1_CHUNKED_DATA || n == 0);
    assert(n <= c->left);
    c->left -= n;
    if (c->state == HTTP1_CHUNKED_DATA && c->left == 0)
        c->state = HTTP1_CHUNKED_DATA_CR;
}

int http1_chunked_feed(struct http1_chunked *c, struct slice *bytes, struct slice *ret)
{
    size_t used;
    int r = http1_chunked_next(c, *bytes, &used);
    *bytes = slice_sub(*bytes, used, SIZE_MAX);
    if (r < 0)
        return r;
    if (bytes->n == 0)
        return ERR_AGAIN;
    size_t n = bytes->n < c->left ? bytes->n : (size_t)c->left;
    *ret = slice_of(bytes->p, n);
    *bytes = slice_sub(*bytes, n, SIZE_MAX);
    http1_chunked_took(c, n);
    return 0;
}

size_t http1_chunk_line(uint64_t size, uint8_t out[static HTTP1_CHUNK_LINE_BYTES])
{
    static const char DIGITS[] = "0123456789abcdef";
    unsigned digits = 1;
    while (digits < SIZE_DIGITS_MAX && size >> (4 * digits) != 0)
        digits++;
    for (unsigned i = 0; i < digits; i++)
        out[i] = (uint8_t)DIGITS[size >> (4 * (digits - 1 - i)) & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}

static int digit_add(struct http1_chunked *c, uint8_t byte)
{
    if (++c->digits > SIZE_DIGITS_MAX || c->left > (uint64_t)INT64_MAX >> 4)
        return refuse(c, HTTP1_WHY_CHUNK_SIZE, ERR_PARSE);
    c->left = c->left << 4 | http1_hex_value(byte);
    c->state = HTTP1_CHUNKED_DIGITS;
    return ERR_AGAIN;
}

static int size_line_over(struct http1_chunked *c, uint8_t byte)
{
    if (byte != '\n')
        return refuse(c, HTTP1_WHY_LINE_END, ERR_PARSE);
    c->state = c->left > 0 ? HTTP1_CHUNKED_DATA : HTTP1_CHUNKED_TRAILER;
    c->digits = 0;
    c->line_bytes = 0;
    return ERR_AGAIN;
}

static int become(struct http1_chunked *c, enum http1_chunked_state state)
{
    c->state = state;
    return ERR_AGAIN;
}

/* Where an extension, or its value, may end: at the line's end or at the next semicolon. */
static int extension_over(struct http1_chunked *c, uint8_t byte, bool space_before_semicolon)
{
    if (byte == '\r')
        return become(c, HTTP1_CHUNKED_SIZE_LF);
    if (byte == ';')
        return become(c, HTTP1_CHUNKED_BEFORE_NAME);
    if (space_before_semicolon && (byte == ' ' || byte == '\t'))
        return become(c, HTTP1_CHUNKED_BEFORE_SEMICOLON);
    return refuse(c, byte == '\n' ? HTTP1_WHY_LINE_END : HTTP1_WHY_CHUNK_EXTENSION, ERR_PARSE);
}

static int quoted_step(struct http1_chunked *c, uint8_t byte)
{
    if (!http1_char_is(byte, CH_VALUE))
        return refuse(c, HTTP1_WHY_CHUNK_EXTENSION, ERR_PARSE);
    if (c->state == HTTP1_CHUNKED_ESCAPED)
        return become(c, HTTP1_CHUNKED_QUOTED);
    if (byte == '"')
        return become(c, HTTP1_CHUNKED_AFTER_QUOTED);
    return byte == '\\' ? become(c, HTTP1_CHUNKED_ESCAPED) : ERR_AGAIN;
}

/* In a name, or in the space behind one. */
static int name_step(struct http1_chunked *c, uint8_t byte)
{
    bool is_name = c->state == HTTP1_CHUNKED_NAME;
    if (byte == ' ' || byte == '\t')
        return become(c, HTTP1_CHUNKED_BEFORE_EQUALS);
    if (byte == '=')
        return become(c, HTTP1_CHUNKED_BEFORE_VALUE);
    if (is_name && http1_char_is(byte, CH_TOKEN))
        return ERR_AGAIN;
    if (is_name || byte == ';')
        return extension_over(c, byte, false);
    return refuse(c, HTTP1_WHY_CHUNK_EXTENSION, ERR_PARSE);
}

/* Space, or what must come after it. */
static int space_step(struct http1_chunked *c, uint8_t byte)
{
    bool is_token = http1_char_is(byte, CH_TOKEN);
    if (byte == ' ' || byte == '\t')
        return ERR_AGAIN;
    if (c->state == HTTP1_CHUNKED_BEFORE_SEMICOLON && byte == ';')
        return become(c, HTTP1_CHUNKED_BEFORE_NAME);
    if (c->state == HTTP1_CHUNKED_BEFORE_NAME && is_token)
        return become(c, HTTP1_CHUNKED_NAME);
    if (c->state == HTTP1_CHUNKED_BEFORE_VALUE && is_token)
        return become(c, HTTP1_CHUNKED_VALUE);
    if (c->state == HTTP1_CHUNKED_BEFORE_VALUE && byte == '"')
        return become(c, HTTP1_CHUNKED_QUOTED);
    return refuse(c, HTTP1_WHY_CHUNK_EXTENSION, ERR_PARSE);
}

/* *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ). Space that no semicolon or value
 * follows is refused: some readers take such a line for another size. */
static int extension_step(struct http1_chunked *c, uint8_t byte)
{
    enum http1_chunked_state state = c->state;
    if (state == HTTP1_CHUNKED_NAME || state == HTTP1_CHUNKED_BEFORE_EQUALS)
        return name_step(c, byte);
    if (state == HTTP1_CHUNKED_VALUE)
        return http1_char_is(byte, CH_TOKEN) ? ERR_AGAIN : extension_over(c, byte, true);
    if (state == HTTP1_CHUNKED_AFTER_QUOTED)
        return extension_over(c, byte, true);
    if (state == HTTP1_CHUNKED_QUOTED || state == HTTP1_CHUNKED_ESCAPED)
        return quoted_step(c, byte);
    return space_step(c, byte);
}

static int data_end_step(struct http1_chunked *c, uint8_t byte)
{
    bool is_cr = c->state == HTTP1_CHUNKED_DATA_CR;
    if (byte != (is_cr ? '\r' : '\n'))
        return refuse(c, HTTP1_WHY_CHUNK_END, ERR_PARSE);
    return become(c, is_cr ? HTTP1_CHUNKED_DATA_LF : HTTP1_CHUNKED_SIZE);
}

static int line_step(struct http1_chunked *c, uint8_t byte)
{
    if (c->state == HTTP1_CHUNKED_DATA_CR || c->state == HTTP1_CHUNKED_DATA_LF)
        return data_end_step(c, byte);
    if (++c->line_bytes > CHUNK_LINE_BYTES_MAX)
        return refuse(c, HTTP1_WHY_CHUNK_LINE_SIZE, ERR_PARSE);
    if (c->state == HTTP1_CHUNKED_SIZE_LF)
        return size_line_over(c, byte);
    if (c->state != HTTP1_CHUNKED_SIZE && c->state != HTTP1_CHUNKED_DIGITS)
        return extension_step(c, byte);
    if (http1_char_is(byte, CH_HEX))
        return digit_add(c, byte);
    if (c->state == HTTP1_CHUNKED_SIZE)
        return refuse(c, HTTP1_WHY_CHUNK_SIZE, ERR_PARSE);
    if (byte == '\r' || byte == ';' || byte == ' ' || byte == '\t')
        return extension_over(c, byte, true);
    return refuse(c, byte == '\n' ? HTTP1_WHY_LINE_END : HTTP1_WHY_CHUNK_SIZE, ERR_PARSE);
}

static int trailer_room(struct http1_chunked *c)
{
    if (c->trailer_bytes < c->trailer_cap)
        return 0;
    size_t cap = c->trailer_cap > 0 ? c->trailer_cap * 2 : TRAILER_BYTES_LEAST;
    uint8_t *p = arena_alloc(c->arena, cap);
    if (p == NULL)
        return ERR_NOMEM;
    if (c->trailer_bytes > 0)
        memcpy(p, c->trailer, c->trailer_bytes);
    c->trailer = p;
    c->trailer_cap = cap;
    return 0;
}

/* Names that a trailer may not have are dropped (RFC 9110 §6.5.1): a receiver that merged them into
 * the head would be told a second length, host or credential. */
static int trailers_parse(struct http1_chunked *c)
{
    struct slice bytes = slice_of(c->trailer, c->trailer_bytes);
    size_t lines = 0;
    for (size_t i = 0; i < bytes.n; i++)
        lines += bytes.p[i] == '\n';
    if (lines - 1 > HEAD_FIELDS_MAX)
        return refuse(c, HTTP1_WHY_TRAILER_SIZE, ERR_TOOLARGE);
    c->state = HTTP1_CHUNKED_OVER;
    if (lines == 1)
        return ERR_EOF;
    struct http1_field *fields = arena_alloc(c->arena, (lines - 1) * sizeof *fields);
    if (fields == NULL)
        return refuse(c, HTTP1_WHY_NONE, ERR_NOMEM);
    size_t count;
    enum http1_why why;
    if (http1_parse_fields(bytes, fields, lines - 1, &count, &why) < 0)
        return refuse(c, why, ERR_PARSE);
    c->trailers = fields;
    for (size_t i = 0; i < count; i++)
        if ((http1_name_marks(fields[i].known) & HTTP1_NO_TRAILER) == 0)
            fields[c->trailers_count++] = fields[i];
    return ERR_EOF;
}

/* Gathers lines until the empty one. The section is small and rare: it is copied, since it may come
 * in pieces and is parsed as one. */
static int trailer_take(struct http1_chunked *c, struct slice bytes, size_t *ret_used)
{
    size_t used = 0;
    int r = ERR_AGAIN;
    while (used < bytes.n && r == ERR_AGAIN) {
        uint8_t byte = bytes.p[used++];
        if (c->trailer_bytes == TRAILER_BYTES_MAX) {
            r = refuse(c, HTTP1_WHY_TRAILER_SIZE, ERR_TOOLARGE);
            break;
        }
        if (trailer_room(c) < 0) {
            r = refuse(c, HTTP1_WHY_NONE, ERR_NOMEM);
            break;
        }
        c->trailer[c->trailer_bytes++] = byte;
        if (byte != '\n')
            continue;
        const uint8_t *end = c->trailer + c->trailer_bytes;
        if (c->trailer_bytes < 2 || end[-2] != '\r')
            r = refuse(c, HTTP1_WHY_LINE_END, ERR_PARSE);
        else if (c->trailer_bytes == 2 || end[-3] == '\n')
            r = trailers_parse(c);
    }
    *ret_used = used;
    return r;
}
