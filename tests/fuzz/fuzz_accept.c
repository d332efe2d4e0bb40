/* Accept fields of visitors: one of three forms comes out, and the same one however the list is
 * spread over lines. */
#include <stdlib.h>

#include "http/accept.h"

#define BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum page_form form(struct arena *arena, struct slice first, struct slice second)
{
    struct fields f;
    fields_init(&f, arena);
    if (fields_add(&f, SLICE("accept"), first) < 0 ||
        (second.p != NULL && fields_add(&f, SLICE("Accept"), second) < 0))
        abort();
    return accept_form(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    if (size > BYTES_MAX)
        return 0;
    arena_init(&arena, 1 << 16);
    struct slice all = slice_of(data, size);
    enum page_form got = form(&arena, all, (struct slice){ 0 });
    size_t comma = slice_find(all, ',');
    if (got >= PAGE_FORMS)
        abort();
    if (comma < size &&
        form(&arena, slice_sub(all, 0, comma), slice_sub(all, comma + 1, SIZE_MAX)) != got)
        abort();
    arena_done(&arena);
    return 0;
}
