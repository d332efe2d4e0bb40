#pragma once
/* The configuration of a connector: which version of which rules is in force. It begins with the
 * local one, version -1; what the edge sends takes its place when its version is greater, and is
 * refused as a whole when it has a mistake (docs/protocol.md §12). Counted rules: who uses the old
 * ones keeps them. One thread. */
#include "connector/ingress.h"
#include "connector/warp.h"

struct configuration {
    int32_t version;
    struct ingress *ingress; /* counted */
    struct warp_routing warp;
    const char *max_flows; /* --max-active-flows as it was given, which wins over the edge; or NULL;
                              borrowed */
    bool is_local_only;    /* the edge may not change it */
};

/* `ingress` gains a reference. */
void configuration_init(struct configuration *c, struct ingress *ingress,
                        const struct warp_routing *warp);
void configuration_done(struct configuration *c); /* safe on a zeroed one */
/* The local one, read again: as what there was at the beginning. `ingress` gains a reference. */
void configuration_replace(struct configuration *c, struct ingress *ingress,
                           const struct warp_routing *warp);
/* What the edge sent. True when it is in force now; else everything is as it was: fault->code is 0
 * when the version is not newer, or says why it is refused. Reads the files that the rules name. */
bool configuration_apply(struct configuration *c, int32_t version, struct slice json,
                         struct fault *fault);
