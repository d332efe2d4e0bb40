#pragma once
/* The configuration file is read again, on SIGHUP and when it has changed: its rules are checked as
 * `ingress validate` checks them, and take the place of those in force only as a whole and without
 * a mistake. Flags and options stay as they were at the start. On the thread of the command line.
 */
#include "cli/cli.h"
#include "connector/connector.h"
#include "net/loop.h"

struct reload {
    struct task task;
    struct deadline settle; /* a file is often written in several steps */
    struct watch *watch;    /* of its directories; or NULL */
    struct loop *loop;
    struct cli *cli;
    const struct connectors *connectors; /* one for each plan */
    char *text;                          /* of the file as it is in force, or as it was refused */
    size_t text_bytes;
};

/* Before confinement, which leaves no right to it: begins to watch the directories of the file,
 * when the rules are its. What cannot be watched is told, and SIGHUP has to do. */
void reload_watch(struct cli *c);
/* Safe to close when it was never opened. */
void reload_open(struct reload *r, struct loop *loop, struct cli *c,
                 const struct connectors *connectors);
void reload_now(struct reload *r, const char *why);
void reload_close(struct reload *r);
