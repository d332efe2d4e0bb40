#pragma once
/* How parts of a configuration are told as JSON. Pure. */
#include "base/strb.h"
#include "codec/json.h"
#include "connector/ingress.h"
#include "connector/warp.h"

/* Every value that is made is put into its parent at once; the parent then owns it. What memory
 * lacks is missing in the end, and told by `ok`. */
struct config_json {
    bool ok;
};

void config_json_put(struct config_json *w, json_t *object, const char *key, json_t *value);
void config_json_append(struct config_json *w, json_t *list, json_t *value);
/* What is no UTF-8 cannot be told in JSON, and is "". */
json_t *config_json_text(struct slice s);
/* Whole seconds are an integer. */
json_t *config_json_seconds(int64_t ns);
/* Writes the whole and lets go of it. */
void config_json_write(struct config_json *w, struct strb *to, json_t *all);

/* The keys of origin_request.def. Of those that the reference has, `all`, or what differs from the
 * presets alone; the others only then. */
void config_json_request(struct config_json *w, json_t *o, const struct origin_request *r,
                         bool all);
/* required, teamName, audTag and environment, as far as they were written; without `access`, empty
 * ones. */
json_t *config_json_access(struct config_json *w, const struct yaml_node *access);
/* warp-routing, as far as it was written. */
json_t *config_json_warp(struct config_json *w, const struct warp_routing *warp);
