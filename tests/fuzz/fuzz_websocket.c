/* Websocket frames one after the other: a head that is read is written back as it came, every
 * prefix of it asks for more, and a payload that is masked twice is itself. The input is also tried
 * as a key of the opening handshake. */
#include <stdlib.h>

#include "base/err.h"
#include "codec/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void mask_twice(struct slice payload, const struct websocket_frame *f)
{
    static uint8_t copy[4096];
    size_t n = payload.n < sizeof copy ? payload.n : sizeof copy, half = n / 3;
    if (n == 0)
        return;
    memcpy(copy, payload.p, n);
    websocket_mask(copy, n, f->mask, 0);
    websocket_mask(copy, half, f->mask, 0);
    websocket_mask(copy + half, n - half, f->mask, half);
    must(memcmp(copy, payload.p, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    struct websocket_frame f, part;
    char accept[WEBSOCKET_ACCEPT_BYTES];
    uint8_t head[WEBSOCKET_HEAD_BYTES];
    if (websocket_accept_key(rest, accept) == 0)
        must(strlen(accept) == WEBSOCKET_ACCEPT_BYTES - 1);
    for (;;) {
        int r = websocket_head_decode(rest, &f);
        if (r < 0) {
            must(r == ERR_AGAIN || r == ERR_PROTO);
            must(r != ERR_AGAIN || rest.n < WEBSOCKET_HEAD_BYTES);
            return 0;
        }
        must((size_t)r <= rest.n && websocket_head_encode(&f, head) == (size_t)r);
        must(memcmp(head, rest.p, (size_t)r) == 0);
        for (size_t n = 0; n < (size_t)r; n++)
            must(websocket_head_decode(slice_of(rest.p, n), &part) == ERR_AGAIN);
        must(!websocket_is_control(f.opcode) || (f.is_final && f.length <= 125));
        rest = slice_sub(rest, (size_t)r, SIZE_MAX);
        mask_twice(slice_sub(rest, 0, f.length), &f);
        rest = slice_sub(rest, f.length, SIZE_MAX);
    }
}
