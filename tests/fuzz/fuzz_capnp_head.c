/* Heads of data streams, either kind: whatever decodes must encode again. */
#include <stdlib.h>

#include "base/err.h"
#include "tunnel/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct metadata items[TUNNEL_METADATA_MAX];
    struct connect_head head = { .items = items, .max = TUNNEL_METADATA_MAX };
    struct slice bytes = slice_of(data, size);
    size_t used;
    if (head_size(bytes, &used) < 0 || used > size)
        return 0;
    bytes.n = used;
    (void)!head_decode_response(bytes, &head);
    if (head_decode_request(bytes, &head) < 0)
        return 0;
    struct chunk_pool *pool = chunk_pool_new();
    struct buf out;
    buf_init(&out, pool, 1 << 22);
    /* An amplifying message may say more than an encoder's bound allows; nothing else may fail. */
    int r = head_encode_request(&out, &head);
    if (r < 0 && r != ERR_LIMIT)
        abort();
    buf_done(&out);
    chunk_pool_free(pool);
    return 0;
}
