#include "codec/proxy_protocol.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/err.h"

#define V2_HEAD_BYTES 16
#define V2_TCP4       0x11
#define V2_TCP6       0x21
#define V2_LOCAL      0x20
#define V2_PROXY      0x21

static const uint8_t SIGNATURE[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                       0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

static size_t address_bytes(enum proxy_family family)
{
    return family == PROXY_TCP4 ? 4 : family == PROXY_TCP6 ? 16 : 0;
}

/* ---- writing ---- */

size_t proxy_v1_encode(const struct proxy_header *h, uint8_t out[static PROXY_OUT_BYTES])
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN], line[PROXY_V1_BYTES_MAX + 1];
    int n, family = h->family == PROXY_TCP4 ? AF_INET : AF_INET6;
    if (h->family == PROXY_UNKNOWN) {
        n = snprintf(line, sizeof line, "PROXY UNKNOWN\r\n");
    } else {
        (void)inet_ntop(family, h->source, source, sizeof source);
        (void)inet_ntop(family, h->destination, destination, sizeof destination);
        n = snprintf(line, sizeof line, "PROXY %s %s %s %u %u\r\n",
                     h->family == PROXY_TCP4 ? "TCP4" : "TCP6", source, destination, h->source_port,
                     h->destination_port);
    }
    memcpy(out, line, (size_t)n);
    return (size_t)n;
}

static uint8_t *put_port(uint8_t *p, uint16_t port)
{
    *p++ = (uint8_t)(port >> 8);
    *p++ = (uint8_t)port;
    return p;
}

size_t proxy_v2_encode(const struct proxy_header *h, uint8_t out[static PROXY_OUT_BYTES])
{
    size_t address = address_bytes(h->family);
    uint8_t *p = out + sizeof SIGNATURE;
    memcpy(out, SIGNATURE, sizeof SIGNATURE);
    *p++ = h->family == PROXY_UNKNOWN ? V2_LOCAL : V2_PROXY;
    *p++ = h->family == PROXY_TCP4 ? V2_TCP4 : h->family == PROXY_TCP6 ? V2_TCP6 : 0;
    p = put_port(p, (uint16_t)(address > 0 ? 2 * address + 4 : 0));
    if (address > 0) {
        memcpy(p, h->source, address);
        memcpy(p + address, h->destination, address);
        p = put_port(p + 2 * address, h->source_port);
        p = put_port(p, h->destination_port);
    }
    return (size_t)(p - out);
}

/* ---- reading ---- */

static int take_address(struct slice text, int family, uint8_t out[static 16])
{
    char copy[INET6_ADDRSTRLEN];
    if (text.n >= sizeof copy || memchr(text.p, 0, text.n) != NULL)
        return ERR_PROTO;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    return inet_pton(family, copy, out) == 1 ? 0 : ERR_PROTO;
}

static int take_port(struct slice text, uint16_t *ret)
{
    uint64_t port;
    if ((text.n > 1 && text.p[0] == '0') || slice_u64(text, UINT16_MAX, &port) < 0)
        return ERR_PROTO;
    *ret = (uint16_t)port;
    return 0;
}

/* What stands behind "PROXY ", without CR LF. */
static int take_line(struct slice line, struct proxy_header *ret)
{
    struct slice parts[5], rest = line;
    size_t count = 0;
    *ret = (struct proxy_header){ 0 };
    /* What else an UNKNOWN says is to be ignored. */
    if (slice_eq(line, SLICE("UNKNOWN")) || slice_starts(line, SLICE("UNKNOWN ")))
        return 0;
    while (count < 5 && slice_split(&rest, ' ', &parts[count]))
        count++;
    if (count < 5 || rest.p != NULL)
        return ERR_PROTO;
    if (slice_eq(parts[0], SLICE("TCP4")))
        ret->family = PROXY_TCP4;
    else if (slice_eq(parts[0], SLICE("TCP6")))
        ret->family = PROXY_TCP6;
    else
        return ERR_PROTO;
    int family = ret->family == PROXY_TCP4 ? AF_INET : AF_INET6;
    int r = take_address(parts[1], family, ret->source);
    if (r == 0)
        r = take_address(parts[2], family, ret->destination);
    if (r == 0)
        r = take_port(parts[3], &ret->source_port);
    return r == 0 ? take_port(parts[4], &ret->destination_port) : r;
}

static int decode_v1(struct slice bytes, struct proxy_header *ret)
{
    const uint8_t *end = NULL;
    struct slice most = slice_sub(bytes, 0, PROXY_V1_BYTES_MAX);
    for (size_t i = 0; i + 1 < most.n && end == NULL; i++)
        if (most.p[i] == '\r' && most.p[i + 1] == '\n')
            end = most.p + i;
    if (end == NULL)
        return bytes.n < PROXY_V1_BYTES_MAX ? ERR_AGAIN : ERR_PROTO;
    size_t n = (size_t)(end - most.p);
    int r = take_line(slice_sub(most, 6, n - 6), ret);
    return r < 0 ? r : (int)n + 2;
}

static int decode_v2(struct slice bytes, struct proxy_header *ret)
{
    if (bytes.n < V2_HEAD_BYTES)
        return ERR_AGAIN;
    uint8_t command = bytes.p[12], kind = bytes.p[13];
    size_t length = (size_t)bytes.p[14] << 8 | bytes.p[15];
    if ((command != V2_LOCAL && command != V2_PROXY) || length > PROXY_V2_BYTES_MAX - V2_HEAD_BYTES)
        return ERR_PROTO;
    *ret = (struct proxy_header){ 0 };
    if (command == V2_PROXY && kind == V2_TCP4)
        ret->family = PROXY_TCP4;
    else if (command == V2_PROXY && kind == V2_TCP6)
        ret->family = PROXY_TCP6;
    size_t address = address_bytes(ret->family);
    if (address > 0 && length < 2 * address + 4)
        return ERR_PROTO;
    if (bytes.n < V2_HEAD_BYTES + length)
        return ERR_AGAIN;
    const uint8_t *p = bytes.p + V2_HEAD_BYTES;
    if (address > 0) {
        memcpy(ret->source, p, address);
        memcpy(ret->destination, p + address, address);
        p += 2 * address;
        ret->source_port = (uint16_t)(p[0] << 8 | p[1]);
        ret->destination_port = (uint16_t)(p[2] << 8 | p[3]);
    }
    return (int)(V2_HEAD_BYTES + length);
}

int proxy_header_decode(struct slice bytes, struct proxy_header *ret)
{
    struct slice v1 = SLICE("PROXY "), v2 = slice_of(SIGNATURE, sizeof SIGNATURE);
    if (slice_starts(v1, bytes) || slice_starts(v2, bytes))
        return ERR_AGAIN; /* what is there may become either */
    if (slice_starts(bytes, v1))
        return decode_v1(bytes, ret);
    if (slice_starts(bytes, v2))
        return decode_v2(bytes, ret);
    return ERR_PROTO;
}
