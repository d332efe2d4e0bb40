#pragma once
/* The access log: one line for each exchange that is over, and for each head that became none
 * (docs/observability.md). */
#include "base/line_writer.h"
#include "base/log.h"
#include "base/strb.h"
#include "http/exchange.h"

struct h1_refused_head; /* http/h1_server.h */

struct access_log_conf {
    struct line_writer *writer; /* NULL: there is no access log */
    bool is_json;
    bool has_query; /* queries may hold secrets, and are left out unless they are asked for */
};

/* Opens --access-log and reads --access-log-format; "" leaves the writer NULL. */
int access_log_open(struct access_log_conf *conf, const char *path, const char *format,
                    struct fault *fault) __attribute__((warn_unused_result));
/* The directory of --access-log, which must be written to when the file is rotated: "" when it is
 * no file. NULL when memory is short. */
const char *access_log_directory(struct arena *arena, const char *path);
/* The line of an exchange: its own fields, and `count` more behind its id and hostname. On the
 * thread that owns the ring. */
void access_log_put(struct line_ring *to, const struct access_log_conf *conf,
                    const struct exchange *ex, struct slice hostname, const struct log_field *more,
                    size_t count);
/* Likewise of a head that was refused, of which nothing is believed but where it came from. */
void access_log_put_refused(struct line_ring *to, const struct access_log_conf *conf,
                            const struct h1_refused_head *head, const char *visitor);
/* Appends what became of the lines to a page of metrics. */
void access_log_metrics(struct line_writer *w, struct strb *to);
