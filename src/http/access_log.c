#include "http/access_log.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/log_line.h"
#include "base/metric.h"
#include "http/h1_server.h"
#include "http/trace.h"

const char *access_log_directory(struct arena *arena, const char *path)
{
    struct slice s = slice_str(path);
    size_t slash = slice_find_last(s, '/');
    if (s.n == 0 || slice_eq(s, SLICE("-")))
        return "";
    if (slash == s.n)
        return ".";
    return slash == 0 ? "/" : arena_str(arena, slice_sub(s, 0, slash));
}

int access_log_open(struct access_log_conf *conf, const char *path, const char *format,
                    struct fault *fault)
{
    enum log_format f;
    if (log_format_parse(slice_str(format), &f) < 0)
        return fault_set(fault, ERR_INVALID, "--access-log-format %s: logfmt or json is wanted",
                         format);
    conf->is_json = f == LOG_JSON;
    return path[0] != 0 ? line_writer_open(path, &conf->writer, fault) : 0;
}

static uint64_t since(const struct exchange *ex, nsec at)
{
    return at > ex->at.received ? (at - ex->at.received) / NSEC_PER_USEC : 0;
}

/* Times from the request's head on; what was not reached is not there. */
static void add_phases(struct log_line *l, const struct exchange *ex)
{
    const struct {
        const char *key;
        nsec at;
    } PHASES[] = { { "routed_us", ex->at.routed },
                   { "linked_us", ex->at.linked },
                   { "sent_us", ex->at.sent },
                   { "first_byte_us", ex->at.first_byte },
                   { "done_us", ex->at.done } };
    for (size_t i = 0; i < sizeof PHASES / sizeof PHASES[0]; i++)
        if (PHASES[i].at > 0)
            log_line_field(l, &LU64(PHASES[i].key, since(ex, PHASES[i].at)));
}

void access_log_put(struct line_ring *to, const struct access_log_conf *conf,
                    const struct exchange *ex, struct slice hostname, const struct log_field *more,
                    size_t count)
{
    struct log_line l;
    struct slice target = ex->request.target, trace;
    if (!conf->has_query)
        target = slice_sub(target, 0, slice_find(target, '?'));
    log_line_begin(&l, conf->is_json, clock_wall_us());
    log_line_field(&l, &LSTR("request", ex->id));
    if (trace_of(&ex->request.fields, &trace))
        log_line_field(&l, &LSLICE("trace", trace));
    log_line_field(&l, &LU64("status", ex->response != NULL ? ex->response->status : 0));
    if (ex->verdict.failure != FAILURE_NONE) {
        log_line_field(&l, &LSTR("failure", failure_word(ex->verdict.failure)));
        log_line_field(&l, &LSTR("hop", hop_name(ex->verdict.hop)));
    }
    log_line_field(&l, &LU64("up", ex->bytes_up));
    log_line_field(&l, &LU64("down", ex->bytes_down));
    add_phases(&l, ex);
    for (size_t i = 0; i < count; i++)
        log_line_field(&l, &more[i]);
    log_line_field(&l, &LSLICE("method", ex->request.method)); /* a visitor's texts at the end */
    log_line_field(&l, &LSLICE("hostname", hostname));
    log_line_field(&l, &LSLICE("target", target));
    line_ring_put(to, log_line_end(&l, 0));
}

void access_log_put_refused(struct line_ring *to, const struct access_log_conf *conf,
                            const struct h1_refused_head *head, const char *visitor)
{
    struct log_line l;
    log_line_begin(&l, conf->is_json, clock_wall_us());
    log_line_field(&l, &LSTR("request", head->id));
    log_line_field(&l, &LU64("status", head->status));
    log_line_field(&l, &LSTR("failure", failure_word(head->failure)));
    log_line_field(&l, &LSTR("hop", hop_name(failure_row(head->failure)->hop)));
    log_line_field(&l, &LU64("up", 0));
    log_line_field(&l, &LU64("down", head->bytes_down));
    log_line_field(&l, &LSTR("visitor", visitor));
    log_line_field(&l, &LSTR("why", head->why));
    line_ring_put(to, log_line_end(&l, 0));
}

void access_log_metrics(struct line_writer *w, struct strb *to)
{
    uint64_t lines, dropped;
    metric_head(to, "adit_log_suppressed_total", "counter",
                "Lines of the program's log that were held back as repeats.");
    strb_fmt(to, "adit_log_suppressed_total %" PRIu64 "\n", log_suppressed());
    if (w == NULL)
        return;
    line_writer_counts(w, &lines, &dropped);
    metric_head(to, "adit_access_log_lines_total", "counter", "Lines given to the access log.");
    strb_fmt(to, "adit_access_log_lines_total %" PRIu64 "\n", lines);
    metric_head(to, "adit_access_log_dropped_total", "counter",
                "Lines that the access log lost, because its file or reader could not follow.");
    strb_fmt(to, "adit_access_log_dropped_total %" PRIu64 "\n", dropped);
}
