#pragma once
/* What a worker of the connector does with the edge's streams: HTTP and websocket requests go
 * through the ingress rules to an origin. One for each worker, shared by its connections. Loop
 * thread. */
#include "base/metric.h"
#include "base/text.h"
#include "connector/ingress.h"
#include "connector/warp.h"
#include "http/access_log.h"
#include "tunnel/h2_server.h"
#include "tunnel/server.h"

struct access_keys;
struct config_ask;
struct origin_h2_pool;
struct origin_pool;
struct origin_proxies;

enum serve_metric {
#define METRIC(kind, field, ...) SERVE_##field,
#include "connector/metrics.def"
#undef METRIC
    SERVE_METRICS_COUNT
};

#define SERVE_CODE_MIN 100
#define SERVE_CODES    500 /* 100 … 599 */

struct serve {
    struct loop *loop;
    struct ingress *ingress; /* counted; replaced as a whole */
    struct origin_pool *origins;
    struct access_keys *access_keys;
    struct origin_h2_pool *origins_h2;
    struct metric_set *metrics;
    _Atomic uint64_t codes[SERVE_CODES]; /* responses by status; written by this worker alone */
    struct access_log_conf access_log;
    struct line_ring *access_ring; /* or NULL */
    const char *const *tags;       /* field name, value, …, NULL: sent to origins; borrowed */
    struct warp_routing warp;
    struct flow_limit *flows;             /* shared with the other workers; borrowed */
    const struct origin_proxies *proxies; /* or NULL; borrowed */
    size_t head_max;                      /* bytes of a response's head; 0 = limits.h */
    char connector[UUID_TEXT_BYTES], tunnel[UUID_TEXT_BYTES];
    struct tunnel_server_group streams;
    struct h2_server_group h2_streams;
    struct list rpcs;       /* RPC streams of the edge that are open */
    struct list requests;   /* configurations over HTTP/2 that are open */
    uint64_t request_count; /* of both, that were ever opened */
    unsigned asks;          /* configurations whose answer is to come */
    void (*configure)(void *ctx, struct config_ask *ask);
    void *configure_ctx;
};

struct serve_conf {
    struct ingress *ingress; /* gains a reference */
    struct metric_set *metrics;
    const char *const *tags;
    const struct uuid *connector, *tunnel; /* tunnel: for the access log, or NULL */
    const struct warp_routing *warp;
    struct flow_limit *flows;
    const struct origin_proxies *proxies; /* or NULL */
    struct access_log_conf access_log;
    struct line_ring *access_ring; /* or NULL */
    nsec stream_head;              /* time for a stream's head; 0 = limits.h */
    /* Takes over what the edge asks for; edge_rpc_configured brings the answer, on this thread. */
    void (*configure)(void *ctx, struct config_ask *ask);
    void *configure_ctx;
    size_t head_max; /* bytes of a response's head; 0 = limits.h */
};

/* ERR_NOMEM. */
int serve_init(struct serve *s, struct loop *loop, const struct serve_conf *conf)
    __attribute__((warn_unused_result));
/* Aborts what is open. Turn the loop once before freeing it. */
void serve_done(struct serve *s);
/* Other rules: for exchanges that begin from now on. `ingress` gains a reference. */
void serve_configure(struct serve *s, struct ingress *ingress, const struct warp_routing *warp);
/* The time of a connection is over: ends in order what can there (http/parting.h). Returns how many
 * exchanges were asked. */
size_t serve_part(struct serve *s, unsigned connection, enum parting parting);
/* Takes over one stream that the edge opened; `extensions`: what this edge can. */
void serve_stream(struct serve *s, struct stream *stream, unsigned extensions);
/* Likewise over HTTP/2, with its head. */
void serve_h2_stream(struct serve *s, struct h2_stream *stream, const struct h2_head *head,
                     const struct h2_hop *hop);
/* Something of an exchange failed that is told in the protocol inside it, so that the exchange does
 * not fail: counted and logged like one that did. */
void serve_failed_within(struct serve *s, const struct exchange *ex, enum failure failure,
                         const char *why);
struct metric_set *serve_metrics_new(void);
/* A flow of bytes has its connection now. */
static inline void serve_connected(struct serve *s, const struct exchange *ex)
{
    metric_observe(s->metrics, SERVE_connect_time, loop_now(s->loop) - ex->at.received);
}
