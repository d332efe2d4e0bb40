#include "connector/remote_config.h"

#include <stdio.h>

#include "base/err.h"
#include "conf/json_tree.h"
#include "connector/config_schema.h"

#define ARENA_BYTES_MAX (32 * 1024 * 1024) /* the tree of a mebibyte of the densest JSON */
#define PATH_BYTES_MAX  128                /* of the schema's names, which are short */
#define KEYS_MAX        64                 /* of one map of the schema */

struct reading {
    struct arena *arena;
    struct fault *fault;
};

/* Where a value stands: the reference's type and its names for the way there. */
struct spot {
    const char *type;
    char path[PATH_BYTES_MAX];
};

/* ---- refusals ---- */

static const char *kind_of(const struct yaml_node *n)
{
    if (n->kind == YAML_MAP)
        return "object";
    if (n->kind == YAML_LIST)
        return "array";
    if (!n->is_plain)
        return "string";
    return n->text.p[0] == 't' || n->text.p[0] == 'f' ? "bool" : "number";
}

static bool is_number(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && n->is_plain && kind_of(n)[0] == 'n';
}

static int refuse(const struct reading *r, const struct yaml_node *n, const struct spot *at,
                  bool shows_value, const char *wanted)
{
    struct slice value = shows_value && is_number(n) ? n->text : SLICE("");
    (void)fault_set(r->fault, ERR_PARSE,
                    "json: cannot unmarshal %s%s%.*s into Go struct field %s.%s of type %s",
                    kind_of(n), value.n > 0 ? " " : "", SLICE_FMT(value), at->type, at->path,
                    wanted);
    (void)fault_at(r->fault, "", n->line, n->column);
    return ERR_PARSE;
}

static int too_large(const struct reading *r)
{
    return fault_set(r->fault, ERR_NOMEM, "the configuration takes too much memory");
}

/* ---- single values ---- */

/* The magnitude of a whole number in decimal. ERR_PARSE, ERR_RANGE. */
static int whole(struct slice text, bool *ret_negative, uint64_t *ret)
{
    *ret_negative = slice_starts(text, SLICE("-"));
    return slice_u64(slice_sub(text, *ret_negative ? 1 : 0, SIZE_MAX),
                     *ret_negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX, ret);
}

/* Whole seconds become a duration as files have it. The reference multiplies without looking at the
 * result, which may wrap around. */
static int take_time(const struct reading *r, struct yaml_node *n)
{
    uint64_t seconds = 0;
    bool is_negative = false, is_text = n->kind == YAML_SCALAR && !n->is_plain;
    int e =
        n->kind == YAML_SCALAR && n->is_plain ? whole(n->text, &is_negative, &seconds) : ERR_PARSE;
    if (e < 0) {
        struct slice shown = n->kind == YAML_SCALAR ? n->text : SLICE("…");
        (void)fault_set(r->fault, ERR_PARSE, "strconv.ParseInt: parsing \"%s%.*s%s\": %s",
                        is_text ? "\\\"" : "", SLICE_FMT(shown), is_text ? "\\\"" : "",
                        e == ERR_RANGE ? "value out of range" : "invalid syntax");
        (void)fault_at(r->fault, "", n->line, n->column);
        return ERR_PARSE;
    }
    int64_t ns = (int64_t)((is_negative ? 0 - seconds : seconds) * NSEC_PER_SEC);
    n->text = slice_str(arena_fmt(r->arena, "%lldns", (long long)ns));
    return n->text.p != NULL ? 0 : too_large(r);
}

static int take_int(const struct reading *r, const struct yaml_node *n, const struct spot *at,
                    const char *type)
{
    uint64_t value;
    bool is_negative = false;
    int e = is_number(n) ? whole(n->text, &is_negative, &value) : ERR_PARSE;
    if (e == 0 && is_negative && type[0] == 'u')
        e = ERR_RANGE;
    return e == 0 ? 0 : refuse(r, n, at, true, type);
}

static int take_text(const struct reading *r, const struct yaml_node *n, const struct spot *at)
{
    return n->kind == YAML_SCALAR && !n->is_plain ? 0 : refuse(r, n, at, false, "string");
}

/* ---- lists and maps ---- */

static int take_map(const struct reading *r, struct yaml_node *n, const struct config_map *m,
                    const char *path);

static int take_list(const struct reading *r, const struct yaml_node *n, const struct spot *at,
                     bool is_int)
{
    int e = 0;
    if (n->kind != YAML_LIST)
        return refuse(r, n, at, false, is_int ? "[]int" : "[]string");
    for (const struct yaml_node *item = n->first; item != NULL && e == 0; item = item->next)
        if (!yaml_is_null(item))
            e = is_int ? take_int(r, item, at, "int") : take_text(r, item, at);
    return e;
}

