#include "conf/spelling.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

unsigned edit_distance(struct slice a, struct slice b)
{
    unsigned row[64];
    if (a.n >= 64 || b.n >= 64)
        return 99;
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            unsigned above = row[j], best = corner + (lower(a.p[i - 1]) != lower(b.p[j - 1]));
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            corner = above;
        }
    }
    return row[b.n];
}
