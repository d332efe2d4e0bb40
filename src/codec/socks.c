#include "codec/socks.h"

#include <string.h>

#include "base/err.h"

#define VERSION 5

int socks_greeting_decode(struct slice b, bool *ret_offers_none)
{
    if (b.n > 0 && b.p[0] != VERSION)
        return ERR_PROTO;
    if (b.n < 2 || b.n < 2U + b.p[1])
        return ERR_AGAIN;
    *ret_offers_none = b.p[1] > 0 && memchr(b.p + 2, SOCKS_METHOD_NONE, b.p[1]) != NULL;
    return 2 + b.p[1];
}

/* An address of a known type at the front: the bytes that it takes with its port. */
static int take_dest(struct slice b, unsigned type, struct socks_dest *ret)
{
    size_t skip = type == SOCKS_NAME ? 1 : 0;
    if (b.n < skip)
        return ERR_AGAIN;
    size_t n = type == SOCKS_IPV4 ? 4 : type == SOCKS_IPV6 ? 16 : b.p[0];
    if (n == 0)
        return ERR_PROTO;
    if (b.n < skip + n + 2)
        return ERR_AGAIN;
    const uint8_t *port = b.p + skip + n;
    *ret = (struct socks_dest){ .type = (enum socks_address)type,
                                .host = slice_sub(b, skip, n),
                                .port = (uint16_t)(port[0] << 8 | port[1]) };
    return (int)(skip + n + 2);
}

int socks_request_decode(struct slice b, struct socks_request *ret)
{
    struct socks_request out = { 0 };
    if (b.n > 0 && b.p[0] != VERSION)
        return ERR_PROTO;
    if (b.n < 4)
        return ERR_AGAIN;
    unsigned type = b.p[3];
    out.command = b.p[1];
    if (type != SOCKS_IPV4 && type != SOCKS_NAME && type != SOCKS_IPV6)
        return ERR_UNSUPPORTED;
    int n = take_dest(slice_sub(b, 4, SIZE_MAX), type, &out.dest);
    if (n < 0)
        return n;
    *ret = out;
    return 4 + n;
}

size_t socks_method_encode(uint8_t method, uint8_t out[static 2])
{
    out[0] = VERSION;
    out[1] = method;
    return 2;
}

size_t socks_reply_encode(enum socks_code code, const struct socks_dest *dest,
                          uint8_t out[static SOCKS_REQUEST_BYTES_MAX])
{
    static const uint8_t ANY[4] = { 0 };
    struct socks_dest none = { .type = SOCKS_IPV4, .host = slice_of(ANY, sizeof ANY) };
    const struct socks_dest *d = dest != NULL ? dest : &none;
    size_t n = 0;
    out[n++] = VERSION;
    out[n++] = (uint8_t)code;
    out[n++] = 0;
    out[n++] = (uint8_t)d->type;
    if (d->type == SOCKS_NAME)
        out[n++] = (uint8_t)d->host.n;
    memcpy(out + n, d->host.p, d->host.n);
    n += d->host.n;
    out[n++] = (uint8_t)(d->port >> 8);
    out[n++] = (uint8_t)d->port;
    return n;
}
