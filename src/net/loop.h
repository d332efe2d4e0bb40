#pragma once
/* One loop for each thread: it polls, lets events mark state, and then runs the tasks that were
 * woken (docs/design.md §5: events mark, run acts). Nothing here is shared between threads but its
 * mailbox.
 *
 * Order of a turn: poll → events mark and wake → tasks run until none is left → late tasks run
 * (they flush what the others queued: one write pass a turn) → objects given to loop_reap are
 * freed. A turn runs about RUN_STEP tasks at most, and tasks that keep waking each other hold late
 * ones back for a few rounds only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/chunk.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/rand.h"

struct loop;
struct uv_loop_s;

/* ---- tasks ---- */

/* Something that can be woken. Embed it; run() looks at the whole state of its object and goes as
 * far as it can. */
struct task {
    struct list node; /* in the loop's run queue */
    void (*run)(struct task *);
    struct loop *loop;
    bool late; /* runs after all ordinary tasks of the turn */
};

void task_init(struct task *t, struct loop *loop, void (*run)(struct task *));
/* A task that runs at the turn's end: for writing out what others queued. */
void task_init_late(struct task *t, struct loop *loop, void (*run)(struct task *));
/* Queues it once, however often it is woken. NULL is accepted. Loop thread only. */
void task_wake(struct task *t);
/* Takes it out of the queue. After this it may be freed at once. */
void task_done(struct task *t);

/* ---- deadlines ---- */

/* An absolute point in time that wakes a task. Embed it; zeroed is "not set". Sub-millisecond. */
struct deadline {
    nsec at;
    size_t index; /* in the heap, from 1; 0 = not set */
    struct task *owner;
    bool passed; /* set when it fired; deadline_take reads and clears it */
};

void deadline_set(struct deadline *d, struct task *owner, nsec at);
void deadline_clear(struct deadline *d);
static inline bool deadline_is_set(const struct deadline *d)
{
    return d->index != 0;
}
/* True once after each firing. */
static inline bool deadline_take(struct deadline *d)
{
    bool passed = d->passed;
    d->passed = false;
    return passed;
}

/* ---- watching a descriptor ---- */

enum {
    WATCH_READ = 1,
    WATCH_WRITE = 2,
    WATCH_ERROR = 4, /* the descriptor has an error to tell: always watched once anything was */
};

/* Watches a non-blocking descriptor (level triggered). When it is ready, `ready` gains the bits and
 * the owner is woken; the owner clears a bit after EAGAIN by watch_wait. A bit that stays set is
 * not polled again, so an owner that does not read costs nothing. */
struct watch;

/* Takes over fd on success. 0 or an error. */
int watch_open(struct loop *loop, int fd, struct task *owner, struct watch **ret)
    __attribute__((warn_unused_result));
/* The descriptor said EAGAIN for these bits: clear them and poll for them. */
void watch_wait(struct watch *w, unsigned bits);
/* No longer interested in these bits. */
void watch_ignore(struct watch *w, unsigned bits);
unsigned watch_ready(const struct watch *w);
int watch_fd(const struct watch *w);
void watch_set_owner(struct watch *w, struct task *owner);
/* Stops, closes the descriptor, frees (deferred). NULL is accepted. */
void watch_close(struct watch *w);

/* ---- the loop ---- */

/* Makes a loop on the calling thread, with a chunk pool of its own. */
int loop_new(struct loop **ret) __attribute__((warn_unused_result));
/* Runs until loop_stop. */
void loop_run(struct loop *loop);
/* One turn; waits for events at most `wait_ms` (0 = does not wait, -1 = for ever). For tests. */
void loop_turn(struct loop *loop, int wait_ms);
/* Ends loop_run after this turn. Loop thread; others ask by mail. */
void loop_stop(struct loop *loop);
/* Closes everything that is left and frees. Every watch must have been closed by its owner. NULL is
 * accepted. */
void loop_free(struct loop *loop);

/* Monotonic time of this turn. */
nsec loop_now(const struct loop *loop);
/* Samples the time anew, for long turns and for ngtcp2. */
nsec loop_now_fresh(struct loop *loop);
struct chunk_pool *loop_chunks(struct loop *loop);
struct rng *loop_rng(struct loop *loop);
/* Working memory that all of a kind share: what is in it lasts until the task that runs returns.
 * Every caller of a kind names the same n. NULL when memory is short, which the first caller alone
 * can meet. Freed with the loop. */
enum scratch { SCRATCH_IN, SCRATCH_OUT };
#define SCRATCH_COUNT 2
uint8_t *loop_scratch(struct loop *loop, enum scratch kind, size_t n);
struct uv_loop_s *loop_uv(struct loop *loop); /* for net/ only */

/* Frees later, when no task of this turn can touch it: calls reap(ptr) at the end of the turn.
 * Embed the node. */
struct reaper {
    struct list node;
    void (*reap)(struct reaper *);
};
void loop_reap(struct loop *loop, struct reaper *r, void (*reap)(struct reaper *));

/* A transport that its owner has let go and that still delivers what was written. The loop ends it
 * at the latest when it goes itself. Embed it, with the node initialised; list_remove(&node) when
 * it is through. */
struct lingerer {
    struct list node;
    void (*end)(struct lingerer *); /* the loop is going: frees through loop_reap */
};
void loop_linger(struct loop *loop, struct lingerer *lingerer, void (*end)(struct lingerer *));

/* ---- between threads ---- */

/* A message for another loop. Embed it; the sender gives it away, `deliver` runs on the receiver's
 * thread and owns it from then on. `drop` runs instead when the receiver is gone or its loop is
 * being freed (any thread). */
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *);
    void (*drop)(struct mail *);
};

/* A loop's mailbox, counted: it may outlive its loop, and then drops what arrives. Lock-free, one
 * wake-up for a burst. Messages of one sender arrive in order. */
struct mailbox;
struct mailbox *
loop_mailbox(struct loop *loop); /* borrowed from the loop; use mailbox_ref to keep it */
struct mailbox *mailbox_ref(struct mailbox *box);
void mailbox_unref(struct mailbox *box); /* NULL is accepted */
/* Any thread. */
void mailbox_post(struct mailbox *box, struct mail *m);
