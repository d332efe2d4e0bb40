#pragma once
/* Memory that runs out. A program whose name ends in "failing_memory" is linked with malloc,
 * calloc, realloc and free wrapped: every call of our own code comes here (calls within shared
 * libraries do not). `sweep(case)` runs a case until its nth allocation has failed for every n,
 * once alone and once with all that follow, and sees that no block is left over. */
#include "test.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static struct {
    size_t calls, fail_at; /* the call that fails, from 1; 0 = none */
    bool goes_on;          /* so do those behind it */
    long live;
} memory;

static bool memory_fails(void)
{
    memory.calls++;
    return memory.fail_at > 0 &&
           (memory.calls == memory.fail_at || (memory.goes_on && memory.calls > memory.fail_at));
}

void *__wrap_malloc(size_t n)
{
    void *p = memory_fails() ? NULL : __real_malloc(n);
    memory.live += p != NULL;
    return p;
}

void *__wrap_calloc(size_t count, size_t n)
{
    void *p = memory_fails() ? NULL : __real_calloc(count, n);
    memory.live += p != NULL;
    return p;
}

void *__wrap_realloc(void *p, size_t n)
{
    void *q = memory_fails() ? NULL : __real_realloc(p, n);
    memory.live += p == NULL && q != NULL;
    return q;
}

void __wrap_free(void *p)
{
    memory.live -= p != NULL;
    __real_free(p);
}

/* Runs the case once for each of its allocations. The case returns 0, or the error that it met: an
 * allocation that failed may go unnoticed only where the result is whole all the same, which the
 * case itself checks. Returns how many allocations there were. */
static inline size_t sweep(const char *name, int (*one)(void))
{
    size_t count = 0;
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        for (size_t n = 1;; n++) {
            long live = memory.live;
            memory.calls = 0;
            memory.fail_at = n;
            memory.goes_on = goes_on != 0;
            int r = one();
            memory.fail_at = 0;
            if (memory.live != live)
                fail_msg("%s: %ld blocks left when allocation %zu failed", name, memory.live - live,
                         n);
            if (memory.calls < n) {
                if (r != 0)
                    fail_msg("%s: %s though nothing failed", name, err_text(r));
                count = memory.calls;
                break;
            }
            if (r != 0 && r != ERR_NOMEM && r != ERR_LIMIT)
                fail_msg("%s: %s when allocation %zu failed", name, err_text(r), n);
        }
    }
    if (count == 0)
        fail_msg("%s allocates nothing: it is not linked for this", name);
    return count;
}
