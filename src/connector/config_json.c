#include "connector/config_json.h"

#include "base/clock.h"
#include "base/err.h"

void config_json_put(struct config_json *w, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) < 0)
        w->ok = false;
}

void config_json_append(struct config_json *w, json_t *list, json_t *value)
{
    if (json_array_append_new(list, value) < 0)
        w->ok = false;
}

json_t *config_json_text(struct slice s)
{
    json_t *v = json_stringn(s.n > 0 ? (const char *)s.p : "", s.n);
    return v != NULL ? v : json_string("");
}

json_t *config_json_seconds(int64_t ns)
{
    if (ns % (int64_t)NSEC_PER_SEC == 0)
        return json_integer(ns / (int64_t)NSEC_PER_SEC);
    return json_real((double)ns / (double)NSEC_PER_SEC);
}

void config_json_write(struct config_json *w, struct strb *to, json_t *all)
{
    if (w->ok)
        json_write(to, all);
    else if (to->err == 0)
        to->err = ERR_NOMEM;
    json_decref(all);
}

/* ---- originRequest ---- */

enum kind { TIME, BOOL, INT, UINT, TEXT };

static const struct key {
    const char *name;
    enum kind kind;
    size_t at;
    bool is_ours;
} KEYS[] = {
#define KEY(name, kind, field, ours) { name, kind, offsetof(struct origin_request, field), ours },
#include "connector/origin_request.def"
#undef KEY
};

static bool is_same(const struct key *k, const void *a, const void *b)
{
    switch (k->kind) {
    case TIME:
    case INT:
    case UINT:
        return *(const int64_t *)a == *(const int64_t *)b;
    case BOOL:
        return *(const bool *)a == *(const bool *)b;
    case TEXT:
        break;
    }
    return slice_eq(*(const struct slice *)a, *(const struct slice *)b);
}

static json_t *value_of(const struct key *k, const void *at)
{
    switch (k->kind) {
    case TIME:
        return config_json_seconds(*(const int64_t *)at);
    case INT:
    case UINT:
        return json_integer(*(const int64_t *)at);
    case BOOL:
        return json_boolean(*(const bool *)at);
    case TEXT:
        break;
    }
    return config_json_text(*(const struct slice *)at);
}

void config_json_request(struct config_json *w, json_t *o, const struct origin_request *r, bool all)
{
    struct origin_request preset;
    origin_request_defaults(&preset);
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++) {
        const struct key *k = &KEYS[i];
        const void *at = (const char *)r + k->at, *usual = (const char *)&preset + k->at;
        if ((all && !k->is_ours) || !is_same(k, at, usual))
            config_json_put(w, o, k->name, value_of(k, at));
    }
}

json_t *config_json_access(struct config_json *w, const struct yaml_node *access)
{
    const struct yaml_node *required = yaml_get(access, "required"),
                           *team = yaml_get(access, "teamName"),
                           *audience = yaml_get(access, "audTag"),
                           *environment = yaml_get(access, "environment");
    bool is_required = false, has_list = audience != NULL && !yaml_is_null(audience);
    json_t *a = json_object(), *tags = has_list ? json_array() : json_null();
    if (required != NULL)
        (void)!yaml_bool(required, &is_required);
    if (is_required)
        config_json_put(w, a, "required", json_true());
    config_json_put(w, a, "teamName",
                    config_json_text(team != NULL ? team->text : (struct slice){ 0 }));
    for (const struct yaml_node *n = has_list ? audience->first : NULL; n != NULL; n = n->next)
        config_json_append(w, tags, config_json_text(n->text));
    config_json_put(w, a, "audTag", tags);
    if (environment != NULL && environment->text.n > 0)
        config_json_put(w, a, "environment", config_json_text(environment->text));
    return a;
}

/* ---- warp-routing ---- */

json_t *config_json_warp(struct config_json *w, const struct warp_routing *warp)
{
    json_t *o = json_object();
    if (warp->has_connect_timeout)
        config_json_put(w, o, "connectTimeout", config_json_seconds(warp->connect_timeout));
    if (warp->max_flows > 0)
        config_json_put(w, o, "maxActiveFlows", json_integer((json_int_t)warp->max_flows));
    if (warp->has_tcp_keepalive)
        config_json_put(w, o, "tcpKeepAlive", config_json_seconds(warp->tcp_keepalive));
    return o;
}
