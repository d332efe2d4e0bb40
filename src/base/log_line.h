#pragma once
/* One line of a log being written, logfmt or JSON, bounded, with every value escaped: for the
 * program's log and the access log. What does not fit is left out field by field, and the line says
 * `cut`. Any thread. */
#include "base/log.h"

#define LOG_LINE_BYTES_MAX 4096

struct log_line {
    char p[LOG_LINE_BYTES_MAX];
    size_t n, max;
    bool json, is_full;
};

void log_line_begin(struct log_line *l, bool is_json, int64_t wall_us);
void log_line_event(struct log_line *l, const char *level, const char *event);
void log_line_field(struct log_line *l, const struct log_field *f);
/* The whole line with its newline; `held_back`: repeats that it stands for besides. */
struct slice log_line_end(struct log_line *l, uint64_t held_back);

/* What the hashes of LSECRET are keyed with. Before the first thread starts. */
void log_line_seed(const uint64_t seed[2]);
