#include "base/log.h"

#include <stdatomic.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_line.h"

#define REPEAT_BURST 20 /* lines of one place in the code in a second */

/* The process's log: the one place where state is global, because a line must be writable from
 * anywhere. */
static _Atomic int log_level_now = LOG_INFO;
static _Atomic int log_format_now = LOG_LOGFMT;
static _Atomic int log_fd_now = STDERR_FILENO;

static _Atomic uint64_t suppressed; /* lines, since the start */

static const char *const LEVEL_NAMES[] = { "trace", "debug", "info", "warn", "error", "off" };

void log_setup(enum log_level level, enum log_format format, int fd)
{
    uint64_t seed[2];
    if (getrandom(seed, sizeof seed, 0) == sizeof seed)
        log_line_seed(seed);
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

uint64_t log_suppressed(void)
{
    return atomic_load_explicit(&suppressed, memory_order_relaxed);
}

/* Whether the line passes, and how many of its place were held back before it. */
static bool passes(struct log_site *site, int64_t second, uint32_t *ret_held)
{
    if (atomic_load_explicit(&site->second, memory_order_relaxed) != second &&
        atomic_exchange_explicit(&site->second, second, memory_order_relaxed) != second) {
        atomic_store_explicit(&site->passed, 0, memory_order_relaxed);
        *ret_held = atomic_exchange_explicit(&site->held_back, 0, memory_order_relaxed);
    }
    if (atomic_load_explicit(&site->passed, memory_order_relaxed) < REPEAT_BURST) {
        atomic_fetch_add_explicit(&site->passed, 1, memory_order_relaxed);
        return true;
    }
    atomic_fetch_add_explicit(&site->held_back, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&suppressed, 1, memory_order_relaxed);
    return false;
}

void log_event(struct log_site *site, enum log_level level, const char *event,
               const struct log_field *fields, size_t count)
{
    struct log_line l;
    uint32_t held = 0;
    int64_t now = clock_wall_us();
    /* What is asked for by --log-level debug is wanted whole, and no error is lost. */
    if (level >= LOG_OFF || !log_is_on(level) ||
        (level > LOG_DEBUG && level < LOG_ERROR && !passes(site, now / 1000000, &held)))
        return;
    log_line_begin(&l, atomic_load_explicit(&log_format_now, memory_order_relaxed) == LOG_JSON,
                   now);
    log_line_event(&l, LEVEL_NAMES[level], event);
    for (size_t i = 0; i < count; i++)
        log_line_field(&l, &fields[i]);
    struct slice line = log_line_end(&l, held);
    ssize_t written =
        write(atomic_load_explicit(&log_fd_now, memory_order_relaxed), line.p, line.n);
    (void)written; /* a log that cannot be written has nowhere to say so */
}
