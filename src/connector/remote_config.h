#pragma once
/* A tunnel's configuration as an edge sends it (docs/protocol.md §12): JSON with rules of its own.
 * Durations are whole seconds, keys are found without regard to case, null is absent, unknown keys
 * are nothing, and no rules are one that answers 503. Pure. */
#include "connector/ingress.h"
#include "connector/warp.h"

/* The rules are not loaded yet (ingress_load_tls). The fault has the reference's words. */
int remote_config_parse(struct slice json, struct ingress **ret, struct warp_routing *ret_warp,
                        struct fault *fault) __attribute__((warn_unused_result));
