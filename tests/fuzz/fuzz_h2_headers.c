/* A block of header lines: what can be read, written again and read again, is the same. */
#include <stdlib.h>

#include "base/err.h"
#include "codec/h2_headers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *space = malloc(H2_HEADERS_SPACE(size)), *again = malloc(H2_HEADERS_SPACE(size));
    char *block = malloc(size + 1);
    must(space != NULL && again != NULL && block != NULL);
    struct h2_headers_reader r = { .rest = slice_of(data, size), .space = space };
    struct slice name, value, name2, value2;
    size_t n = 0, pairs = 0;
    int e;
    while ((e = h2_headers_next(&r, &name, &value)) == 0) {
        must(name.p >= space && value.p + value.n <= space + H2_HEADERS_SPACE(size));
        must(h2_headers_put(block, size, &n, name, value) == 0); /* never longer than it came */
        pairs++;
    }
    must(e == ERR_EOF || e == ERR_PARSE);
    struct h2_headers_reader first = { .rest = slice_of(data, size), .space = space };
    struct h2_headers_reader second = { .rest = slice_of(block, n), .space = again };
    for (size_t i = 0; i < pairs; i++) {
        must(h2_headers_next(&first, &name, &value) == 0);
        must(h2_headers_next(&second, &name2, &value2) == 0);
        must(slice_eq(name, name2) && slice_eq(value, value2));
    }
    must(h2_headers_next(&second, &name2, &value2) == ERR_EOF);
    free(space);
    free(again);
    free(block);
    return 0;
}
