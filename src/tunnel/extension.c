#include "tunnel/extension.h"

static const struct {
    struct slice name;
    unsigned bit;
} TABLE[] = {
    { { (const uint8_t *)"adit_diag", 9 }, EXTENSION_DIAG },
    { { (const uint8_t *)"adit_trailers", 13 }, EXTENSION_TRAILERS },
};

_Static_assert(sizeof TABLE / sizeof TABLE[0] == EXTENSIONS_MAX, "a name for each extension");

unsigned extensions_of(const struct slice *names, size_t count)
{
    unsigned set = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < EXTENSIONS_MAX; k++)
            if (slice_eq(names[i], TABLE[k].name))
                set |= TABLE[k].bit;
    return set;
}

size_t extensions_names(unsigned set, struct slice names[static EXTENSIONS_MAX])
{
    size_t n = 0;
    for (size_t k = 0; k < EXTENSIONS_MAX; k++)
        if ((set & TABLE[k].bit) != 0)
            names[n++] = TABLE[k].name;
    return n;
}
