#pragma once
/* What goes beyond the reference's protocol, by names in the feature lists of both sides
 * (docs/protocol.md §14): the connector names what it can in its registration, the edge answers
 * with those of them that it can as well. Whoever sees no name of the other's keeps to the plain
 * protocol. Pure. */
#include "base/slice.h"

enum extension {
    EXTENSION_DIAG = 1 << 0,     /* "adit_diag": errors carry the failure's word */
    EXTENSION_TRAILERS = 1 << 1, /* "adit_trailers": trailers and interim responses cross */
};
#define EXTENSIONS_ALL (EXTENSION_DIAG | EXTENSION_TRAILERS)
#define EXTENSIONS_MAX 2 /* names */

/* The set that a list of names holds; unknown names are other people's. */
unsigned extensions_of(const struct slice *names, size_t count);
/* The names of a set: how many were filled in. Static storage. */
size_t extensions_names(unsigned set, struct slice names[static EXTENSIONS_MAX]);
