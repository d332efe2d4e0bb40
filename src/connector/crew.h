#pragma once
/* The threads that serve, with a loop each, shared by all connectors of a process. Whoever works
 * there (a guest) joins on the thread and is called there once more, when the loop has stopped.
 * Made, stopped and freed by one thread. */
#include "base/list.h"
#include "net/worker.h"

struct crew;

struct crew_guest {
    struct list node;
    void (*done)(struct crew_guest *);
};

int crew_start(unsigned count, struct crew **ret) __attribute__((warn_unused_result));
unsigned crew_count(const struct crew *c);
struct mailbox *crew_mailbox(struct crew *c, unsigned index);
/* On that thread. */
struct loop *crew_loop(struct crew *c, unsigned index);
void crew_join(struct crew *c, unsigned index, struct crew_guest *guest);
/* Ends the threads, each with its guests, and frees. NULL is accepted. */
void crew_stop(struct crew *c);
