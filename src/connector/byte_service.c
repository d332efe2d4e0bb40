#include "connector/byte_service.h"

#include "base/err.h"
#include "codec/uri.h"
#include "connector/origin_target.h"
#include "connector/rule_extras.h"
#include "connector/ws_flow.h"

#define KEY_BYTES_MAX 64 /* codec/websocket.h takes no longer one */

int jump_destination(struct slice value, struct slice *ret_host, uint16_t *ret_port)
{
    struct host_port at;
    const uint8_t *scheme = value.n > 0 ? memmem(value.p, value.n, "://", 3) : NULL;
    if (scheme != NULL) {
        value = slice_sub(value, (size_t)(scheme - value.p) + 3, SIZE_MAX);
        value = slice_sub(value, 0, slice_find(value, '#'));
        value = slice_sub(value, 0, slice_find(value, '?'));
    }
    value = slice_sub(value, 0, slice_find(value, '/'));
    size_t user = slice_find_last(value, '@');
    if (scheme != NULL && user < value.n)
        value = slice_sub(value, user + 1, SIZE_MAX);
    if (host_port_parse(value, &at) < 0 || !at.has_port)
        return ERR_INVALID;
    *ret_host = at.host;
    *ret_port = at.port;
    return 0;
}

static int take_jump(struct exchange *ex, struct origin_target *target, const char **ret_text)
{
    const struct field *jump = fields_get(&ex->request.fields, SLICE("Cf-Access-Jump-Destination"));
    *ret_text = "Did not receive final destination from client. The --destination flag is likely "
                "not set on the client side";
    if (jump == NULL || jump->value.n == 0)
        return ERR_INVALID;
    *ret_text = arena_fmt(&ex->arena, "dial tcp: address %.*s: host:port is wanted",
                          SLICE_FMT(jump->value));
    return jump_destination(jump->value, &target->host, &target->port);
}

static int take_target(struct exchange *ex, const struct rule *rule, struct origin_target *target,
                       const char **ret_text)
{
    if (rule->service.kind == SERVICE_SOCKS)
        return 0;
    if (rule->service.kind == SERVICE_BASTION)
        return take_jump(ex, target, ret_text);
    target->host = rule->service.host;
    target->port = rule->service.port;
    *ret_text = arena_fmt(&ex->arena, "dial tcp: address %.*s: missing port in address",
                          SLICE_FMT(rule->service.host));
    return target->port > 0 ? 0 : ERR_INVALID;
}

void byte_service_attach(struct serve *s, struct exchange *ex, const struct rule *rule,
                         struct ingress *rules)
{
    const struct origin_request *o = &rule->request;
    const struct field *key = fields_get(&ex->request.fields, SLICE("Sec-Websocket-Key"));
    bool is_socks = rule->service.kind == SERVICE_TCP && slice_eq(o->proxy_type, SLICE("socks"));
    const char *text = NULL;
    struct ws_flow_opts opts = {
        .rules = rules,
        .kind = rule->service.kind == SERVICE_SOCKS ? WS_SOCKS_POLICY
                : is_socks                          ? WS_SOCKS_FIXED
                                                    : WS_DIRECT,
        .upstreams = rule->service.kind == SERVICE_TCP ? rule_upstreams(rule) : NULL,
        .ip_rules = o->ip_rules,
        .ping_every = WS_PING_NSEC,
    };
    origin_target_tune(&opts.target, o);
    int r = take_target(ex, rule, &opts.target, &text);
    if (r == 0)
        r = origin_target_announce(&opts.target, ex, rule->extras);
    if (r == 0 && key != NULL && key->value.n > KEY_BYTES_MAX) {
        r = ERR_INVALID;
        text = "malformed Sec-Websocket-Key";
    }
    if (r < 0)
        exchange_fail(ex, r, HOP_CONNECTOR, text);
    else
        ws_flow_attach(s, ex, &opts);
}
