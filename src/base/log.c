#include "base/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"

#define LINE_BYTES_MAX  4096
#define TAIL_BYTES      64 /* kept for what ends a line: what was left out, the brace, the newline */
#define VALUE_BYTES_MAX 1024 /* of one value as it is written: a peer's escapes count */
#define REPEAT_SLOTS    64   /* events counted at once; two that share a slot share its allowance */
#define REPEAT_BURST    20   /* lines of one event in a second */

/* The process's log: the one place where state is global, because a line must be writable from
 * anywhere. */
static _Atomic int log_level_now = LOG_INFO;
static _Atomic int log_format_now = LOG_LOGFMT;
static _Atomic int log_fd_now = STDERR_FILENO;

static struct {
    _Atomic int64_t second;
    _Atomic uint32_t passed, held_back;
} repeats[REPEAT_SLOTS];

static _Atomic uint64_t secret_seed[2]; /* LSECRET's hashes can be compared within one run only */

static const char *const LEVEL_NAMES[] = { "trace", "debug", "info", "warn", "error", "off" };

void log_setup(enum log_level level, enum log_format format, int fd)
{
    uint64_t seed[2];
    if (getrandom(seed, sizeof seed, 0) == sizeof seed) {
        atomic_store(&secret_seed[0], seed[0]);
        atomic_store(&secret_seed[1], seed[1]);
    }
    atomic_store(&log_level_now, (int)level);
    atomic_store(&log_format_now, (int)format);
    atomic_store(&log_fd_now, fd);
}

int log_level_parse(struct slice text, enum log_level *ret)
{
    for (int i = LOG_TRACE; i <= LOG_OFF; i++)
        if (slice_eq(text, slice_str(LEVEL_NAMES[i]))) {
            *ret = (enum log_level)i;
            return 0;
        }
    if (!slice_eq(text, SLICE("fatal")))
        return ERR_INVALID;
    *ret = LOG_ERROR;
    return 0;
}

int log_format_parse(struct slice text, enum log_format *ret)
{
    if (slice_eq(text, SLICE("logfmt")) || slice_eq(text, SLICE("default")))
        *ret = LOG_LOGFMT;
    else if (slice_eq(text, SLICE("json")))
        *ret = LOG_JSON;
    else
        return ERR_INVALID;
    return 0;
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

/* Whether the line passes, and how many of its name were held back before it. Errors always pass.
 */
static bool passes(enum log_level level, const char *event, int64_t second, uint32_t *ret_held)
{
    size_t slot = ((uintptr_t)event >> 3) % REPEAT_SLOTS;
    if (atomic_exchange_explicit(&repeats[slot].second, second, memory_order_relaxed) != second) {
        atomic_store_explicit(&repeats[slot].passed, 0, memory_order_relaxed);
        *ret_held = atomic_exchange_explicit(&repeats[slot].held_back, 0, memory_order_relaxed);
    }
    if (level >= LOG_ERROR || level <= LOG_DEBUG ||
        atomic_fetch_add_explicit(&repeats[slot].passed, 1, memory_order_relaxed) < REPEAT_BURST)
        return true;
    atomic_fetch_add_explicit(&repeats[slot].held_back, 1, memory_order_relaxed);
    return false;
}

struct line {
    char p[LINE_BYTES_MAX];
    size_t n, max;
    bool json, is_full;
};

/* All or nothing: a field that was cut in its middle could not be read back. */
static void add(struct line *l, const char *text, size_t n)
{
    if (l->is_full || n > l->max - l->n) {
        l->is_full = true;
        return;
    }
    memcpy(l->p + l->n, text, n);
    l->n += n;
}

static void add_str(struct line *l, const char *text)
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
static void add_quoted(struct line *l, struct slice s)
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

static void add_text(struct line *l, struct slice s)
{
    if (!l->json && is_plain(s))
        add(l, (const char *)s.p, s.n);
    else
        add_quoted(l, s);
}

static void add_key(struct line *l, const char *key)
{
    add_str(l, l->json ? ",\"" : " ");
    add_str(l, key);
    add_str(l, l->json ? "\":" : "=");
}

static void add_secret(struct line *l, struct slice s)
{
    const uint64_t seed[2] = { atomic_load(&secret_seed[0]), atomic_load(&secret_seed[1]) };
    char text[16];
    (void)snprintf(text, sizeof text, "#%08x", (unsigned)map_hash(seed, s));
    add_text(l, slice_str(text));
}

static void add_value(struct line *l, const struct log_field *f)
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
static void add_field(struct line *l, const struct log_field *f)
{
    size_t before = l->n;
    add_key(l, f->key);
    add_value(l, f);
    if (l->is_full)
        l->n = before;
}

void log_event(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    char time[CLOCK_TEXT_BYTES];
    struct line l;
    uint32_t held = 0;
    int64_t now = clock_wall_us();
    if (level >= LOG_OFF || !log_is_on(level) || !passes(level, event, now / 1000000, &held))
        return;
    l.n = 0;
    l.max = sizeof l.p - TAIL_BYTES;
    l.is_full = false;
    l.json = atomic_load_explicit(&log_format_now, memory_order_relaxed) == LOG_JSON;
    add_str(&l, l.json ? "{\"time\":\"" : "time=");
    add_str(&l, clock_rfc3339(now, time));
    add_str(&l, l.json ? "\",\"level\":\"" : " level=");
    add_str(&l, LEVEL_NAMES[level]);
    add_str(&l, l.json ? "\",\"message\":" : " msg=");
    add_quoted(&l, slice_str(event));
    for (size_t i = 0; i < count; i++)
        add_field(&l, &fields[i]);
    bool is_cut = l.is_full;
    l.max = sizeof l.p - 2;
    l.is_full = false;
    if (is_cut)
        add_field(&l, &LBOOL("cut", true));
    if (held > 0)
        add_field(&l, &LU64("repeats_held_back", held));
    if (l.json)
        l.p[l.n++] = '}';
    l.p[l.n++] = '\n'; /* add() left room for both */
    ssize_t written = write(atomic_load_explicit(&log_fd_now, memory_order_relaxed), l.p, l.n);
    (void)written; /* a log that cannot be written has nowhere to say so */
}
