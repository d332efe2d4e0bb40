#include "base/log.h"

#include <stdatomic.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_line.h"

/* Lines of one place in the code in a second. */
#define REPEAT_BURST       20
#define REPEAT_BURST_ERROR 100 /* someone must act: rather too many than one too few */

/* The process's log: the one place where state is global, because a line must be writable from
 * anywhere. */
static _Atomic int log_level_now = LOG_INFO;
static _Atomic int log_format_now = LOG_LOGFMT;
static _Atomic int log_fd_now = STDERR_FILENO;

static _Atomic uint64_t suppressed;              /* lines, since the start */
static _Atomic uint64_t untold;                  /* of them, in no count that was written */
static struct log_site *_Atomic sites_that_held; /* each that ever held a line back */

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

bool log_is_holding(void)
{
    return atomic_load_explicit(&untold, memory_order_relaxed) != 0;
}

/* The number that it holds, which whoever takes it must write. */
static uint32_t take_held(struct log_site *site)
{
    uint32_t held = atomic_exchange_explicit(&site->held_back, 0, memory_order_relaxed);
    atomic_fetch_sub_explicit(&untold, held, memory_order_relaxed);
    return held;
}

static void list_site(struct log_site *site, enum log_level level, const char *event)
{
    if (atomic_exchange_explicit(&site->is_listed, true, memory_order_relaxed))
        return;
    site->level = level;
    site->event = event;
    site->next = atomic_load_explicit(&sites_that_held, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&sites_that_held, &site->next, site,
                                                  memory_order_release, memory_order_relaxed))
        continue;
}

/* Whether the line passes, and how many of its place were held back before it. */
static bool passes(struct log_site *site, enum log_level level, const char *event, int64_t second,
                   uint32_t *ret_held)
{
    uint32_t burst = level < LOG_ERROR ? REPEAT_BURST : REPEAT_BURST_ERROR;
    if (atomic_load_explicit(&site->second, memory_order_relaxed) != second &&
        atomic_exchange_explicit(&site->second, second, memory_order_relaxed) != second) {
        atomic_store_explicit(&site->passed, 0, memory_order_relaxed);
        *ret_held = take_held(site);
    }
    if (atomic_load_explicit(&site->passed, memory_order_relaxed) < burst) {
        atomic_fetch_add_explicit(&site->passed, 1, memory_order_relaxed);
        return true;
    }
    list_site(site, level, event);
    atomic_fetch_add_explicit(&suppressed, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&untold, 1, memory_order_relaxed); /* first: take_held takes it off */
    atomic_fetch_add_explicit(&site->held_back, 1, memory_order_relaxed);
    return false;
}

static void write_line(enum log_level level, const char *event, const struct log_field *fields,
                       size_t count, uint32_t held, int64_t now)
{
    struct log_line l;
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

void log_event(struct log_site *site, enum log_level level, const char *event,
               const struct log_field *fields, size_t count)
{
    uint32_t held = 0;
    int64_t now = clock_wall_us();
    if (level >= LOG_OFF || !log_is_on(level) ||
        (level > LOG_DEBUG && !passes(site, level, event, now / 1000000, &held)))
        return;
    write_line(level, event, fields, count, held, now);
}

void log_settle(bool is_end)
{
    int64_t now = clock_wall_us();
    struct log_site *site =
        log_is_holding() ? atomic_load_explicit(&sites_that_held, memory_order_acquire) : NULL;
    for (; site != NULL; site = site->next) {
        if (!is_end && atomic_load_explicit(&site->second, memory_order_relaxed) == now / 1000000)
            continue;
        uint32_t held = take_held(site);
        if (held > 0)
            write_line(site->level, site->event, NULL, 0, held, now);
    }
}
