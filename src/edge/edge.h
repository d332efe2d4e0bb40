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

struct edge_conf {
    unsigned workers;
    struct addr tunnel, http, https; /* port 0 = any; size 0 = not listened to */
    /* Bound already, in the place of those addresses (one for all workers; borrowed until
     * edge_start returns); 0 = none. */
    int tunnel_udp_fd, tunnel_fd, http_fd, https_fd;
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
/* Since edge_drain. On the thread that calls it. */
bool edge_is_draining(const struct edge *e);
/* Closes what is left, stops the threads, frees. NULL is accepted. */
void edge_stop(struct edge *e);

/* Sum over all workers, appended as a Prometheus page. Any thread. */
void edge_metrics(struct edge *e, struct strb *to);
