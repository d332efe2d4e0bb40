#include "base/err.h"
#include "conf/duration.h"
#include "connector/ingress.h"
#include "connector/ip_policy.h"

void origin_request_defaults(struct origin_request *r)
{
    *r = (struct origin_request){
        .connect_timeout = 30 * (int64_t)NSEC_PER_SEC,
        .tls_timeout = 10 * (int64_t)NSEC_PER_SEC,
        .tcp_keepalive = 30 * (int64_t)NSEC_PER_SEC,
        .keepalive_timeout = 90 * (int64_t)NSEC_PER_SEC,
        .keepalive_connections = 100,
        .proxy_address = SLICE("127.0.0.1"),
    };
}

enum kind { TIME, BOOL, INT, UINT, TEXT };

static const struct key {
    const char *name;
    enum kind kind;
    size_t at;
} KEYS[] = {
#define KEY(name, kind, field, ours) { name, kind, offsetof(struct origin_request, field) },
#include "connector/origin_request.def"
#undef KEY
};

static int refuse(struct fault *f, const char *where, const struct yaml_node *n, const char *want)
{
    (void)fault_set(f, ERR_PARSE, "%.*s: %s", SLICE_FMT(n->key), want);
    (void)fault_at(f, where, n->line, n->column);
    return ERR_PARSE;
}

static int take_int(const struct yaml_node *n, int64_t *ret)
{
    struct slice digits = n->text;
    uint64_t value;
    bool is_negative = slice_starts(digits, SLICE("-"));
    if (is_negative)
        digits = slice_sub(digits, 1, SIZE_MAX);
    if (n->kind != YAML_SCALAR || !n->is_plain || slice_u64(digits, INT32_MAX, &value) < 0)
        return ERR_PARSE;
    *ret = is_negative ? -(int64_t)value : (int64_t)value;
    return 0;
}

static int take_key(const struct key *k, const struct yaml_node *n, const char *where,
                    struct origin_request *r, struct fault *f)
{
    void *at = (char *)r + k->at;
    switch (k->kind) {
    case TIME:
        /* A bare number is refused, as the reference does; 0 too. */
        if (n->kind != YAML_SCALAR || slice_eq(n->text, SLICE("0")) ||
            duration_parse(n->text, at) < 0)
            return refuse(f, where, n, "a duration is wanted, such as 30s");
        return 0;
    case BOOL:
        return yaml_bool(n, at) < 0 ? refuse(f, where, n, "true or false is wanted") : 0;
    case INT:
    case UINT:
        if (take_int(n, at) < 0 || (k->kind == UINT && *(int64_t *)at < 0))
            return refuse(f, where, n, "a whole number is wanted");
        return 0;
    case TEXT:
        if (n->kind != YAML_SCALAR)
            return refuse(f, where, n, "a text is wanted");
        *(struct slice *)at = n->text;
        return 0;
    }
    return 0;
}

static int take_access(const struct yaml_node *n, const char *where, struct origin_request *r,
                       struct fault *f)
{
    const struct yaml_node *required = yaml_get(n, "required");
    if (n->kind != YAML_MAP)
        return refuse(f, where, n, "a map is wanted");
    /* A rule's key replaces the global one as a whole. */
    r->access = n;
    r->access_required = r->access_is_global = false;
    if (required != NULL && !yaml_is_null(required) && yaml_bool(required, &r->access_required) < 0)
        return refuse(f, where, required, "true or false is wanted");
    return 0;
}

int origin_request_from_yaml(const struct yaml_node *map, const char *where,
                             struct origin_request *r, struct fault *f)
{
    if (map == NULL || yaml_is_null(map))
        return 0;
    if (map->kind != YAML_MAP)
        return refuse(f, where, map, "a map is wanted");
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        int e = 0;
        if (yaml_is_null(n))
            continue;
        for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0] && e == 0; i++)
            if (slice_eq(n->key, slice_str(KEYS[i].name)))
                e = take_key(&KEYS[i], n, where, r, f);
        if (e == 0 && slice_eq(n->key, SLICE("access")))
            e = take_access(n, where, r, f);
        if (slice_eq(n->key, SLICE("ipRules")))
            r->ip_rules = n;
        if (e < 0)
            return e;
    }
    return 0;
}

/* ---- ipRules ---- */

int ip_rules_check(const struct yaml_node *rules, struct fault *f)
{
    static const char WHAT[] = "unable to create ip rule for socks-proxy";
    for (const struct yaml_node *rule = rules != NULL ? rules->first : NULL; rule != NULL;
         rule = rule->next) {
        const struct yaml_node *prefix = yaml_get(rule, "prefix"), *ports = yaml_get(rule, "ports");
        struct ip_prefix parsed;
        if (prefix == NULL || prefix->text.n == 0)
            return fault_set(f, ERR_PARSE, "%s: no prefix provided", WHAT);
        if (ip_prefix_parse(prefix->text, &parsed) < 0)
            return fault_set(f, ERR_PARSE, "%s: unable to parse cidr: %.*s", WHAT,
                             SLICE_FMT(prefix->text));
        for (const struct yaml_node *p = ports != NULL ? ports->first : NULL; p != NULL;
             p = p->next) {
            int64_t port = 0;
            if (take_int(p, &port) < 0 || port < 1 || port > 65535)
                return fault_set(f, ERR_PARSE,
                                 "%s: invalid port %.*s, needs to be between 1 and 65535", WHAT,
                                 SLICE_FMT(p->text));
        }
    }
    return 0;
}
