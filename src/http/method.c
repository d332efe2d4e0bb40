#include "http/method.h"

#include <stddef.h>

bool method_is_idempotent(struct slice method)
{
    static const char *const NAMES[] = { "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE" };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        if (slice_eq(method, slice_str(NAMES[i])))
            return true;
    return false;
}
