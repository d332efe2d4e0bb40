#pragma once
/* Events, not sentences with formats: a constant event name and typed fields, written as one logfmt
 * or JSON line.
 *
 *     log_info("tunnel registered", LSTR("tunnel", id), LU64("connection", n));
 *
 * Levels: error (someone must act), warn (we coped), info (the state of the world changed), debug
 * (per connection), trace (per packet). Any thread; a line is one write(2). The level, format and
 * descriptor belong to the process and are set once at start. Repeats from one place in the code
 * past a burst of 20 a second, 100 of errors, are counted: whoever can make us log cannot fill a
 * disk. The count is in the next line from there, or in one of its own when the second is over
 * (`repeats_held_back`); loops see to that, and whoever ends the process calls log_settle. What
 * --log-level debug asks for is wanted whole. Secrets go through LSECRET, which prints a short
 * hash. Values are escaped, so that a peer cannot forge lines. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_LOGFMT, LOG_JSON };

enum log_kind {
    LOG_FIELD_STR,
    LOG_FIELD_I64,
    LOG_FIELD_U64,
    LOG_FIELD_BOOL,
    LOG_FIELD_ERR,
    LOG_FIELD_SECRET
};

struct log_field {
    const char *key;
    enum log_kind kind;
    struct slice text;
    int64_t number;
};

#define LSTR(k, v)    ((struct log_field){ .key = (k), .kind = LOG_FIELD_STR, .text = slice_str(v) })
#define LSLICE(k, v)  ((struct log_field){ .key = (k), .kind = LOG_FIELD_STR, .text = (v) })
#define LI64(k, v)    ((struct log_field){ .key = (k), .kind = LOG_FIELD_I64, .number = (int64_t)(v) })
#define LU64(k, v)    ((struct log_field){ .key = (k), .kind = LOG_FIELD_U64, .number = (int64_t)(v) })
#define LBOOL(k, v)   ((struct log_field){ .key = (k), .kind = LOG_FIELD_BOOL, .number = (v) })
#define LERR(code)    ((struct log_field){ .key = "error", .kind = LOG_FIELD_ERR, .number = (code) })
#define LSECRET(k, v) ((struct log_field){ .key = (k), .kind = LOG_FIELD_SECRET, .text = (v) })

/* Before the first thread starts. `fd` stays the caller's. */
void log_setup(enum log_level level, enum log_format format, int fd);

/* "trace" … "error", "off"; ERR_INVALID otherwise. Also accepts "fatal" as error. */
int log_level_parse(struct slice text, enum log_level *ret);
int log_format_parse(struct slice text, enum log_format *ret);

bool log_is_on(enum log_level level);

/* A place in the code that logs: what it said in this second, from any thread. Static: once it held
 * something back it stays listed. */
struct log_site {
    _Atomic int64_t second;
    _Atomic uint32_t passed, held_back;
    _Atomic bool is_listed;
    enum log_level level; /* with what is below: written once, before it is listed */
    const char *event;
    struct log_site *next;
};

void log_event(struct log_site *site, enum log_level level, const char *event,
               const struct log_field *fields, size_t count);
/* Whether a count waits that no line has told. Cheap: a loop asks in each turn. */
bool log_is_holding(void);
/* Writes the counts of the places whose second is over; of all, when the process ends. */
void log_settle(bool is_end);
/* Lines that were held back since the start. */
uint64_t log_suppressed(void);

#define LOG_AT(level, event, ...)                                                                  \
    do {                                                                                           \
        if (log_is_on(level)) {                                                                    \
            static struct log_site log_site_;                                                      \
            const struct log_field log_fields_[] = { __VA_ARGS__ };                                \
            log_event(&log_site_, level, event, log_fields_,                                       \
                      sizeof log_fields_ / sizeof log_fields_[0]);                                 \
        }                                                                                          \
    } while (0)

#define log_trace(event, ...) LOG_AT(LOG_TRACE, event, ##__VA_ARGS__)
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...)  LOG_AT(LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(event, ...)  LOG_AT(LOG_WARN, event, ##__VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event, ##__VA_ARGS__)
