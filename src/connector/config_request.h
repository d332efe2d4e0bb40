#pragma once
/* Configurations that the edge sends over HTTP/2 (docs/protocol.md §10.3): one request each, for
 * five seconds at most. They go the way of those of edge_rpc.h. Loop thread. */
#include "connector/edge_rpc.h"
#include "mux/h2.h"

/* Takes over a stream whose head was read. */
void config_request_open(struct serve *s, struct h2_stream *stream);
/* The supervisor's answer has come. Frees it. */
void config_request_configured(struct serve *s, struct config_ask *ask);
/* Resets those that are open. */
void config_requests_abort(struct serve *s);

/* {"version":…,"config":{…}}: an ask with the configuration as JSON. ERR_PARSE, ERR_NOMEM. Pure. */
int config_request_read(struct slice body, struct config_ask **ret)
    __attribute__((warn_unused_result));
