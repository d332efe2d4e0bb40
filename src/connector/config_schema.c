#include "connector/config_schema.h"

#include "connector/rule_extras.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const struct config_key ACCESS_KEYS[] = {
    { "required", CONFIG_BOOL, NULL }, { "teamName", CONFIG_TEXT, NULL },
    { "audTag", CONFIG_TEXTS, NULL },  { "environment", CONFIG_TEXT, NULL },
    { "issuer", CONFIG_TEXT, NULL },   { "certsUrl", CONFIG_TEXT, NULL },
    { "caPool", CONFIG_TEXT, NULL },
};
const struct config_map CONFIG_ACCESS = { "AccessConfig", ACCESS_KEYS, COUNT(ACCESS_KEYS), NULL };

static const struct config_key IP_RULE_KEYS[] = {
    { "prefix", CONFIG_TEXT, NULL },
    { "ports", CONFIG_INTS, NULL },
    { "allow", CONFIG_BOOL, NULL },
};
const struct config_map CONFIG_IP_RULE = { "IngressIPRule", IP_RULE_KEYS, COUNT(IP_RULE_KEYS),
                                           NULL };

static const struct config_key ORIGIN_REQUEST_KEYS[] = {
#define KEY(name, kind, field, ours) { name, CONFIG_##kind, NULL },
#include "connector/origin_request.def"
#undef KEY
    { "ipRules", CONFIG_MAPS, &CONFIG_IP_RULE },
    { "access", CONFIG_MAP, &CONFIG_ACCESS },
};
const struct config_map CONFIG_ORIGIN_REQUEST = { "OriginRequestConfig", ORIGIN_REQUEST_KEYS,
                                                  COUNT(ORIGIN_REQUEST_KEYS), NULL };

static const struct config_key RULE_KEYS[] = {
    { "hostname", CONFIG_TEXT, NULL },
    { "path", CONFIG_TEXT, NULL },
    { "service", CONFIG_TEXT, NULL },
    { "originRequest", CONFIG_MAP, &CONFIG_ORIGIN_REQUEST },
};
const struct config_map CONFIG_RULE = { "UnvalidatedIngressRule", RULE_KEYS, COUNT(RULE_KEYS),
                                        RULE_EXTRA_KEYS };

static const struct config_key WARP_ROUTING_KEYS[] = {
    { "connectTimeout", CONFIG_TIME, NULL },
    { "maxActiveFlows", CONFIG_UINT64, NULL },
    { "tcpKeepAlive", CONFIG_TIME, NULL },
    { "enabled", CONFIG_ANY, NULL }, /* of older files; private routing is always on */
};
const struct config_map CONFIG_WARP_ROUTING = { "WarpRoutingConfig", WARP_ROUTING_KEYS,
                                                COUNT(WARP_ROUTING_KEYS), NULL };

static const struct config_key DOCUMENT_KEYS[] = {
    { "ingress", CONFIG_MAPS, &CONFIG_RULE },
    { "originRequest", CONFIG_MAP, &CONFIG_ORIGIN_REQUEST },
    { "warp-routing", CONFIG_MAP, &CONFIG_WARP_ROUTING },
};
const struct config_map CONFIG_DOCUMENT = { "RemoteConfigJSON", DOCUMENT_KEYS, COUNT(DOCUMENT_KEYS),
                                            NULL };

const char *config_name(const struct config_map *m, size_t index)
{
    if (index < m->count)
        return m->keys[index].name;
    for (size_t i = 0; m->more != NULL && m->more[i] != NULL; i++)
        if (m->count + i == index)
            return m->more[i];
    return NULL;
}

bool config_find(const struct config_map *m, struct slice name, bool is_nocase,
                 struct config_key *ret)
{
    const char *known;
    for (size_t i = 0; (known = config_name(m, i)) != NULL; i++) {
        struct slice s = slice_str(known);
        if (!(is_nocase ? slice_eq_nocase(name, s) : slice_eq(name, s)))
            continue;
        *ret = i < m->count ? m->keys[i] : (struct config_key){ .name = known, .type = CONFIG_ANY };
        return true;
    }
    return false;
}
