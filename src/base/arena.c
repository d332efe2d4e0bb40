#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/secret.h"

#define BLOCK_BYTES_FIRST   2048
#define BLOCK_BYTES_LARGEST 65536
#define ALIGN               16

struct arena_block {
    struct arena_block *next;
    size_t size;
    _Alignas(ALIGN) uint8_t data[];
};

struct arena_undo {
    struct arena_undo *next;
    void (*undo)(void *);
    void *ptr;
};

void arena_init(struct arena *a, size_t bytes_max)
{
    *a = (struct arena){ .bytes_max = bytes_max };
}

void arena_init_secret(struct arena *a, size_t bytes_max)
{
    *a = (struct arena){ .bytes_max = bytes_max, .is_secret = true };
}

void arena_lend(struct arena *a, void *first, size_t n)
{
    a->first = a->at = first;
    a->first_bytes = n;
    a->end = a->at + n;
}

void arena_done(struct arena *a)
{
    for (struct arena_undo *u = a->undo; u != NULL; u = u->next)
        u->undo(u->ptr);
    for (struct arena_block *b = a->blocks, *next; b != NULL; b = next) {
        next = b->next;
        if (a->is_secret)
            secret_wipe(b, b->size);
        free(b);
    }
    if (a->is_secret)
        secret_wipe(a->first, a->first_bytes);
    *a = (struct arena){ .bytes_max = a->bytes_max, .is_secret = a->is_secret };
}

/* Opens a block with room for n bytes: twice the last one, so that the number of blocks stays
 * small. */
static int grow(struct arena *a, size_t n)
{
    size_t size = a->blocks == NULL ? BLOCK_BYTES_FIRST : a->blocks->size * 2;
    if (size > BLOCK_BYTES_LARGEST)
        size = BLOCK_BYTES_LARGEST;
    size -= sizeof(struct arena_block);
    if (size < n)
        size = n;
    size += sizeof(struct arena_block);
    if (size > a->bytes_max || a->bytes > a->bytes_max - size)
        size = n + sizeof(struct arena_block);
    if (size > a->bytes_max || a->bytes > a->bytes_max - size)
        return ERR_LIMIT;
    struct arena_block *b = malloc(size);
    if (b == NULL)
        return ERR_NOMEM;
    *b = (struct arena_block){ .next = a->blocks, .size = size };
    a->blocks = b;
    a->bytes += size;
    a->at = b->data;
    a->end = (uint8_t *)b + size;
    return 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > a->bytes_max || n > SIZE_MAX / 2) /* nor may rounding wrap around */
        return NULL;
    n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if ((a->at == NULL || n > (size_t)(a->end - a->at)) && grow(a, n) < 0)
        return NULL;
    void *p = a->at;
    a->at += n;
    return memset(p, 0, n);
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    uint8_t *p = arena_alloc(a, s.n + 1);
    if (p == NULL)
        return (struct slice){ 0 };
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return slice_of(p, s.n);
}

char *arena_str(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (p != NULL && s.n > 0)
        memcpy(p, s.p, s.n);
    return p;
}

char *arena_join(struct arena *a, const struct slice *parts, size_t count)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        n += parts[i].n;
    char *p = arena_alloc(a, n + 1);
    for (size_t i = 0; p != NULL && i < count; at += parts[i++].n)
        if (parts[i].n > 0)
            memcpy(p + at, parts[i].p, parts[i].n);
    return p;
}

char *arena_fmt(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p == NULL)
        return NULL;
    va_start(args, format);
    (void)vsnprintf(p, (size_t)n + 1, format, args);
    va_end(args);
    return p;
}

int arena_defer(struct arena *a, void (*undo)(void *), void *ptr)
{
    struct arena_undo *u = arena_alloc(a, sizeof *u);
    if (u == NULL)
        return ERR_NOMEM;
    *u = (struct arena_undo){ .next = a->undo, .undo = undo, .ptr = ptr };
    a->undo = u;
    return 0;
}
