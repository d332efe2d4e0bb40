#pragma once
/* SOCKS 5 (RFC 1928) as its server reads and writes it. Pure; any thread. Views into the caller's
 * bytes. Every decoder gives the bytes that its message takes, ERR_AGAIN while it is not whole, or
 * ERR_PROTO for another version. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define SOCKS_GREETING_BYTES_MAX 257
#define SOCKS_REQUEST_BYTES_MAX  262 /* also of a reply */
#define SOCKS_METHOD_NONE        0x00
#define SOCKS_METHOD_REFUSED     0xff
#define SOCKS_CONNECT            1

enum socks_address { SOCKS_IPV4 = 1, SOCKS_NAME = 3, SOCKS_IPV6 = 4 };

enum socks_code {
    SOCKS_GRANTED = 0,
    SOCKS_NOT_ALLOWED = 2,
    SOCKS_NET_UNREACHABLE = 3,
    SOCKS_HOST_UNREACHABLE = 4,
    SOCKS_REFUSED = 5,
    SOCKS_BAD_COMMAND = 7,
    SOCKS_BAD_ADDRESS = 8,
};

struct socks_dest {
    enum socks_address type;
    struct slice host; /* four or sixteen bytes, or a name of 1 to 255 */
    uint16_t port;
};

struct socks_request {
    uint8_t command;
    struct socks_dest dest;
};

/* Whether "no authentication" is among the methods. */
int socks_greeting_decode(struct slice bytes, bool *ret_offers_none)
    __attribute__((warn_unused_result));
/* Also ERR_UNSUPPORTED: an address type that is none. */
int socks_request_decode(struct slice bytes, struct socks_request *ret)
    __attribute__((warn_unused_result));

size_t socks_method_encode(uint8_t method, uint8_t out[static 2]);
/* `dest` NULL = 0.0.0.0:0. */
size_t socks_reply_encode(enum socks_code code, const struct socks_dest *dest,
                          uint8_t out[static SOCKS_REQUEST_BYTES_MAX]);
