#pragma once
/* What updateLocalConfiguration tells the edge about a tunnel that is configured here
 * (docs/protocol.md §7). Pure. */
#include "base/strb.h"
#include "connector/ingress.h"
#include "connector/warp.h"

/* Appends the JSON. `flags`: name, value, …, NULL; may be empty. Values that differ from the
 * defaults alone are told; durations in seconds. */
void local_configuration_write(struct strb *to, const struct ingress *ingress,
                               const struct warp_routing *warp, const char *const *flags);
