#pragma once
/* The connector of one tunnel: its connections to the edge, and what serves their streams, on the
 * threads of a crew. Made and stopped by one thread, on whose loop the news arrive. Several share
 * one crew:
 *
 *     crew_start; for each: connector_new, connector_start; …
 *     for each: connector_close; crew_stop; a turn of the loop, for the last news;
 *     for each: connector_free
 */
#include "connector/connection.h"
#include "connector/crew.h"
#include "connector/edge_memory.h"

struct connector;

#define CONNECTORS_MAX 32 /* tunnels that one process runs */

/* Those of a process. */
struct connectors {
    struct connector *list[CONNECTORS_MAX];
    size_t count;
};

struct connector_conf {
    struct crew *crew;    /* borrowed; outlives the connector's start, see above */
    unsigned connections; /* 1 … TUNNEL_CONNECTIONS_MAX; cut to the number of addresses */
    struct connection_identity identity; /* its texts are borrowed while the connector lives */
    enum protocol protocol;
    nsec quic_retry;                      /* as in connection.h */
    struct quic_creds *quic;              /* counted */
    struct tls_creds *tls;                /* counted */
    const struct origin_proxies *proxies; /* on the way to the edge, or NULL; borrowed */
    struct tls_creds *proxy_tls;          /* counted; or NULL when none of them is over TLS */
    struct edge_list edges;
    struct edge_memory *memory;      /* of addresses that are good; borrowed, or NULL */
    struct addr bind;                /* size 0 = any */
    struct ingress *ingress;         /* counted */
    const char *local_configuration; /* JSON for the edge; borrowed while the connector lives */
    struct warp_routing warp;
    const char *max_flows;   /* the flag that stands above what the edge says; or NULL; borrowed */
    bool is_local_only;      /* the edge may not change rules and warp-routing */
    const char *const *tags; /* field name, value, …, NULL; borrowed while the connector lives */
    uint64_t streams_max;    /* that an edge may have open on one connection; 0 = limits.h */
    nsec stream_head;        /* time for the head of one; 0 = limits.h */
    size_t head_max;         /* bytes of a response's head; 0 = limits.h */
    unsigned retries;
    nsec grace;
    struct access_log_conf access_log; /* its writer not yet started; borrowed */
};

int connector_new(struct loop *loop, const struct connector_conf *conf, struct task *owner,
                  struct connector **ret) __attribute__((warn_unused_result));
/* Starts to connect: index 0 first, the others when it has registered. After a failure it is closed
 * and freed like any other. */
int connector_start(struct connector *c) __attribute__((warn_unused_result));
/* Connections that are registered and not draining. */
unsigned connector_ready(const struct connector *c);
/* Unregisters and lets exchanges end; the owner is woken until connector_is_over. */
void connector_drain(struct connector *c);
bool connector_is_over(const struct connector *c);
/* Stops at once. NULL is accepted. */
void connector_close(struct connector *c);
/* When the crew has stopped. NULL is accepted. */
void connector_free(struct connector *c);
/* The id of its tunnel, as text. */
const char *connector_tunnel(const struct connector *c);
/* The page of all of them, which have one crew. Waits for each worker's next turn. */
void connectors_metrics(const struct connectors *all, struct strb *to);
unsigned connectors_ready(const struct connectors *all);
/* The connections that serve, as members of a JSON array. */
void connector_diagnose(const struct connector *c, struct strb *to);
/* Whether the rules in force are the edge's to change, so that those of this machine are not asked.
 */
bool connector_is_managed(const struct connector *c);
/* The local rules were read again: every worker has them with its next turn, at once and as a
 * whole; what began under the old ones ends under them. `ingress` gains a reference; `told`, JSON
 * for the edge from malloc or NULL, is taken over. ERR_NOMEM: nothing has changed. */
int connector_configure(struct connector *c, struct ingress *ingress,
                        const struct warp_routing *warp, char *told)
    __attribute__((warn_unused_result));
/* They were to be read again, and are none: for the metrics. */
void connector_count_refused(struct connector *c);
/* The configuration in force, as JSON. */
void connector_configuration(const struct connector *c, struct strb *to);
