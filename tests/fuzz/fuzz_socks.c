/* SOCKS 5: what is decoded is whole, every prefix of it asks for more, and a destination that is
 * written into a reply is read from it again. */
#include <stdlib.h>

#include "base/err.h"
#include "codec/socks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void greet(struct slice bytes)
{
    bool none, again;
    int n = socks_greeting_decode(bytes, &none);
    must(n == ERR_AGAIN || n == ERR_PROTO ||
         (n >= 2 && n <= SOCKS_GREETING_BYTES_MAX && (size_t)n <= bytes.n));
    must(n != ERR_AGAIN || bytes.n < SOCKS_GREETING_BYTES_MAX);
    for (int i = 0; i < n; i++)
        must(socks_greeting_decode(slice_sub(bytes, 0, (size_t)i), &again) == ERR_AGAIN);
}

static void ask(struct slice bytes)
{
    uint8_t reply[SOCKS_REQUEST_BYTES_MAX];
    struct socks_request q, part;
    int n = socks_request_decode(bytes, &q);
    must(n == ERR_AGAIN || n == ERR_PROTO || n == ERR_UNSUPPORTED ||
         (n >= 4 && n <= SOCKS_REQUEST_BYTES_MAX && (size_t)n <= bytes.n));
    must(n != ERR_AGAIN || bytes.n < SOCKS_REQUEST_BYTES_MAX);
    if (n < 0)
        return;
    for (int i = 0; i < n; i++)
        must(socks_request_decode(slice_sub(bytes, 0, (size_t)i), &part) == ERR_AGAIN);
    must(socks_reply_encode(SOCKS_GRANTED, &q.dest, reply) == (size_t)n);
    must(socks_request_decode(slice_of(reply, (size_t)n), &part) == n);
    must(part.dest.port == q.dest.port && slice_eq(part.dest.host, q.dest.host));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    greet(bytes);
    ask(bytes);
    return 0;
}
