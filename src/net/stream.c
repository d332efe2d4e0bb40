#include "net/stream.h"

#define PUMP_STEPS_MAX  16 /* then others get their turn */
#define PUMP_STEP_BYTES (64 * 1024)

int pump(struct stream *src, struct buf *held, struct stream *dst)
{
    for (unsigned step = 0; step < PUMP_STEPS_MAX; step++) {
        int r = buf_is_empty(held) ? stream_read(src, held, PUMP_STEP_BYTES) : 0;
        if (r == ERR_EOF)
            stream_finish(dst);
        if (r < 0)
            return r;
        r = stream_write(dst, held);
        if (r < 0)
            return r;
    }
    return PUMP_YIELD;
}
