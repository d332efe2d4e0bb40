#pragma once
/* SHA-1 of one message. For the websocket handshake, whose accept key RFC 6455 §4.2.2 defines by
 * it, and for nothing that has to be secure. Any thread. */
#include "base/slice.h"

#define SHA1_BYTES 20

/* 0, or ERR_UNSUPPORTED where the library forbids the function. */
int sha1(struct slice message, uint8_t out[static SHA1_BYTES]) __attribute__((warn_unused_result));
