#pragma once
/* Memory that may have held a secret: it is wiped before it goes back. What moves is wiped where it
 * was. */
#include <stddef.h>
#include <string.h>

/* Not left out by a compiler that sees the memory unused afterwards. NULL is accepted. */
static inline void secret_wipe(void *p, size_t n)
{
    if (p != NULL)
        explicit_bzero(p, n);
}

/* Frees n bytes from malloc. NULL is accepted. */
void secret_free(void *p, size_t n);

/* Like realloc from `used` bytes in use to `size`, which is more. NULL when memory is short, and
 * then p is as it was. */
void *secret_grow(void *p, size_t used, size_t size);
