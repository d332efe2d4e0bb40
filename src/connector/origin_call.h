#pragma once
/* The right side of an exchange at the connector: an HTTP/1.1 origin. Loop thread. */
#include "connector/origin.h"
#include "connector/serve.h"

struct origin_call_opts {
    struct origin_target target;
    bool no_chunked;
    const struct rule *rule; /* its extras change the response, and may name several services */
    struct slice host;       /* of the request as it came */
    void *keep;              /* what the target's views belong to: released when the call ends */
    void (*release)(void *keep);
};

/* Attaches it; on failure the exchange has failed and `keep` is released. */
void origin_call_attach(struct serve *s, struct exchange *ex, const struct origin_call_opts *opts);
