#pragma once
/* A growing text with a bound, for everything that is built and then sent or printed whole. Errors
 * stick: append freely and test `err` once. Wiped when it is done: tokens are built in it. One
 * thread. */
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct strb {
    char *p; /* NUL-terminated, or NULL while empty */
    size_t n, cap, max;
    int err; /* 0, ERR_LIMIT or ERR_NOMEM */
};

void strb_init(struct strb *s, size_t bytes_max);
void strb_done(struct strb *s);
void strb_add(struct strb *s, struct slice text);
void strb_str(struct strb *s, const char *text);
void strb_char(struct strb *s, char c);
void strb_fmt(struct strb *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline struct slice strb_slice(const struct strb *s)
{
    return slice_of(s->p, s->n);
}
/* Hands the text over (from malloc, never NULL) and empties the builder. NULL when an error stuck.
 */
char *strb_take(struct strb *s);
