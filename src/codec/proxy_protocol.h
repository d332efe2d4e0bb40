#pragma once
/* The PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): what a proxy says first
 * on a connection, so that the service knows who is behind it. Pure; any thread. */
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define PROXY_V1_BYTES_MAX 107 /* the longest line, with its CR LF */
#define PROXY_V2_BYTES_MAX 536 /* of one that is read: what the text promises to fit a segment */
#define PROXY_OUT_BYTES    PROXY_V1_BYTES_MAX /* of one that is written, in either version */

enum proxy_family {
    PROXY_UNKNOWN, /* UNKNOWN of version 1, LOCAL and what has no address we know of version 2 */
    PROXY_TCP4,
    PROXY_TCP6,
};

struct proxy_header {
    enum proxy_family family;
    uint8_t source[16], destination[16]; /* network order; four bytes of TCP4, the rest is 0 */
    uint16_t source_port, destination_port;
};

/* Bytes written. */
size_t proxy_v1_encode(const struct proxy_header *h, uint8_t out[static PROXY_OUT_BYTES]);
size_t proxy_v2_encode(const struct proxy_header *h, uint8_t out[static PROXY_OUT_BYTES]);
/* Either version. The bytes that the header takes; ERR_AGAIN while it is not whole; ERR_PROTO when
 * it is none, or a malformed or too long one. */
int proxy_header_decode(struct slice bytes, struct proxy_header *ret)
    __attribute__((warn_unused_result));
