#pragma once
/* What a program gives up before strangers' bytes reach it: root, capabilities, new privileges,
 * core dumps, files that are not its business (Landlock), system calls that it has no use for
 * (seccomp). In two steps, because sockets must be bound in between:
 *
 *     read what must be read; confine_start; threads, sockets; confine_bound; serve
 *
 * confine_start is called by the only thread that there is: Landlock binds the calling thread and
 * those that it starts. Best effort: what the kernel does not offer is told in one log line, and is
 * fatal under CONFINE_REQUIRED alone. Nothing can be taken back. docs/THREAT-MODEL.md says what is
 * allowed afterwards. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"

enum confine_mode { CONFINE_AUTO, CONFINE_REQUIRED, CONFINE_OFF };

#define CONFINE_PORTS_MAX  8
#define CONFINE_PATHS_MAX  64 /* what is past it is not allowed */
#define CONFINE_USER_BYTES 64

/* The caller fills what is above the line; zero is a good default for all of it. */
struct confine {
    enum confine_mode mode;
    const char *user;    /* NAME or NAME:GROUP that root becomes; NULL or "" = see user.c */
    const char *own_dir; /* written to, and its files change owner with the program; NULL = none */
    const char *read[CONFINE_PATHS_MAX]; /* files and directories beside the system's own */
    size_t read_count;
    const char *write[CONFINE_PATHS_MAX]; /* directories in which files come, change and go */
    size_t write_count;
    bool may_dial;                     /* opens sockets for as long as it runs */
    uint16_t ports[CONFINE_PORTS_MAX]; /* TCP ports that are bound before confine_bound; 0 = any */
    size_t port_count;

    /* ---- what has come of it ---- */
    char as[CONFINE_USER_BYTES];     /* whom root became; "" when nothing changed */
    char why_root[FAULT_TEXT_BYTES]; /* why it stays root though nobody asked for it */
    int landlock_abi;                /* 0 = off */
    bool has_seccomp;
    char without[160]; /* what is missing, and why */
};

/* --sandbox auto|required|off and --no-sandbox. */
int confine_mode_of(const char *sandbox, bool is_off, enum confine_mode *ret, struct fault *fault)
    __attribute__((warn_unused_result));
int confine_start(struct confine *c, struct fault *fault) __attribute__((warn_unused_result));
/* By the first thread, when every socket is bound. Logs what is on. */
int confine_bound(struct confine *c, struct fault *fault) __attribute__((warn_unused_result));
/* By each other thread that was there for binding: gives up the right to low ports. */
void confine_thread(void);

/* argv.c: overwrites the values of secret flags ("--token", "-s") in argv and of the variables of
 * the environment, so that they are not shown to whoever lists processes. To be called once they
 * were copied. Both lists end with NULL. */
void confine_hide(int argc, char **argv, const char *const *flags, const char *const *variables);
