#pragma once
/* What every worker knows of a link (the edge's side of a connection): who it belongs to, where it
 * lives, how busy it is. The worker that owns the QUIC connection makes it; the others hold counted
 * references and reach the link by mail. */
#include <stdatomic.h>

#include "base/text.h"
#include "model/balance.h"
#include "net/loop.h"

struct link {
    _Atomic unsigned refs;
    uint64_t id;      /* worker number in the upper 16 bits, a serial number below */
    uint64_t session; /* that carries it: its own, or one that stands in for many */
    unsigned worker;
    struct mailbox *mailbox; /* of that worker, counted */
    struct uuid tunnel, connector;
    uint8_t index;                   /* connIndex */
    unsigned extensions;             /* of the connector and ours; set before others see the link */
    bool is_h2;                      /* transport; otherwise QUIC */
    char label[REPLICA_LABEL_BYTES]; /* of the connector, or "" */
    uint64_t key;                    /* of the connector, for the hash policy */
    char connection[UUID_TEXT_BYTES]; /* the connection's uuid, for logs */
    _Atomic uint32_t in_flight; /* exchanges, from all workers; relaxed: a hint for the choice */
    _Atomic uint32_t lent;      /* of them: for the edge behind us, and not upgraded */
    bool is_stand_in;           /* by way of the edge before us: better than none */
    _Atomic bool is_draining;   /* unregistered: no new exchange */
    _Atomic bool is_suspect;    /* it owes us a sign of life for too long: avoided */
};

struct link *link_new(uint64_t id, unsigned worker, struct mailbox *mailbox);
struct link *link_ref(struct link *l);
void link_unref(struct link *l); /* NULL is accepted; any thread */

#define LINK_LOST_NSEC (30 * NSEC_PER_SEC) /* a tunnel without links is remembered for so long */

#define LINK_ID(worker, serial) ((uint64_t)(worker) << 48 | (serial))
#define LINK_WORKER(id)         ((unsigned)((id) >> 48))
#define LINK_SERIAL(id)         ((uint32_t)(id)) /* 1 … INT32_MAX, then again */

/* A worker's own copy of who serves which tunnel. One thread. */
struct link_table;
struct link_table *link_table_new(void);
void link_table_free(struct link_table *t); /* NULL is accepted */
/* Takes a reference of its own. ERR_EXISTS, ERR_NOMEM. */
int link_table_add(struct link_table *t, struct link *l) __attribute__((warn_unused_result));
void link_table_remove(struct link_table *t, uint64_t id, nsec now);
/* The link by id, borrowed, or NULL. */
struct link *link_table_find(struct link_table *t, uint64_t id);

/* Links to avoid because they failed this very exchange. */
#define LINK_TRIES_MAX 4
struct link_tried {
    uint64_t ids[LINK_TRIES_MAX];
    struct uuid connectors[LINK_TRIES_MAX];
    unsigned count;
};

/* The least loaded link of a tunnel that is not draining and not tried; one of worker `near` is
 * preferred unless it has clearly more to do, and among equals the one that was picked a moment
 * ago. One that stands in is taken only where there is no direct one, and one that is suspect only
 * where there is no other at all. NULL when there is none. Borrowed. */
struct link *link_table_pick(struct link_table *t, const struct uuid *tunnel, unsigned near,
                             struct rng *rng, nsec now, const struct link_tried *tried);
/* Whether its connector has another link that takes exchanges. */
bool link_table_has_sibling(const struct link_table *t, const struct link *l);
/* Whether it has another one at all. */
bool link_table_has_kin(const struct link_table *t, const struct link *l);
/* Whether its tunnel has another link that takes exchanges. */
bool link_table_has_other(const struct link_table *t, const struct link *l);
/* Whether a healthy link is there that was not tried. */
bool link_table_has_better(const struct link_table *t, const struct uuid *tunnel,
                           const struct link_tried *tried);
/* Whether the tunnel has a link, or lost its last one less than `within` ago: a restart. */
bool link_table_served(const struct link_table *t, const struct uuid *tunnel, nsec now,
                       nsec within);
