/* Counts the calls that take memory, in a file that others may read meanwhile: LD_PRELOAD this with
 * $MALLOCS=FILE, of 16 bytes. The first 8 are the number of calls of malloc, calloc, realloc and
 * aligned_alloc, the others the bytes asked for. Any thread counts; the numbers are never reset, so
 * that a reader takes the difference of two looks. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

struct counters {
    _Atomic uint64_t calls;
    _Atomic uint64_t bytes;
};

static struct counters before_main;
static struct counters *counters = &before_main;

__attribute__((constructor)) static void open_file(void)
{
    const char *name = getenv("MALLOCS");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        counters = at;
    close(fd);
}

static void note(size_t size)
{
    atomic_fetch_add_explicit(&counters->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->bytes, size, memory_order_relaxed);
}

void *malloc(size_t size)
{
    note(size);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    note(count * size);
    return __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    note(size);
    return __libc_realloc(at, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    note(size);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    note(size);
    *ret = __libc_memalign(alignment, size);
    return *ret ? 0 : 12; /* ENOMEM; errno is not this call's to change. */
}
