/* Whether a secret is still in memory when whoever held it is done: looked for in the whole
 * process, freed blocks included (AddressSanitizer keeps those as they were). */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/chunk.h"
#include "base/secret.h"
#include "base/strb.h"
#include "test.h"

#define SECRET_BYTES 40
#define PIECE        (1 << 20)
#define VAST         (1UL << 28)

/* Not written anywhere as it is: the search would find it. */
static void make(uint8_t to[SECRET_BYTES], uint8_t seed)
{
    for (unsigned i = 0; i < SECRET_BYTES; i++)
        to[i] = (uint8_t)(seed ^ (i * 37 + 11));
}

static size_t count_in(const uint8_t *p, size_t n, uint8_t seed)
{
    size_t count = 0;
    for (size_t at = 0; at + SECRET_BYTES <= n; at++) {
        unsigned i = 0;
        const uint8_t *first = memchr(p + at, seed ^ 11, n - SECRET_BYTES + 1 - at);
        if (first == NULL)
            break;
        at = (size_t)(first - p);
        while (i < SECRET_BYTES && p[at + i] == (uint8_t)(seed ^ (i * 37 + 11)))
            i++;
        count += i == SECRET_BYTES;
    }
    return count;
}

/* Pieces overlap, so that nothing is missed between two. The search's own buffer is left out, and
 * so are the sanitizers' vast tables. */
static size_t count_in_process(uint8_t seed, void **state_)
{
    uint8_t *piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char line[512];
    size_t count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    CHECK(maps != NULL && mem >= 0 && piece != MAP_FAILED);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        char mode[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[0] != 'r' ||
            mode[1] != 'w' || to - from > VAST)
            continue;
        for (; from < to; from += PIECE - SECRET_BYTES) {
            if (from < (unsigned long)piece + PIECE && (unsigned long)piece < from + PIECE)
                continue;
            ssize_t n = pread(mem, piece, to - from < PIECE ? to - from : PIECE, (off_t)from);
            count += n > 0 ? count_in(piece, (size_t)n, seed) : 0;
        }
    }
    (void)munmap(piece, PIECE);
    (void)fclose(maps);
    (void)close(mem);
    return count;
}

/* Each case puts the secret somewhere, and what held it goes. */
TEST(what_was_in_an_ordinary_arena_is_still_there)
{
    uint8_t secret[SECRET_BYTES];
    struct arena a;
    arena_init(&a, 4096);
    make(secret, 0x21);
    CHECK(arena_copy(&a, slice_of(secret, sizeof secret)).p != NULL);
    explicit_bzero(secret, sizeof secret);
    CHECK(count_in_process(0x21, state_) == 1); /* or the search would prove nothing */
    arena_done(&a);
}

TEST(nothing_is_left_of_a_secret_arena)
{
    uint8_t secret[SECRET_BYTES];
    struct arena a;
    arena_init_secret(&a, 65536);
    make(secret, 0x32);
    CHECK(arena_copy(&a, slice_of(secret, sizeof secret)).p != NULL);
    CHECK(arena_alloc(&a, 30000) != NULL); /* a block of its own */
    CHECK(arena_copy(&a, slice_of(secret, sizeof secret)).p != NULL);
    explicit_bzero(secret, sizeof secret);
    CHECK(count_in_process(0x32, state_) == 2);
    arena_done(&a);
    CHECK(count_in_process(0x32, state_) == 0);
    CHECK(arena_copy(&a, SLICE("again")).p != NULL && a.is_secret);
    arena_done(&a);
}

TEST(a_text_that_grew_leaves_nothing_where_it_was)
{
    uint8_t secret[SECRET_BYTES];
    struct strb s;
    strb_init(&s, 1 << 20);
    make(secret, 0x43);
    strb_add(&s, slice_of(secret, sizeof secret));
    explicit_bzero(secret, sizeof secret);
    for (unsigned i = 0; i < 10000; i++)
        strb_char(&s, 'x');
    CHECK(s.err == 0 && count_in_process(0x43, state_) == 1);
    strb_done(&s);
    CHECK(count_in_process(0x43, state_) == 0);
}

TEST(a_pool_that_has_secrets_wipes_each_chunk_with_its_last_reference)
{
    struct chunk_pool *pool = chunk_pool_new();
    chunk_pool_keep_secrets(pool);
    struct chunk *c = chunk_new(pool, 100), *other = chunk_ref(c);
    make(c->data, 0x54);
    chunk_unref(c);
    CHECK(count_in_process(0x54, state_) == 1);
    chunk_unref(other);
    CHECK(count_in_process(0x54, state_) == 0);
    chunk_pool_free(pool);
}

TESTS(RUN(what_was_in_an_ordinary_arena_is_still_there), RUN(nothing_is_left_of_a_secret_arena),
      RUN(a_text_that_grew_leaves_nothing_where_it_was),
      RUN(a_pool_that_has_secrets_wipes_each_chunk_with_its_last_reference))
