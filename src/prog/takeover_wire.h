#pragma once
/* What two edges of one data directory say to each other when the second takes over from the first:
 * messages of one fixed form over a SEQPACKET unix socket, each with at most one descriptor
 * (docs/upgrades.md). Both run on one machine, and each says its version first. */
#include <stdint.h>

#include "base/text.h"

#define TAKEOVER_VERSION    1
#define TAKEOVER_SOCKET     "upgrade.sock" /* in the data directory */
#define TAKEOVER_PATH_BYTES 108

enum takeover_kind {
    TAKEOVER_HELLO,   /* from the second: its process, how many workers it has */
    TAKEOVER_REFUSED, /* value: enum takeover_refusal, worker: the process that is in the way */
    TAKEOVER_WELCOME, /* from the first: its process, how many workers, generation */
    TAKEOVER_LISTENS, /* a listening socket: worker, value: which (TAKEOVER_LOCAL: the API's) */
    TAKEOVER_RELAY,   /* where packets for this worker's connections go */
    TAKEOVER_STREAM,  /* over which this worker stands in for connectors (edge/stand_in.c) */
    TAKEOVER_LOCK,    /* the lock of the data directory */
    TAKEOVER_NEXT,    /* the socket by which the next edge will ask */
    TAKEOVER_END,     /* of these */
    TAKEOVER_READY,   /* from the second: value: the sockets that it takes, a bit for each */
    TAKEOVER_GO,      /* from the first: it reads and accepts no more */
    TAKEOVER_CHANGED, /* from either: routes or configurations are others */
    /* About one tunnel. From the first: it stands in for its connectors, from now on, no more. From
     * the second: one of them has come over. */
    TAKEOVER_SERVES,
    TAKEOVER_SERVES_NOT,
    TAKEOVER_KINDS,
};

enum takeover_refusal { TAKEOVER_OTHER_VERSION, TAKEOVER_STILL_ENDING, TAKEOVER_UNDER_WAY };

#define TAKEOVER_LOCAL 4     /* behind enum edge_worker_socket */
#define TAKEOVER_GIVEN 0x100 /* of LISTENS: whoever started the program had bound it */

struct takeover_message {
    uint32_t magic;
    uint16_t version, kind;
    uint32_t process, worker, value, generation;
    struct uuid tunnel;
};

/* `fd` -1: none. ERR_AGAIN, ERR_CLOSED. */
int takeover_send(int socket, const struct takeover_message *m, int fd)
    __attribute__((warn_unused_result));
/* *ret_fd: -1, or the caller's. ERR_AGAIN (also when the socket's time is over), ERR_EOF,
 * ERR_PROTO. A message of another version is a message. */
int takeover_receive(int socket, struct takeover_message *ret, int *ret_fd)
    __attribute__((warn_unused_result));

/* What the socket did not take yet. */
struct takeover_queue {
    struct takeover_message *items;
    size_t at, count, room;
};
/* ERR_NOMEM; ERR_LIMIT: more than there are tunnels. */
int takeover_queue_put(struct takeover_queue *q, enum takeover_kind kind, const struct uuid *tunnel)
    __attribute__((warn_unused_result));
/* 0 when it is empty, ERR_AGAIN, ERR_CLOSED. */
int takeover_queue_send(struct takeover_queue *q, int socket) __attribute__((warn_unused_result));
void takeover_queue_free(struct takeover_queue *q);
