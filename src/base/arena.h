#pragma once
/* Memory that is given back all at once: one arena for each connection and each exchange. Not for
 * bytes in motion (those are chunks, base/buf.h). One thread. Bounded: past `bytes_max` every
 * allocation fails. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    uint8_t *at, *end;
    uint8_t *first; /* lent, or NULL */
    size_t first_bytes;
    size_t bytes, bytes_max; /* taken from malloc so far, and the bound */
    struct arena_undo *undo;
    bool is_secret; /* wiped when it is done */
};

/* Nothing is allocated until the first arena_alloc. */
void arena_init(struct arena *a, size_t bytes_max);
/* The same, for tokens and keys: arena_done leaves nothing of them. */
void arena_init_secret(struct arena *a, size_t bytes_max);
/* Before the first arena_alloc: what is taken first comes from here, aligned for any type, which
 * the caller owns and frees after arena_done, and does not count against the bound. */
void arena_lend(struct arena *a, void *first, size_t n);

/* Runs what arena_defer left, last first, and frees everything. Safe on a zeroed or finished arena.
 */
void arena_done(struct arena *a);

/* Zeroed memory, aligned for any type; NULL past the bound or when memory is short. */
void *arena_alloc(struct arena *a, size_t n);

/* A copy with a NUL after it; .p is NULL on failure (never for an empty slice that fits). */
struct slice arena_copy(struct arena *a, struct slice s);

/* A copy as a string; NULL on failure. */
char *arena_str(struct arena *a, struct slice s);

/* The parts one after the other, NUL-terminated; NULL when memory is short. */
char *arena_join(struct arena *a, const struct slice *parts, size_t count);
/* printf into the arena; NULL on failure. */
char *arena_fmt(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Calls undo(ptr) in arena_done. 0 or ERR_NOMEM (then undo is not called). */
int arena_defer(struct arena *a, void (*undo)(void *), void *ptr)
    __attribute__((warn_unused_result));
