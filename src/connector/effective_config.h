#pragma once
/* The configuration in force with every value, as /config shows it (docs/protocol.md §15). Pure. */
#include "base/strb.h"
#include "connector/ingress.h"
#include "connector/warp.h"

/* Appends the JSON; durations in seconds. `version` is -1 for what the connector began with. */
void effective_config_write(struct strb *to, int32_t version, const struct ingress *ingress,
                            const struct warp_routing *warp);
