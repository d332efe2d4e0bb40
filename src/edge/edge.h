#pragma once
/* The edge: N workers, each with its own visitors' listeners, QUIC endpoint and tables. Made, fed
 * and stopped by one thread (the program's); everything between threads goes by mail. Two edges can
 * live in one process. */
#include "base/fault.h"
#include "base/metric.h"
#include "edge/plane.h"
#include "http/access_log.h"
#include "model/snapshot.h"
#include "net/addr.h"

struct edge;

#define EDGE_WORKERS_MAX 256
/* What each worker listens on. */
enum edge_worker_socket { EDGE_TUNNEL_UDP, EDGE_TUNNEL, EDGE_HTTP, EDGE_HTTPS };
#define EDGE_WORKER_SOCKETS 4

/* What an edge has from the one before it, which lives on for a while (docs/upgrades.md). The
 * program's, who closes the descriptors behind edge_stop. */
struct edge_inheritance {
    unsigned workers;                               /* as many had it */
    int fds[EDGE_WORKERS_MAX][EDGE_WORKER_SOCKETS]; /* -1 = none; copied */
    unsigned relay_count;                           /* workers whose QUIC connections go on there */
    int relays[EDGE_WORKERS_MAX];                   /* net/udp_relay.h, to each of them */
    int streams[EDGE_WORKERS_MAX]; /* likewise: over which it stands in; taken over */
    uint8_t generation;            /* of this edge: one more than the last one's */
    _Atomic bool is_gone;          /* the one before has ended */
};

struct edge_conf {
    unsigned workers;
    struct addr tunnel, http, https; /* port 0 = any; size 0 = not listened to */
    /* Bound already, in the place of those addresses (one for all workers; borrowed until
     * edge_start returns); 0 = none. */
    int tunnel_udp_fd, tunnel_fd, http_fd, https_fd;
    struct edge_inheritance *from; /* stands above them; or NULL */
    bool is_paused;                /* neither reads nor accepts before edge_begin */
    bool is_successor; /* visitors may be there before the connectors are back from the last edge */
    struct slice chain_pem, key_pem; /* certificate of the tunnel, and of visitors who ask for a
                                        hostname that is not ours; copied */
    struct slice ca_pem, ca_key_pem; /* signs the certificates of visitors' hostnames; copied */
    const char *const *domains;      /* every hostname below them is ours; NULL-terminated; outlives
                                        the edge */
    uint8_t quic_secret[32];
    struct plane plane;
    size_t visitors_max; /* of one worker; 0 = limits.h */
    size_t head_max;     /* bytes of a request's head; 0 = limits.h */
    /* Of visitors (http/h1_server.h); 0 = limits.h. */
    nsec visitor_handshake, visitor_head, visitor_idle, visitor_stall;
    uint64_t visitor_rate; /* least bytes a second of a body that waits; 0 = any byte counts */
    nsec
        response; /* from what a connector was given last to the head of its answer; 0 = no limit */
    void (*opened)(void);     /* on each worker's thread, once its sockets are bound; or NULL */
    size_t metrics_hostnames; /* that are counted by name */
    struct access_log_conf access_log; /* its writer not yet started; borrowed */
    nsec drain;                        /* how long edge_drain lets exchanges go on */
    nsec hold; /* how long a request waits for a link of a tunnel that just lost its last; 0 = not
                  at all */
};

struct edge_addrs {
    struct addr tunnel, http, https;
};

/* Binds everything and starts to serve, from an empty snapshot. The fault names the address that
 * could not be had. */
int edge_start(const struct edge_conf *conf, struct edge **ret, struct edge_addrs *ret_addrs,
               struct fault *fault) __attribute__((warn_unused_result));
/* Every worker goes over to this snapshot; a reference of its own is taken for each. Any thread. */
void edge_publish(struct edge *e, struct snapshot *s);
/* Closes the connection behind a link. Any thread. */
void edge_close_link(struct edge *e, uint64_t link);
/* Tells the connector behind p->link its configuration; conf.plane.configured says what came of it,
 * whatever it is, unless the edge stops first. Takes p over. Any thread. */
void edge_configure(struct edge *e, struct config_push *p);
/* Stops accepting visitors and tells kept-alive ones to go; exchanges under way go on. `drained`
 * (mail of the caller, posted to `reply` once) tells when the last is through or conf.drain is
 * over. */
void edge_drain(struct edge *e, struct mailbox *reply, struct mail *drained);
/* Opens the way to the edge before us, behind which edge_stand_in may be called; nothing where
 * there is none. */
void edge_meet(struct edge *e);
/* Begins to serve what was opened paused. */
void edge_begin(struct edge *e);
unsigned edge_workers(const struct edge *e);
/* Borrowed, for the next edge; -1 when this worker has none. */
int edge_socket_of(const struct edge *e, unsigned worker, enum edge_worker_socket which);
/* Another edge serves from now on. When this returns no worker accepts or reads any more; packets
 * of our own QUIC connections come by relays[worker] (-1: this worker's socket was not handed over,
 * and it goes on reading it), requests for connectors that are only here by streams[worker]; both
 * are taken over. Then as edge_drain, but connectors are sent away to the last of their
 * connections, and the time is `grace`. */
void edge_hand_over(struct edge *e, const int *relays, const int *streams, nsec grace,
                    struct mailbox *reply, struct mail *drained);
/* The edge before us stands in for this tunnel's connectors, or no more. */
void edge_stand_in(struct edge *e, const struct uuid *tunnel, bool is_there);
/* A connector of this tunnel has come over to the edge behind us. */
void edge_came_over(struct edge *e, const struct uuid *tunnel);
/* The drain that is under way ends within `grace`. */
void edge_hurry(struct edge *e, nsec grace);
/* Since edge_drain or edge_hand_over. On the thread that calls it. */
bool edge_is_draining(const struct edge *e);
/* Closes what is left, stops the threads, frees. NULL is accepted. */
void edge_stop(struct edge *e);

/* Sum over all workers, appended as a Prometheus page. Any thread. */
void edge_metrics(struct edge *e, struct strb *to);
