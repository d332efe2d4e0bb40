#pragma once
/* The HTTP API, compatible with Cloudflare's v4 (docs/protocol.md §15): a pure, synchronous
 * function from a request to a response over the store and the live table. The control thread's.
 * What follows from a change (new routes to publish, links to close) is left in the struct for the
 * caller to carry out. */
#include "base/arena.h"
#include "base/limits.h"
#include "base/strb.h"
#include "codec/json.h"
#include "control/live.h"
#include "control/rollout.h"
#include "model/snapshot.h"
#include "model/tunnel_token.h"
#include "store/store.h"

#define API_DOMAINS_MAX 32
#define API_CLOSES_MAX  TUNNEL_LINKS_MAX /* every link of one tunnel */

struct api {
    struct store *store;
    struct live *live;
    struct rollout *rollout; /* of remote configurations */
    char account[ACCOUNT_ID_BYTES];
    const char *domains[API_DOMAINS_MAX]; /* the first is where quick tunnels live */
    char zones[API_DOMAINS_MAX][33];      /* ids, as the domains */
    size_t domain_count;
    struct slice edges[TOKEN_EDGES_MAX]; /* for tokens */
    size_t edge_count;
    uint8_t pin[32];
    size_t quick_max;
    int64_t quick_away_us; /* a quick tunnel goes when its connector has been away for this long */
    uint16_t http_port, https_port; /* of visitors, for the URLs of quick tunnels; 0 = off */
    const char *location;           /* colo_name */
    int64_t started_us;             /* of this process */
    int64_t alone_us; /* since when no other edge of this data directory has connectors; 0 = ever */
    int64_t created_us; /* of the account */
    /* Left by a request: */
    bool routes_changed;
    bool configurations_changed;     /* somebody is to be told (rollout_next) */
    uint64_t closes[API_CLOSES_MAX]; /* links to close */
    size_t close_count;
};

struct api_request {
    struct slice method, path, query;  /* path still escaped, from "/" on */
    struct slice authorization;        /* empty = none */
    struct slice auth_email, auth_key; /* X-Auth-…, likewise */
    struct slice body;
    int64_t now_us;
    nsec now; /* of the loop */
    struct arena *arena;
};

struct api_response {
    unsigned status;
    const char *content_type;
    struct strb body;
    bool no_retry; /* x-should-retry: false */
};

/* Makes the account and the zones when the store is new; the admin token is the given one, and no
 * earlier one. Refuses a store whose secrets were sealed with another key. */
int api_init(struct api *api, struct slice admin_token, struct fault *fault)
    __attribute__((warn_unused_result));
/* Every path under /client/v4, and /tunnel. *ret->body is initialised here; the caller frees it. */
void api_handle(struct api *api, const struct api_request *q, struct api_response *ret);
/* The routes as a snapshot, or NULL when memory is short. */
struct snapshot *api_snapshot(struct api *api);
/* Removes quick tunnels whose connector has been away for quick_away_us. */
void api_sweep(struct api *api, int64_t now_us);
