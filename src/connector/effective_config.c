#include "connector/effective_config.h"

#include "connector/config_json.h"

/* The reference's form shows how many there are and no more. */
static json_t *empty_ones(struct config_json *w, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        config_json_append(w, list, json_object());
    return list;
}

static json_t *request_of(struct config_json *w, const struct origin_request *r)
{
    json_t *o = json_object();
    bool has_rules = r->ip_rules != NULL && !yaml_is_null(r->ip_rules);
    size_t count = 0;
    config_json_request(w, o, r, true);
    for (const struct yaml_node *n = has_rules ? r->ip_rules->first : NULL; n != NULL; n = n->next)
        count++;
    config_json_put(w, o, "ipRules", has_rules ? empty_ones(w, count) : json_null());
    config_json_put(w, o, "access", config_json_access(w, r->access));
    return o;
}

/* A value as a file or an edge wrote it. Keys of the rules' own copy have a NUL behind them. */
static json_t *value_of(struct config_json *w, const struct yaml_node *n)
{
    uint64_t number;
    bool truth;
    if (n->kind == YAML_SCALAR) {
        if (yaml_is_null(n))
            return json_null();
        if (yaml_bool(n, &truth) == 0)
            return json_boolean(truth);
        if (n->is_plain && slice_u64(n->text, INT64_MAX, &number) == 0)
            return json_integer((json_int_t)number);
        return config_json_text(n->text);
    }
    json_t *all = n->kind == YAML_MAP ? json_object() : json_array();
    for (const struct yaml_node *below = n->first; below != NULL; below = below->next) {
        if (n->kind == YAML_LIST)
            config_json_append(w, all, value_of(w, below));
        else
            config_json_put(w, all, (const char *)below->key.p, value_of(w, below));
    }
    return all;
}

static json_t *rule_of(struct config_json *w, const struct rule *r)
{
    json_t *o = json_object();
    config_json_put(w, o, "hostname", config_json_text(r->hostname));
    config_json_put(w, o, "path", r->path.n > 0 ? config_json_text(r->path) : json_null());
    config_json_put(w, o, "service", config_json_text(r->service.text));
    config_json_put(w, o, "Handlers", r->access != NULL ? empty_ones(w, 1) : json_null());
    config_json_put(w, o, "originRequest", request_of(w, &r->request));
    for (const struct yaml_node *n = r->written != NULL ? r->written->first : NULL; n != NULL;
         n = n->next)
        config_json_put(w, o, (const char *)n->key.p, value_of(w, n));
    return o;
}

void effective_config_write(struct strb *to, int32_t version, const struct ingress *ingress,
                            const struct warp_routing *warp)
{
    struct config_json w = { .ok = true };
    json_t *all = json_object(), *config = json_object(), *rules = json_array();
    for (size_t i = 0; i < ingress_count(ingress); i++)
        config_json_append(&w, rules, rule_of(&w, ingress_rule(ingress, i)));
    config_json_put(&w, config, "ingress", rules);
    config_json_put(&w, config, "warp-routing", config_json_warp(&w, warp));
    config_json_put(&w, config, "originRequest", request_of(&w, ingress_global(ingress)));
    config_json_put(&w, all, "version", json_integer(version));
    config_json_put(&w, all, "config", config);
    config_json_write(&w, to, all);
}
