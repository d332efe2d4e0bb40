#include "base/secret.h"

#include <stdlib.h>

void secret_free(void *p, size_t n)
{
    secret_wipe(p, n);
    free(p);
}

void *secret_grow(void *p, size_t used, size_t size)
{
    void *q = malloc(size);
    if (q == NULL)
        return NULL;
    if (used > 0)
        memcpy(q, p, used);
    secret_free(p, used);
    return q;
}