static int take_maps(const struct reading *r, struct yaml_node *n, const struct config_map *m,
                     const struct spot *at)
{
    char type[64];
    int e = 0;
    (void)snprintf(type, sizeof type, "%sconfig.%s", n->kind == YAML_LIST ? "" : "[]",
                   m->reference);
    if (n->kind != YAML_LIST)
        return refuse(r, n, at, false, type);
    for (struct yaml_node *item = n->first; item != NULL && e == 0; item = item->next) {
        if (item->kind == YAML_MAP)
            e = take_map(r, item, m, at->path);
        else if (yaml_is_null(item))
            *item = (struct yaml_node){ .kind = YAML_MAP, .line = item->line, .next = item->next };
        else
            e = refuse(r, item, at, false, type);
    }
    return e;
}

static int take_value(const struct reading *r, struct yaml_node *n, const struct config_key *key,
                      const struct spot *at)
{
    char type[64];
    switch (key->type) {
    case CONFIG_TEXT:
        return take_text(r, n, at);
    case CONFIG_BOOL:
        return kind_of(n)[0] == 'b' ? 0 : refuse(r, n, at, false, "bool");
    case CONFIG_INT:
        return take_int(r, n, at, "int");
    case CONFIG_UINT:
        return take_int(r, n, at, "uint");
    case CONFIG_UINT64:
        return take_int(r, n, at, "uint64");
    case CONFIG_TIME:
        return take_time(r, n);
    case CONFIG_TEXTS:
    case CONFIG_INTS:
        return take_list(r, n, at, key->type == CONFIG_INTS);
    case CONFIG_MAP:
        (void)snprintf(type, sizeof type, "config.%s", key->map->reference);
        return n->kind == YAML_MAP ? take_map(r, n, key->map, at->path)
                                   : refuse(r, n, at, false, type);
    case CONFIG_MAPS:
        return take_maps(r, n, key->map, at);
    case CONFIG_ANY:
        break;
    }
    return 0;
}

/* Checks a map's values, and gives its keys the names by which the readers of files know them.
 * What these readers do not know they pass over. Of a key that comes again the last one counts. */
static int take_map(const struct reading *r, struct yaml_node *map, const struct config_map *m,
                    const char *path)
{
    struct yaml_node *seen[KEYS_MAX] = { NULL };
    for (struct yaml_node **link = &map->first; *link != NULL;) {
        struct yaml_node *n = *link;
        struct config_key key;
        struct spot at = { .type = m->reference };
        if (!config_find(m, n->key, true, &key)) {
            *link = n->next;
            continue;
        }
        n->key = slice_str(key.name);
        (void)snprintf(at.path, sizeof at.path, "%s%s%s", path, path[0] != 0 ? "." : "", key.name);
        int e = yaml_is_null(n) ? 0 : take_value(r, n, &key, &at);
        if (e < 0)
            return e;
        size_t i = 0;
        while (config_name(m, i) != key.name && i + 1 < KEYS_MAX)
            i++;
        if (seen[i] != NULL) {
            struct yaml_node *after = seen[i]->next;
            *link = n->next;
            after = after == n ? n->next : after;
            *seen[i] = *n;
            seen[i]->next = after;
            continue;
        }
        seen[i] = n;
        link = &n->next;
    }
    return 0;
}

/* ---- the whole ---- */

static int build(struct yaml_node *root, struct ingress **ret, struct warp_routing *ret_warp,
                 struct fault *f)
{
    const struct yaml_node *rules = yaml_get(root, "ingress");
    warp_routing_defaults(ret_warp);
    int e = warp_routing_from_yaml(root, "", ret_warp, f);
    if (e < 0)
        return e;
    return rules != NULL && rules->first != NULL ? ingress_from_yaml(root, "", ret, f)
                                                 : ingress_without_rules(root, "", ret, f);
}

int remote_config_parse(struct slice json, struct ingress **ret, struct warp_routing *ret_warp,
                        struct fault *fault)
{
    struct arena arena;
    struct yaml_node *root = NULL;
    const struct reading r = { .arena = &arena, .fault = fault };
    arena_init(&arena, ARENA_BYTES_MAX);
    int e = json_tree_parse(json, &arena, &root, fault);
    if (e == 0 && root->kind != YAML_MAP && !yaml_is_null(root)) {
        e = fault_set(fault, ERR_PARSE,
                      "json: cannot unmarshal %s into Go value of type ingress.%s", kind_of(root),
                      CONFIG_DOCUMENT.reference);
        (void)fault_at(fault, "", root->line, root->column);
    }
    if (e == 0 && root->kind == YAML_MAP)
        e = take_map(&r, root, &CONFIG_DOCUMENT, "");
    if (e == 0)
        e = build(root, ret, ret_warp, fault);
    arena_done(&arena);
    return e;
}
