#pragma once
/* Which keys a configuration may have, and of what type: what the reader of remote configurations
 * and `ingress validate` know of them. A key is added in one place: origin_request.def,
 * RULE_EXTRA_KEYS (rule_extras.c) or the tables of config_schema.c. Pure. */
#include "base/slice.h"

enum config_type {
    CONFIG_TEXT,
    CONFIG_BOOL,
    CONFIG_INT,
    CONFIG_UINT,
    CONFIG_UINT64,
    CONFIG_TIME,
    CONFIG_TEXTS, /* a list of them */
    CONFIG_INTS,
    CONFIG_MAP,
    CONFIG_MAPS,
    CONFIG_ANY, /* its own reader knows */
};

struct config_map;

struct config_key {
    const char *name;
    enum config_type type;
    const struct config_map *map; /* of CONFIG_MAP and CONFIG_MAPS */
};

struct config_map {
    const char *reference; /* the reference's name for the type: its errors have it */
    const struct config_key *keys;
    size_t count;
    const char *const *more; /* names of type CONFIG_ANY, and NULL; or NULL */
};

extern const struct config_map CONFIG_DOCUMENT, CONFIG_RULE, CONFIG_ORIGIN_REQUEST, CONFIG_ACCESS,
    CONFIG_IP_RULE, CONFIG_WARP_ROUTING;

/* False when the map has no such key. */
bool config_find(const struct config_map *m, struct slice name, bool is_nocase,
                 struct config_key *ret);
/* All of its names, one by one: NULL past the last. */
const char *config_name(const struct config_map *m, size_t index);
