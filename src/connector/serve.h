#pragma once
/* What a worker of the connector does with the edge's streams: HTTP and websocket requests go
 * through the ingress rules to an origin. One for each worker, shared by its connections. Loop
 * thread. */
#include "base/metric.h"
#include "base/text.h"
#include "connector/ingress.h"
#include "tunnel/server.h"

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
    const char *const *tags; /* "Name", "value", …, NULL: sent as Cf-Warp-Tag-Name; borrowed */
    char connector[UUID_TEXT_BYTES];
    struct tunnel_server_group streams;
};

/* `ingress` gains a reference; `metrics` is the caller's. ERR_NOMEM. */
int serve_init(struct serve *s, struct loop *loop, struct ingress *ingress,
               struct metric_set *metrics, const char *const *tags, const struct uuid *connector)
    __attribute__((warn_unused_result));
/* Aborts what is open. Turn the loop once before freeing it. */
void serve_done(struct serve *s);
/* Takes over one stream that the edge opened. */
void serve_stream(struct serve *s, struct stream *stream);
struct metric_set *serve_metrics_new(void);
