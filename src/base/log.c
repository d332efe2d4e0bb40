#include "base/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"

#define LINE_BYTES_MAX  4096
#define VALUE_BYTES_MAX 1024
#define REPEAT_SLOTS    64 /* events counted at once; two that share a slot share its allowance */
#define REPEAT_BURST    20 /* lines of one event in a second */

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
    size_t n;
    bool json;
};

static void add(struct line *l, const char *text, size_t n)
{
    size_t room = sizeof l->p - 8 - l->n;
    if (n > room)
        n = room;
    memcpy(l->p + l->n, text, n);
    l->n += n;
}

static void add_str(struct line *l, const char *text)
{
    add(l, text, strlen(text));
}

/* A value in quotes, with everything escaped that could end the quotes or the line, or play tricks
 * on a terminal. */
static void add_quoted(struct line *l, struct slice s)
{
    bool is_utf8 = slice_is_utf8(s);
    char escape[8];
    add(l, "\"", 1);
    for (size_t i = 0; i < s.n && i < VALUE_BYTES_MAX; i++) {
        uint8_t c = s.p[i];
        if (c == '"' || c == '\\') {
            add(l, (const char[]){ '\\', (char)c }, 2);
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_utf8)) {
            int n = snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
            add(l, escape, (size_t)n);
        } else {
            add(l, (const char *)&s.p[i], 1);
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

static void add_field(struct line *l, const struct log_field *f)
{
    char number[24];
    add_key(l, f->key);
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
    l.json = atomic_load_explicit(&log_format_now, memory_order_relaxed) == LOG_JSON;
    add_str(&l, l.json ? "{\"time\":\"" : "time=");
    add_str(&l, clock_rfc3339(now, time));
    add_str(&l, l.json ? "\",\"level\":\"" : " level=");
    add_str(&l, LEVEL_NAMES[level]);
    add_str(&l, l.json ? "\",\"message\":" : " msg=");
    add_quoted(&l, slice_str(event));
    for (size_t i = 0; i < count; i++)
        add_field(&l, &fields[i]);
    if (held > 0)
        add_field(&l, &LU64("repeats_held_back", held));
    if (l.json)
        l.p[l.n++] = '}';
    l.p[l.n++] = '\n'; /* add() leaves room for both */
    ssize_t written = write(atomic_load_explicit(&log_fd_now, memory_order_relaxed), l.p, l.n);
    (void)written; /* a log that cannot be written has nowhere to say so */
}
