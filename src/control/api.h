#pragma once
/* The HTTP API, compatible with Cloudflare's v4 (docs/protocol.md §15): a pure, synchronous
 * function from a request to a response over the store and the live table. The control thread's.
 * What follows from a change (new routes to publish, links to close) is left in the struct for the
 * caller to carry out. */
#include "base/arena.h"
#include "base/strb.h"
#include "codec/json.h"
#include "control/live.h"
#include "model/snapshot.h"
#include "model/tunnel_token.h"
#include "store/store.h"

#define API_DOMAINS_MAX 32
#define API_CLOSES_MAX  256

struct api {
    struct store *store;
    struct live *live;
    char account[ACCOUNT_ID_BYTES];
    const char *domains[API_DOMAINS_MAX]; /* the first is where quick tunnels live */
    char zones[API_DOMAINS_MAX][33];      /* ids, as the domains */
    size_t domain_count;
    struct slice edges[TOKEN_EDGES_MAX]; /* for tokens */
    size_t edge_count;
    uint8_t pin[32];
    size_t quick_max;
    const char *location; /* colo_name */
    int64_t started_us;   /* of this process */
    /* Left by a request: */
    bool routes_changed;
    uint64_t closes[API_CLOSES_MAX]; /* links to close */
    size_t close_count;
};

struct api_request {
    struct slice method, path, query; /* path still escaped, from "/" on */
    struct slice authorization;       /* empty = none */
    struct slice body;
    int64_t now_us;
    struct arena *arena;
};

struct api_response {
    unsigned status;
    const char *content_type;
    struct strb body;
    bool no_retry; /* x-should-retry: false */
};

/* Makes the account, the zones and the admin token's hash when the store is new. */
int api_init(struct api *api, struct slice admin_token, struct fault *fault)
    __attribute__((warn_unused_result));
/* Every path under /client/v4, and /tunnel. *ret->body is initialised here; the caller frees it. */
void api_handle(struct api *api, const struct api_request *q, struct api_response *ret);
/* The routes as a snapshot, or NULL when memory is short. */
struct snapshot *api_snapshot(struct api *api);
/* Removes quick tunnels whose connector has been away for QUICK_TUNNEL_AWAY_MS. */
void api_sweep(struct api *api, int64_t now_us);
