#pragma once
/* A borrowed view of bytes: valid until its owner is next touched, never stored across a run(). Not
 * NUL-terminated. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *p;
    size_t n;
};

/* A slice of a string literal or of an array of char with a final NUL. */
#define SLICE(literal) ((struct slice){ .p = (const uint8_t *)(literal), .n = sizeof(literal) - 1 })

/* For printf("%.*s", SLICE_FMT(s)). */
#define SLICE_FMT(s) (int)(s).n, (const char *)(s).p

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){ .p = p, .n = n };
}

/* NULL gives the empty slice. */
static inline struct slice slice_str(const char *text)
{
    return (struct slice){ .p = (const uint8_t *)text, .n = text != NULL ? strlen(text) : 0 };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* The part from `at` on, of at most `n` bytes; both are clipped to the slice. */
static inline struct slice slice_sub(struct slice s, size_t at, size_t n)
{
    if (at > s.n)
        at = s.n;
    if (n > s.n - at)
        n = s.n - at;
    return slice_of(s.p + at, n);
}

/* Equal when ASCII letters are taken without case. */
bool slice_eq_nocase(struct slice a, struct slice b);

bool slice_starts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);

/* Index of the first `byte`, or s.n when there is none. */
size_t slice_find(struct slice s, uint8_t byte);

/* Index of the last `byte`, or s.n when there is none. */
size_t slice_find_last(struct slice s, uint8_t byte);

/* Without spaces and tabs at both ends. */
struct slice slice_trim(struct slice s);

/* Takes the part before the first `byte` off *s (and drops the byte); the whole rest when there is
 * none. False when *s has been used up: a text with n separators gives n + 1 parts. Mark the end
 * with s->p == NULL. */
bool slice_split(struct slice *s, uint8_t byte, struct slice *ret);

/* Decimal digits only, no sign, no space; ERR_PARSE on anything else or nothing, ERR_RANGE above
 * `max`. */
int slice_u64(struct slice s, uint64_t max, uint64_t *ret);

/* Compares secrets in a time that depends on the lengths alone. */
bool slice_eq_secret(struct slice a, struct slice b);

/* Whether it is well-formed UTF-8 (RFC 3629: no surrogates, nothing over-long). */
bool slice_is_utf8(struct slice s);

/* A copy with a final NUL from malloc; aborts when memory is short. The caller frees it. */
char *slice_dup(struct slice s);
