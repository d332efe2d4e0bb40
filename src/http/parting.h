#pragma once
/* The end of what would never end by itself, when its program stops: a websocket is told so in its
 * own words (close code 1001, RFC 6455 §7.4.1), an event stream ends. Whatever else is still under
 * way is cut, because what broke off must not look complete.
 *
 * The left side asks (exchange_part); the right side, which sees the bytes of both directions
 * before they leave, does it: parting_before at the start of each of its runs, parting_after at
 * their ends. To put a frame of our own between those of others it must be known where they begin:
 * websockets are followed from their first byte, by their heads alone. Loop thread. */
#include <stdbool.h>
#include <stdint.h>

#include "codec/websocket.h"

struct exchange;

enum parting {
    PARTING_NONE,
    PARTING_ORIGIN, /* the origin is told, who tells the visitor by answering */
    PARTING_BOTH,   /* the visitor is told too */
};

/* Frames of one direction. */
struct frames {
    uint64_t at;    /* bytes of the body that were looked at */
    uint64_t left;  /* payload of the frame there that is still to come */
    uint64_t begun; /* where that frame began */
    uint8_t head[WEBSOCKET_HEAD_BYTES];
    uint8_t have;   /* bytes of a head that is not whole */
    bool is_lost;   /* these are no frames */
    bool has_close; /* a close frame was among them: the direction is over */
};

/* A response whose end in order says no more than that the stream is over: of events, without a
 * length. */
bool parting_is_event_stream(const struct exchange *ex);
/* Right side: before it moves anything. */
void parting_before(struct exchange *ex);
/* Right side: behind its moves, also when the response has its end by them. True when it has its
 * end now: it must put no more. */
bool parting_after(struct exchange *ex);
/* Right side whose own frames are all whole: the end of the response, told if that is asked for. */
void parting_end_down(struct exchange *ex);
