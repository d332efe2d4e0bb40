#pragma once
/* A pair of streams whose ends live on two loops: how an exchange reaches a link of another worker.
 * Data, credit and the end travel as mail; chunks cross by reference; at most CROSS_WINDOW_BYTES
 * are under way in each direction. An end that is released after its finish still delivers what was
 * written, and the other's writes then fail with ERR_RESET. Each end is used on its own loop's
 * thread only; either may be released first; a loop that goes away aborts the other end
 * (ERR_CLOSED). */
#include "net/stream.h"

/* Runs on the far loop's thread; owns `far_end` from then on. `ctx` is what was given to
 * cross_open. When the far loop is gone it is never called and the near end fails with ERR_CLOSED.
 */
typedef void cross_accept(void *ctx, struct loop *far_loop, struct stream *far_end);

/* Makes the near end at once and mails the far end to `far`, the mailbox of `far_loop` (which is
 * only handed on). The near end can be written to straight away. `dropped` runs instead of `accept`
 * when the far loop is gone; then the near end fails with ERR_CLOSED. */
int cross_open(struct loop *near, struct task *owner, struct mailbox *far, struct loop *far_loop,
               cross_accept *accept, void (*dropped)(void *ctx), void *ctx, struct stream **ret)
    __attribute__((warn_unused_result));
