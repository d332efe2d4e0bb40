#include "base/log_line.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/map.h"

#define TAIL_BYTES      64 /* kept for what ends a line: what was left out, the brace, the newline */
#define VALUE_BYTES_MAX 1024 /* of one value as it is written: a peer's escapes count */

static _Atomic uint64_t secret_seed[2]; /* LSECRET's hashes can be compared within one run only */

void log_line_seed(const uint64_t seed[2])
{
    atomic_store(&secret_seed[0], seed[0]);
    atomic_store(&secret_seed[1], seed[1]);
}

/* All or nothing: a field that was cut in its middle could not be read back. */
static void add(struct log_line *l, const char *text, size_t n)
{
    if (l->is_full || n > l->max - l->n) {
        l->is_full = true;
        return;
    }
    memcpy(l->p + l->n, text, n);
    l->n += n;
}

static void add_str(struct log_line *l, const char *text)
{
    add(l, text, strlen(text));
}

/* The code point of a UTF-8 sequence, which is well-formed; *ret_n is its bytes. */
static uint32_t point_at(const uint8_t *p, size_t *ret_n)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t point = n == 1 ? p[0] : p[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++)
        point = point << 6 | (p[i] & 0x3fU);
    *ret_n = n;
    return point;
}

/* What could end the line, or play tricks on a terminal: controls (of both sets), line separators,
 * and what turns the direction of text. */
static bool is_unsafe(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
           (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

/* A value in quotes, with everything escaped that is unsafe or could end the quotes. Bytes that are
 * no UTF-8 are escaped one by one. */
static void add_quoted(struct log_line *l, struct slice s)
{
    bool is_utf8 = slice_is_utf8(s);
    size_t from = l->n, n;
    add(l, "\"", 1);
    for (size_t i = 0; i < s.n && l->n - from < VALUE_BYTES_MAX && !l->is_full; i += n) {
        n = 1;
        uint32_t point = is_utf8 ? point_at(s.p + i, &n) : s.p[i];
        if (point == '"' || point == '\\') {
            add(l, (const char[]){ '\\', (char)point }, 2);
        } else if (is_unsafe(point) || (point >= 0x80 && !is_utf8)) {
            char escape[8];
            (void)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(point & 0xffff));
            add(l, escape, 6);
        } else {
            add(l, (const char *)s.p + i, n);
        }
    }
    add(l, "\"", 1);
}

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '=' || s.p[i] == '\\')
            return false;
    return s.n > 0 && s.n <= VALUE_BYTES_MAX;
}

static void add_text(struct log_line *l, struct slice s)
{
    if (!l->json && is_plain(s))
        add(l, (const char *)s.p, s.n);
    else
        add_quoted(l, s);
}

static void add_key(struct log_line *l, const char *key)
{
    add_str(l, l->json ? ",\"" : " ");
    add_str(l, key);
    add_str(l, l->json ? "\":" : "=");
}

static void add_secret(struct log_line *l, struct slice s)
{
    const uint64_t seed[2] = { atomic_load(&secret_seed[0]), atomic_load(&secret_seed[1]) };
    char text[16];
    (void)snprintf(text, sizeof text, "#%08x", (unsigned)map_hash(seed, s));
    add_text(l, slice_str(text));
}

static void add_value(struct log_line *l, const struct log_field *f)
{
    char number[24];
    switch (f->kind) {
    case LOG_FIELD_STR:
        add_text(l, f->text);
        break;
    case LOG_FIELD_I64:
        (void)snprintf(number, sizeof number, "%" PRId64, f->number);
        add_str(l, number);
        break;
    case LOG_FIELD_U64:
        (void)snprintf(number, sizeof number, "%" PRIu64, (uint64_t)f->number);
        add_str(l, number);
        break;
    case LOG_FIELD_BOOL:
        add_str(l, f->number != 0 ? "true" : "false");
        break;
    case LOG_FIELD_ERR:
        add_text(l, slice_str(err_text((int)f->number)));
        break;
    case LOG_FIELD_SECRET:
        add_secret(l, f->text);
        break;
    }
}

/* One that does not fit is left out, and so is what follows it. */
void log_line_field(struct log_line *l, const struct log_field *f)
{
    size_t before = l->n;
    add_key(l, f->key);
    add_value(l, f);
    if (l->is_full)
        l->n = before;
}

void log_line_begin(struct log_line *l, bool is_json, int64_t wall_us)
{
    char time[CLOCK_TEXT_BYTES];
    l->n = 0;
    l->max = sizeof l->p - TAIL_BYTES;
    l->is_full = false;
    l->json = is_json;
    add_str(l, is_json ? "{\"time\":\"" : "time=");
    add_str(l, clock_rfc3339(wall_us, time));
    if (is_json)
        add_str(l, "\"");
}

void log_line_event(struct log_line *l, const char *level, const char *event)
{
    add_str(l, l->json ? ",\"level\":\"" : " level=");
    add_str(l, level);
    add_str(l, l->json ? "\",\"message\":" : " msg=");
    add_quoted(l, slice_str(event));
}

struct slice log_line_end(struct log_line *l, uint64_t held_back)
{
    bool is_cut = l->is_full;
    l->max = sizeof l->p - 2;
    l->is_full = false;
    if (is_cut)
        log_line_field(l, &LBOOL("cut", true));
    if (held_back > 0)
        log_line_field(l, &LU64("repeats_held_back", held_back));
    if (l->json)
        l->p[l->n++] = '}';
    l->p[l->n++] = '\n'; /* add() left room for both */
    return slice_of(l->p, l->n);
}
