#include "base/strb.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/secret.h"

#define CAP_FIRST 256

void strb_init(struct strb *s, size_t bytes_max)
{
    *s = (struct strb){ .max = bytes_max };
}

void strb_done(struct strb *s)
{
    secret_free(s->p, s->n);
    strb_init(s, s->max);
}

/* Room for n more bytes and a NUL. */
static bool grow(struct strb *s, size_t n)
{
    if (s->err < 0)
        return false;
    if (n > s->max || s->n > s->max - n) {
        s->err = ERR_LIMIT;
        return false;
    }
    if (s->n + n < s->cap)
        return true;
    size_t cap = s->cap > 0 ? s->cap * 2 : CAP_FIRST;
    while (cap <= s->n + n)
        cap *= 2;
    char *p = secret_grow(s->p, s->n, cap);
    if (p == NULL) {
        s->err = ERR_NOMEM;
        return false;
    }
    s->p = p;
    s->cap = cap;
    return true;
}

void strb_add(struct strb *s, struct slice text)
{
    if (!grow(s, text.n))
        return;
    if (text.n > 0)
        memcpy(s->p + s->n, text.p, text.n);
    s->n += text.n;
    s->p[s->n] = 0;
}

void strb_str(struct strb *s, const char *text)
{
    strb_add(s, slice_str(text));
}

void strb_char(struct strb *s, char c)
{
    strb_add(s, slice_of(&c, 1));
}

void strb_fmt(struct strb *s, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n > 0 && grow(s, (size_t)n)) {
        (void)vsnprintf(s->p + s->n, (size_t)n + 1, format, again);
        s->n += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

char *strb_take(struct strb *s)
{
    strb_add(s, SLICE(""));
    char *p = s->err == 0 ? s->p : NULL;
    if (p != NULL)
        s->p = NULL;
    strb_done(s);
    return p;
}
