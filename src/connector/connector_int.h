#pragma once
/* What connector.c and connector_metrics.c share. */
#include <semaphore.h>

#include "connector/configuration.h"
#include "connector/connector.h"
#include "connector/seen.h"

/* A connector's part on one thread of the crew. */
struct connector_worker {
    struct connector *connector;
    struct crew_guest guest;
    struct loop *loop;
    int result; /* of its beginning */
    struct serve serve;
    struct metric_set *metrics;
    struct line_ring *access_ring; /* or NULL */
    struct connection *connections[TUNNEL_CONNECTIONS_MAX];
};

struct connector {
    struct loop *loop;
    struct task *owner;
    struct connector_conf conf;
    char tunnel[UUID_TEXT_BYTES];
    unsigned worker_count, count;
    struct connector_worker *workers;                     /* one for each thread of the crew */
    enum connection_state states[TUNNEL_CONNECTIONS_MAX]; /* as their last news said */
    struct edge_set edges;
    struct flow_limit flows;
    struct origin_proxies *proxies;
    struct seen seen;
    struct configuration configuration;
    bool is_explained; /* that nothing works */
    uint64_t reloads, reloads_refused;
    bool are_others_started, is_draining, is_stopped;
    bool is_managed; /* said the edge */
};

/* Asks the workers, who hold the connections, for their figures, and waits: they never wait for us.
 */
void connector_take_stats(struct connector *c);
