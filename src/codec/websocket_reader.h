#pragma once
/* The server's reading half of a websocket whose binary messages are a stream of bytes (RFC 6455
 * §5): frames go in as they come, in any pieces, and the payloads of binary messages come out
 * unmasked, whatever messages and fragments they came in. Text messages are dropped, pongs too.
 * Nothing is held but a frame's head and the payload of a control frame. Pure; one thread. */
#include "base/buf.h"
#include "codec/websocket.h"

struct websocket_reader {
    struct websocket_frame frame; /* whose payload is being read */
    uint64_t at;                  /* bytes of it that were taken */
    bool in_payload, in_message;  /* within a frame; within a message of several frames */
    bool drops;                   /* the message is text */
    uint8_t control[WEBSOCKET_CONTROL_BYTES];
};

enum websocket_news {
    WEBSOCKET_HUNGRY, /* all that came is taken */
    WEBSOCKET_FULL,   /* `to` has no room for what comes next */
    WEBSOCKET_PINGED, /* control holds frame.length bytes to be sent back; go on with another call
                       */
    WEBSOCKET_OVER,   /* a close frame came: nothing behind it counts */
};

void websocket_reader_init(struct websocket_reader *r);
/* Takes what it can off the front of *from and puts payload behind *to. An enum websocket_news, or
 * ERR_PROTO (also a frame that is not masked, a continuation of nothing, a message within another),
 * ERR_NOMEM. */
int websocket_read(struct websocket_reader *r, struct buf *from, struct buf *to)
    __attribute__((warn_unused_result));
/* Within a frame or a message: an end here is none that the sender meant. */
bool websocket_is_within(const struct websocket_reader *r);
