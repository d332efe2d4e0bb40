#include "connector/local_config.h"

#include "base/clock.h"
#include "base/err.h"
#include "codec/json.h"

/* Every value that is made is put into its parent at once; the parent then owns it. What memory
 * lacks is missing in the end, and told by `ok`. */
struct writer {
    bool ok;
};

static void put(struct writer *w, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) < 0)
        w->ok = false;
}

static void append(struct writer *w, json_t *list, json_t *value)
{
    if (json_array_append_new(list, value) < 0)
        w->ok = false;
}

/* Text from a file may be any bytes: what is no UTF-8 cannot be told in JSON. */
static json_t *text_of(struct slice s)
{
    json_t *v = json_stringn(s.n > 0 ? (const char *)s.p : "", s.n);
    return v != NULL ? v : json_string("");
}

static json_t *seconds(int64_t ns)
{
    if (ns % (int64_t)NSEC_PER_SEC == 0)
        return json_integer(ns / (int64_t)NSEC_PER_SEC);
    return json_real((double)ns / (double)NSEC_PER_SEC);
}

/* ---- originRequest ---- */

static void put_time(struct writer *w, json_t *o, const char *key, int64_t value, int64_t preset)
{
    if (value != preset)
        put(w, o, key, seconds(value));
}

static void put_bool(struct writer *w, json_t *o, const char *key, bool value)
{
    if (value)
        put(w, o, key, json_true());
}

static void put_int(struct writer *w, json_t *o, const char *key, int64_t value, int64_t preset)
{
    if (value != preset)
        put(w, o, key, json_integer(value));
}

static void put_text(struct writer *w, json_t *o, const char *key, struct slice value,
                     struct slice preset)
{
    if (!slice_eq(value, preset))
        put(w, o, key, text_of(value));
}

/* In ascending order, as the reference keeps them. */
static json_t *ports_of(struct writer *w, const struct yaml_node *ports)
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

static void put_ip_rules(struct writer *w, json_t *o, const struct yaml_node *rules)
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
        put(w, rule, "prefix", text_of(prefix != NULL ? prefix->text : (struct slice){ 0 }));
        put(w, rule, "ports", ports_of(w, yaml_get(n, "ports")));
        put(w, rule, "allow", json_boolean(is_allowed));
        append(w, list, rule);
    }
    put(w, o, "ipRules", list);
}

static void put_access(struct writer *w, json_t *o, const struct yaml_node *access)
{
    const struct yaml_node *required = yaml_get(access, "required"),
                           *team = yaml_get(access, "teamName"),
                           *audience = yaml_get(access, "audTag"),
                           *environment = yaml_get(access, "environment");
    bool is_required = false;
    if (access == NULL || yaml_is_null(access))
        return;
    json_t *a = json_object(), *tags = json_array();
    if (required != NULL)
        (void)!yaml_bool(required, &is_required);
    put_bool(w, a, "required", is_required);
    put(w, a, "teamName", text_of(team != NULL ? team->text : (struct slice){ 0 }));
    for (const struct yaml_node *n = audience != NULL ? audience->first : NULL; n != NULL;
         n = n->next)
        append(w, tags, text_of(n->text));
    put(w, a, "audTag", tags);
    if (environment != NULL && environment->text.n > 0)
        put(w, a, "environment", text_of(environment->text));
    put(w, o, "access", a);
}

static json_t *request_of(struct writer *w, const struct origin_request *r)
{
    struct origin_request preset;
    json_t *o = json_object();
    origin_request_defaults(&preset);
    put_time(w, o, "connectTimeout", r->connect_timeout, preset.connect_timeout);
    put_time(w, o, "tlsTimeout", r->tls_timeout, preset.tls_timeout);
    put_time(w, o, "tcpKeepAlive", r->tcp_keepalive, preset.tcp_keepalive);
    put_bool(w, o, "noHappyEyeballs", r->no_happy_eyeballs);
    put_int(w, o, "keepAliveConnections", r->keepalive_connections, preset.keepalive_connections);
    put_time(w, o, "keepAliveTimeout", r->keepalive_timeout, preset.keepalive_timeout);
    put_text(w, o, "httpHostHeader", r->host_header, preset.host_header);
    put_text(w, o, "originServerName", r->server_name, preset.server_name);
    put_bool(w, o, "matchSNItoHost", r->match_sni);
    put_text(w, o, "caPool", r->ca_pool, preset.ca_pool);
    put_bool(w, o, "noTLSVerify", r->no_tls_verify);
    put_bool(w, o, "disableChunkedEncoding", r->no_chunked);
    put_bool(w, o, "bastionMode", r->bastion);
    put_text(w, o, "proxyAddress", r->proxy_address, preset.proxy_address);
    put_int(w, o, "proxyPort", r->proxy_port, preset.proxy_port);
    put_text(w, o, "proxyType", r->proxy_type, preset.proxy_type);
    put_ip_rules(w, o, r->ip_rules);
    put_bool(w, o, "http2Origin", r->http2);
    put_access(w, o, r->access);
    return o;
}

/* ---- the whole ---- */

static json_t *rules_of(struct writer *w, const struct ingress *ingress)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ingress_count(ingress); i++) {
        const struct rule *r = ingress_rule(ingress, i);
        json_t *rule = json_object();
        put_text(w, rule, "hostname", r->hostname, (struct slice){ 0 });
        put_text(w, rule, "path", r->path, (struct slice){ 0 });
        put(w, rule, "service", text_of(r->service.text));
        put(w, rule, "originRequest", request_of(w, &r->request));
        append(w, list, rule);
    }
    return list;
}

static json_t *warp_of(struct writer *w, const struct warp_routing *warp)
{
    json_t *o = json_object();
    if (warp->has_connect_timeout)
        put(w, o, "connectTimeout", seconds(warp->connect_timeout));
    put_int(w, o, "maxActiveFlows", (int64_t)warp->max_flows, 0);
    if (warp->has_tcp_keepalive)
        put(w, o, "tcpKeepAlive", seconds(warp->tcp_keepalive));
    return o;
}

void local_configuration_write(struct strb *to, const struct ingress *ingress,
                               const struct warp_routing *warp, const char *const *flags)
{
    struct writer w = { .ok = true };
    json_t *all = json_object();
    if (flags[0] != NULL) {
        json_t *set = json_object();
        for (const char *const *flag = flags; flag[0] != NULL; flag += 2)
            put(&w, set, flag[0], text_of(slice_str(flag[1])));
        put(&w, all, "__configuration_flags", set);
    }
    put(&w, all, "ingress", rules_of(&w, ingress));
    put(&w, all, "warp-routing", warp_of(&w, warp));
    if (w.ok)
        json_write(to, all);
    else if (to->err == 0)
        to->err = ERR_NOMEM;
    json_decref(all);
}
