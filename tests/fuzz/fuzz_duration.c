/* Durations: what is taken has the sign that it came with, and can be written and read again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "conf/duration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t ns = 0, again;
    char text[32];
    int r = duration_parse(slice_of(data, size), &ns);
    if (r < 0 && r != ERR_PARSE && r != ERR_RANGE)
        abort();
    if (r < 0)
        return 0;
    if ((data[0] == '-' && ns > 0) || (data[0] != '-' && ns < 0))
        abort();
    (void)snprintf(text, sizeof text, "%" PRId64 "ns", ns);
    if (duration_parse(slice_str(text), &again) < 0 || again != ns)
        abort();
    return 0;
}
