#pragma once
/* What a worker of the connector does with the edge's streams: HTTP and websocket requests go
 * through the ingress rules to an origin, RPC streams are answered. One for each worker, shared by
 * its connections. Loop thread. */
#include "base/metric.h"
#include "base/text.h"
#include "connector/ingress.h"
#include "http/exchange.h"
#include "net/stream.h"

struct origin_pool;

enum serve_metric {
#define METRIC(kind, field, ...) SERVE_##field,
#include "connector/metrics.def"
#undef METRIC
    SERVE_METRICS_COUNT
};

struct serve {
    struct loop *loop;
    struct ingress *ingress; /* counted; replaced as a whole */
    struct origin_pool *origins;
    struct metric_set *metrics;
    const char *const *tags; /* "Name", "value", …, NULL: sent as Cf-Warp-Tag-Name */
    char connector[UUID_TEXT_BYTES];
    size_t streams;          /* open now */
    struct list open;        /* tunnel streams, for aborting */
    struct task *idle_owner; /* woken when `streams` becomes 0; or NULL */
};

/* `ingress` gains a reference. ERR_NOMEM. */
int serve_init(struct serve *s, struct loop *loop, struct ingress *ingress,
               const struct uuid *connector) __attribute__((warn_unused_result));
/* Exchanges that begin from now on follow the new rules; those under way end on the old ones. */
void serve_set_ingress(struct serve *s, struct ingress *ingress);
/* Aborts what is open. Turn the loop once before freeing it. */
void serve_done(struct serve *s);

/* Takes over one stream that the edge opened. */
void serve_stream(struct serve *s, struct stream *stream);

/* Gives an exchange its origin by the ingress rules: the router of the tunnel's server codec. */
void serve_route(struct serve *s, struct exchange *ex);
