#include "connector/local_config.h"

#include "connector/config_json.h"

/* ---- originRequest ---- */

/* In ascending order, as the reference keeps them. */
static json_t *ports_of(struct config_json *w, const struct yaml_node *ports)
{
    if (ports == NULL || yaml_is_null(ports))
        return json_null();
    json_t *list = json_array();
    for (const struct yaml_node *p = ports->first; p != NULL; p = p->next) {
        uint64_t port;
        size_t at = 0;
        if (slice_u64(p->text, 65535, &port) < 0)
            continue;
        while (at < json_array_size(list) &&
               (uint64_t)json_integer_value(json_array_get(list, at)) < port)
            at++;
        if (json_array_insert_new(list, at, json_integer((json_int_t)port)) < 0)
            w->ok = false;
    }
    return list;
}

static void put_ip_rules(struct config_json *w, json_t *o, const struct yaml_node *rules)
{
    if (rules == NULL || rules->first == NULL)
        return;
    json_t *list = json_array();
    for (const struct yaml_node *n = rules->first; n != NULL; n = n->next) {
        const struct yaml_node *prefix = yaml_get(n, "prefix"), *allow = yaml_get(n, "allow");
        json_t *rule = json_object();
        bool is_allowed = false;
        if (allow != NULL)
            (void)!yaml_bool(allow, &is_allowed);
        config_json_put(w, rule, "prefix",
                        config_json_text(prefix != NULL ? prefix->text : (struct slice){ 0 }));
        config_json_put(w, rule, "ports", ports_of(w, yaml_get(n, "ports")));
        config_json_put(w, rule, "allow", json_boolean(is_allowed));
        config_json_append(w, list, rule);
    }
    config_json_put(w, o, "ipRules", list);
}

static json_t *request_of(struct config_json *w, const struct origin_request *r)
{
    json_t *o = json_object();
    config_json_request(w, o, r, false);
    put_ip_rules(w, o, r->ip_rules);
    if (r->access != NULL && !yaml_is_null(r->access))
        config_json_put(w, o, "access", config_json_access(w, r->access));
    return o;
}

static void put_text(struct config_json *w, json_t *o, const char *key, struct slice text)
{
    if (text.n > 0)
        config_json_put(w, o, key, config_json_text(text));
}

/* ---- the whole ---- */

static json_t *rules_of(struct config_json *w, const struct ingress *ingress)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ingress_count(ingress); i++) {
        const struct rule *r = ingress_rule(ingress, i);
        json_t *rule = json_object();
        put_text(w, rule, "hostname", r->hostname);
        put_text(w, rule, "path", r->path);
        config_json_put(w, rule, "service", config_json_text(r->service.text));
        config_json_put(w, rule, "originRequest", request_of(w, &r->request));
        config_json_append(w, list, rule);
    }
    return list;
}

void local_configuration_write(struct strb *to, const struct ingress *ingress,
                               const struct warp_routing *warp, const char *const *flags)
{
    struct config_json w = { .ok = true };
    json_t *all = json_object();
    if (flags[0] != NULL) {
        json_t *set = json_object();
        for (const char *const *flag = flags; flag[0] != NULL; flag += 2)
            config_json_put(&w, set, flag[0], config_json_text(slice_str(flag[1])));
        config_json_put(&w, all, "__configuration_flags", set);
    }
    config_json_put(&w, all, "ingress", rules_of(&w, ingress));
    config_json_put(&w, all, "warp-routing", config_json_warp(&w, warp));
    config_json_write(&w, to, all);
}
