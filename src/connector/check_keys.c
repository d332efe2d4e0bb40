/* Keys that nobody knows: misspelt, or in the wrong place. */
#include "connector/ingress_check_int.h"

#include "conf/spelling.h"

/* Where else a key may stand. */
static const struct {
    const struct config_map *map;
    const char *place;
} PLACES[] = {
    { &CONFIG_ORIGIN_REQUEST, "originRequest" }, { &CONFIG_RULE, "a rule of ingress" },
    { &CONFIG_ACCESS, "originRequest.access" },  { &CONFIG_IP_RULE, "originRequest.ipRules" },
    { &CONFIG_WARP_ROUTING, "warp-routing" },    { &CONFIG_DOCUMENT, "the top of the file" },
};

struct guess {
    const char *name;
    unsigned distance;
};

static void consider(struct guess *g, struct slice key, const char *name)
{
    unsigned d = edit_distance(key, slice_str(name));
    /* Of a short word little may be wrong, or it is another one. */
    if (d < g->distance && 2 * d < key.n) {
        g->name = name;
        g->distance = d;
    }
}

static const char *hint_for_key(struct check *c, const struct config_map *m, struct slice key,
                                bool is_top)
{
    struct guess g = { .distance = SPELLING_FAR };
    struct config_key found;
    const char *name;
    for (size_t i = 0; (name = config_name(m, i)) != NULL; i++)
        consider(&g, key, name);
    for (size_t i = 0; is_top && (name = c->conf->option(c->conf->ctx, i)) != NULL; i++)
        consider(&g, key, name);
    if (is_top)
        consider(&g, key, "tunnel");
    if (g.name != NULL)
        return arena_fmt(c->arena, "did you mean %s?", g.name);
    for (size_t i = 0; i < sizeof PLACES / sizeof PLACES[0]; i++)
        if (PLACES[i].map != m && config_find(PLACES[i].map, key, true, &found))
            return arena_fmt(c->arena, "%s belongs under %s", found.name, PLACES[i].place);
    return NULL;
}

static bool is_option(struct check *c, struct slice key)
{
    const char *name;
    for (size_t i = 0; (name = c->conf->option(c->conf->ctx, i)) != NULL; i++)
        if (slice_eq(key, slice_str(name)))
            return true;
    return slice_eq(key, SLICE("tunnel")) || slice_eq(key, SLICE("tunnels"));
}

static void unknown(struct check *c, const struct config_map *m, const struct yaml_node *n,
                    bool is_top)
{
    const char *text = arena_fmt(c->arena,
                                 is_top ? "adit has no key or option %.*s: it is ignored"
                                        : "there is no key %.*s here: it is ignored",
                                 SLICE_FMT(n->key));
    /* At the top stand options of other programs too: the reference says nothing of those. */
    c->report->has_unknown_keys = c->report->has_unknown_keys || !is_top;
    check_add(c, (struct ingress_finding){ .is_warning = true,
                                           .is_unknown_key = !is_top,
                                           .line = n->key_line,
                                           .column = n->key_column,
                                           .text = text,
                                           .hint = hint_for_key(c, m, n->key, is_top) });
}

static void walk(struct check *c, const struct config_map *m, const struct yaml_node *map,
                 bool is_top)
{
    struct config_key key;
    if (map == NULL || map->kind != YAML_MAP)
        return;
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if (!config_find(m, n->key, false, &key)) {
            if (!is_top || !is_option(c, n->key))
                unknown(c, m, n, is_top);
            continue;
        }
        if (key.map == NULL)
            continue;
        if (key.type == CONFIG_MAP)
            walk(c, key.map, n, false);
        for (const struct yaml_node *item = n->first;
             item != NULL && key.type == CONFIG_MAPS && n->kind == YAML_LIST; item = item->next)
            walk(c, key.map, item, false);
    }
}

void check_keys(struct check *c, const struct yaml_node *root)
{
    walk(c, &CONFIG_DOCUMENT, root, true);
}
