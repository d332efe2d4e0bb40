#pragma once
/* A failure that a human will read: what happened and where. Filled by configuration, command-line
 * and API code; the data path returns plain codes. */
#include <stdarg.h>
#include <stdint.h>

#include "base/err.h"

#define FAULT_TEXT_BYTES  512
#define FAULT_WHERE_BYTES 256

struct fault {
    int code;                      /* enum err; 0 = none */
    char where[FAULT_WHERE_BYTES]; /* file, flag or key; "" when it says nothing */
    unsigned line, column;         /* from 1; 0 = unknown */
    char text[FAULT_TEXT_BYTES];
};

/* Fills *f (NULL is allowed) and returns `code`, so that `return fault_set(…)` reads well. */
int fault_set(struct fault *f, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Says where: returns f->code (0 for NULL). */
int fault_at(struct fault *f, const char *where, unsigned line, unsigned column);

#define FAULT_LINE_BYTES (FAULT_TEXT_BYTES + FAULT_WHERE_BYTES + 32)

/* "config.yml:3:5: text". Returns `line`. */
char *fault_line(const struct fault *f, char line[static FAULT_LINE_BYTES]);
