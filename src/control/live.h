#pragma once
/* Who is connected now: the connections of connectors, as the control plane sees them. In memory
 * alone; the control thread's. A link is named by the number that the edge gave it. */
#include "base/list.h"
#include "base/map.h"
#include "base/text.h"
#include "model/balance.h"
#include "model/link_gauge.h"
#include "model/tunnel.h"

struct live_conn {
    struct list in_tunnel;
    struct map_node by_link;
    uint64_t link;
    struct uuid tunnel, connector, connection;
    uint8_t index;
    char version[64], arch[64], origin_ip[64];
    char features[16][64];
    size_t feature_count;
    char label[REPLICA_LABEL_BYTES]; /* among the features; or "" */
    struct link_gauge *gauge;        /* counted; or NULL */
    uint64_t replica;                /* by live_replica */
    const char *transport;
    int64_t opened_us;
    bool is_draining; /* unregistered: "pending reconnect" to the API */
};

struct live;
struct live *live_new(void);
void live_free(struct live *l); /* NULL is accepted */

/* Takes a connection whose secret was found good. A connection of the same connector with the same
 * index that is still here is a duplicate, ERR_EXISTS: unless it is draining, when it is replaced.
 * Copies *c, with a reference of the gauge. ERR_LIMIT past TUNNEL_LINKS_MAX of one tunnel,
 * ERR_NOMEM. */
int live_add(struct live *l, const struct live_conn *c) __attribute__((warn_unused_result));
/* The duplicate that live_add would complain of, or NULL. */
const struct live_conn *live_duplicate(const struct live *l, const struct live_conn *c);
void live_drain(struct live *l, uint64_t link);
/* The connection behind a link, or NULL. */
const struct live_conn *live_find(const struct live *l, uint64_t link);
/* Gone. *ret_tunnel gets whose it was; false when it was not known. */
bool live_remove(struct live *l, uint64_t link, struct uuid *ret_tunnel);

/* How the hash policy is to know the connector: by its label, so that one that is restarted gets
 * its visitors back, unless another connector that is here goes by that; else by its id. */
uint64_t live_replica(const struct live *l, const struct live_conn *c);

/* Connections of a tunnel, draining ones too. */
size_t live_count(const struct live *l, const struct uuid *tunnel);
/* The first and the next one of a tunnel, oldest first; NULL at the end. */
const struct live_conn *live_first(const struct live *l, const struct uuid *tunnel);
const struct live_conn *live_next(const struct live *l, const struct live_conn *c);
/* When the tunnel's last connection went (since this process started), or 0 while it has one or
 * never had. */
int64_t live_away_since(const struct live *l, const struct uuid *tunnel);
bool live_was_active(const struct live *l, const struct uuid *tunnel);
/* The rules that a connector says it has of its own; the last word counts. Copied. Past
 * LOCAL_REPORTS_BYTES_MAX of all tunnels the oldest are forgotten. ERR_NOTFOUND when the tunnel has
 * no connection, ERR_NOMEM. */
int live_report(struct live *l, const struct uuid *tunnel, struct slice json)
    __attribute__((warn_unused_result));
/* That text, or empty. Valid until the table is touched. */
struct slice live_reported(const struct live *l, const struct uuid *tunnel);
/* The tunnel is no more: nothing of it is kept beyond its last connection. */
void live_forget(struct live *l, const struct uuid *tunnel);
/* Every tunnel that has a connection now. */
void live_tunnels(const struct live *l, void (*each)(void *ctx, const struct uuid *tunnel),
                  void *ctx);
