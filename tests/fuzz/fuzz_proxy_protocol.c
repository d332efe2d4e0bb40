/* The PROXY protocol: what is read is whole, every prefix of it asks for more, and what is written
 * from it reads the same in both versions. */
#include <stdlib.h>

#include "base/err.h"
#include "codec/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void again(const struct proxy_header *h, struct slice written)
{
    struct proxy_header got;
    must(proxy_header_decode(written, &got) == (int)written.n);
    must(memcmp(&got, h, sizeof got) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h, part;
    uint8_t out[PROXY_OUT_BYTES];
    int n = proxy_header_decode(slice_of(data, size), &h);
    must(n == ERR_AGAIN || n == ERR_PROTO || (n >= 15 && n <= PROXY_V2_BYTES_MAX));
    must(n != ERR_AGAIN || size < PROXY_V2_BYTES_MAX);
    if (n < 0)
        return 0;
    must((size_t)n <= size);
    for (int i = 0; i < n; i++)
        must(proxy_header_decode(slice_of(data, (size_t)i), &part) == ERR_AGAIN);
    again(&h, slice_of(out, proxy_v1_encode(&h, out)));
    again(&h, slice_of(out, proxy_v2_encode(&h, out)));
    return 0;
}
