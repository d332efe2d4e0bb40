#pragma once
/* Websocket frames and the key of the opening handshake (RFC 6455). Pure; any thread. Whole
 * messages, fragments and the order of frames are the owner's. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define WEBSOCKET_ACCEPT_BYTES  29  /* with a final NUL */
#define WEBSOCKET_HEAD_BYTES    14  /* the longest head of a frame */
#define WEBSOCKET_CONTROL_BYTES 125 /* payload of a control frame at most (§5.5) */

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0x0,
    WEBSOCKET_TEXT = 0x1,
    WEBSOCKET_BINARY = 0x2,
    WEBSOCKET_CLOSE = 0x8,
    WEBSOCKET_PING = 0x9,
    WEBSOCKET_PONG = 0xa,
};

/* Sec-WebSocket-Accept for a key as it came (§4.2.2); NUL-terminated. 0, ERR_INVALID (not a key),
 * ERR_UNSUPPORTED. */
int websocket_accept_key(struct slice key, char out[static WEBSOCKET_ACCEPT_BYTES])
    __attribute__((warn_unused_result));

struct websocket_frame {
    enum websocket_opcode opcode;
    bool is_final;
    bool is_masked;
    uint8_t mask[4];
    uint64_t length; /* of the payload, at most 2^63 - 1 */
};

static inline bool websocket_is_control(enum websocket_opcode opcode)
{
    return opcode >= WEBSOCKET_CLOSE;
}

/* Bytes that the head takes, ERR_AGAIN, or ERR_PROTO: reserved bits or opcodes, a length not in its
 * shortest form or above 2^63 - 1, a fragmented or long control frame. Whether the frame must be
 * masked depends on the side: the caller's. */
int websocket_head_decode(struct slice bytes, struct websocket_frame *ret)
    __attribute__((warn_unused_result));

/* Returns the bytes written. */
size_t websocket_head_encode(const struct websocket_frame *frame,
                             uint8_t out[static WEBSOCKET_HEAD_BYTES]);

/* Masks or unmasks n bytes in place; `at` is the place of p[0] in the payload, so that a payload
 * can be done in pieces. */
void websocket_mask(uint8_t *p, size_t n, const uint8_t mask[static 4], uint64_t at);
